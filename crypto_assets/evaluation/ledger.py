"""The trial ledger: every fit that was ever evaluated, one file each under `<lake>/ledger/`.

The number of trials is what the deflated Sharpe ratio pays for, so it is kept by the only function that computes a metric.
A trial is a model's configuration, its features and its folds; seeds are not part of it, so the same study under another
seed, or repeated, overwrites. Reads of the locked hold-out window are kept beside it, one file each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from crypto_assets.dataset.folds import Fold
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import Window

HOLDOUT = Window.of_days(date(2024, 11, 1), date(2025, 2, 28))
"""Locked: everything is chosen on earlier folds; this window is read to state a result, and each read is counted."""
SEEDS = ("seed", "seeds", "random_state", "random_seed")


@dataclass(frozen=True)
class Study:
    """What was evaluated. `configs` has the declared configuration (plain JSON) of every model that is scored."""

    world: str
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    folds: tuple[Fold, ...]
    configs: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def holdout(self) -> Window | None:
        """The part of the test windows inside the locked hold-out; None outside it, and in the sandbox, which has none."""
        if self.world == "sandbox" or not self.folds:
            return None
        start = max(HOLDOUT.start, min(f.test.start for f in self.folds))
        end = min(HOLDOUT.end, max(f.test.end for f in self.folds))
        return Window(start, end) if start < end else None

    def trial(self, model: str) -> dict[str, Any]:
        """What identifies the trial of one model. Raises SettingsError when its configuration was not stated."""
        if model not in self.configs:
            raise SettingsError(
                f"model {model!r} has forecasts but no configuration in the study, which has {sorted(self.configs)}: "
                f"nothing is scored that is not counted; add it to `configs`"
            )
        return {
            "model": model,
            "config": _without_seeds(self.configs[model]),
            "features": list(self.features),
            "symbols": list(self.symbols),
            "folds": [{part: _ends(getattr(f, part)) for part in ("train", "valid", "test")} for f in self.folds],
        }


class Ledger:
    """The ledger of the lake at `lake`."""

    def __init__(self, lake: Path | str) -> None:
        self.folder = Path(lake).expanduser() / "ledger"

    def record(self, trial: Mapping[str, Any], results: Mapping[str, Any]) -> str:
        """Write one trial with its results, over an earlier one of the same hash; returns the hash."""
        name = trial_hash(trial)
        row = {"hash": name, **trial, "results": results}
        write_bytes(self.folder / f"{name}.json", json.dumps(row, indent=1, sort_keys=True).encode())
        return name

    def __len__(self) -> int:
        """How many different trials were ever evaluated."""
        return len(list(self.folder.glob("*.json")))

    def trials(self) -> list[dict[str, Any]]:
        """Every trial with its results, by hash. Raises LakeError for a damaged file."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            try:
                found.append(json.loads(path.read_text()))
            except ValueError as error:
                raise LakeError(f"the ledger entry {path} is not JSON ({error}): restore it from a backup") from error
        return found

    def read_holdout(self, part: Window, trials: list[str]) -> int:
        """Note one read of the locked window by `trials` (hashes); returns how many reads there have been, this included."""
        folder = self.folder / "holdout"
        note = json.dumps({"window": _ends(part), "trials": sorted(trials)}, indent=1).encode()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.glob("*.json"))) + 1
            while True:
                try:
                    with (folder / f"{number:04d}.json").open("xb") as handle:
                        handle.write(note)
                    return number
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise LakeError(f"cannot write {folder} ({error.strerror}): free space or make the lake writable") from error


def trial_hash(trial: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of the trial as canonical JSON."""
    return hashlib.sha256(json.dumps(_without_seeds(trial), sort_keys=True).encode()).hexdigest()[:16]


def _without_seeds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_seeds(v) for k, v in value.items() if k not in SEEDS}
    if isinstance(value, (list, tuple)):
        return [_without_seeds(v) for v in value]
    return value


def _ends(window: Window) -> list[str]:
    return [window.start.isoformat(), window.end.isoformat()]
