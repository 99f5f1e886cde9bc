"""The trial ledger: every fit that was ever evaluated, one file each under `<lake>/ledger/`.

The number of trials is what the deflated Sharpe ratio pays for, so it is kept by the only function that computes a metric.
A trial is a model's configuration, its features and its folds; seeds are not part of it, so the same study under another
seed, or repeated, overwrites. The locked hold-out window is declared beside it, once, and each of its reads is a file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from crypto_assets.dataset.folds import Fold
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import DAY, Window

HOLDOUT = Window.of_days(date(2024, 11, 1), date(2025, 2, 28))
"""Locked unless another is declared first: everything is chosen on earlier folds; this window is read to state a result, and
each read is counted."""
DECLARED = "declared.json"
SEEDS = ("seed", "seeds", "random_state", "random_seed")


@dataclass(frozen=True)
class Study:
    """What was evaluated. `configs` has the declared configuration (plain JSON) of every model that is scored."""

    world: str
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    folds: tuple[Fold, ...]
    configs: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def inside(self, window: Window | None) -> Window | None:
        """The part of `window` that the test windows reach into."""
        if window is None or not self.folds:
            return None
        start = max(window.start, min(f.test.start for f in self.folds))
        end = min(window.end, max(f.test.end for f in self.folds))
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

    @property
    def holdout(self) -> Window | None:
        """The declared hold-out; None before one is declared. Raises LakeError for a damaged declaration."""
        path = self._holdout / DECLARED
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text())
            return Window.of_days(date.fromisoformat(found["from"]), date.fromisoformat(found["to"]))
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(f"the hold-out declaration {path} is damaged ({error!r}): restore it from a backup") from error

    def declare(self, window: Window) -> Window:
        """Lock `window` as the hold-out of this lake, once and for all; the same window again changes nothing.

        Raises SettingsError when another one is locked, or when trials were already tested inside the window.
        """
        found = self.holdout
        if found is not None:
            if found != window:
                raise SettingsError(
                    f"the hold-out of {self.folder.parent} was declared as {_said(found)}, asked was {_said(window)}: it "
                    f"cannot be changed after it was declared; evaluate another period in another lake"
                )
            return found
        seen = [row["hash"] for row in self.trials() if any(_overlaps(fold["test"], window) for fold in row["folds"])]
        if seen:
            raise SettingsError(
                f"{len(seen)} trials were already tested inside {_said(window)} ({', '.join(seen[:3])}), expected none: a "
                f"hold-out is declared before it is read; declare days that no trial has seen"
            )
        return self._declare(window)

    def lock(self, world: str) -> Window | None:
        """The hold-out of a lake of `world`: what was declared, else `HOLDOUT`, declared by that; None in the sandbox."""
        found = self.holdout
        return found if found is not None or world == "sandbox" else self._declare(HOLDOUT)

    @property
    def reads(self) -> int:
        """How often the hold-out was read."""
        return len(list(self._holdout.glob("[0-9]*.json")))

    def read_holdout(self, part: Window, trials: list[str]) -> int:
        """Note one read of the locked window by `trials` (hashes); returns how many reads there have been, this included."""
        note = json.dumps({"window": _ends(part), "trials": sorted(trials)}, indent=1).encode()
        number = self.reads + 1
        while not self._write_new(f"{number:04d}.json", note):
            number += 1
        return number

    @property
    def _holdout(self) -> Path:
        return self.folder / "holdout"

    def _declare(self, window: Window) -> Window:
        if not self._write_new(DECLARED, json.dumps(days_of(window)).encode()):
            return self.declare(window)
        return window

    def _write_new(self, name: str, content: bytes) -> bool:
        """Whether the file was written; False where there is one already."""
        try:
            self._holdout.mkdir(parents=True, exist_ok=True)
            with (self._holdout / name).open("xb") as handle:
                handle.write(content)
        except FileExistsError:
            return False
        except OSError as error:
            raise LakeError(
                f"cannot write {self._holdout / name} ({error.strerror}): free space or make the lake writable"
            ) from error
        return True


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


def days_of(window: Window) -> dict[str, str]:
    """First and last day, ISO."""
    return {"from": window.start.date().isoformat(), "to": (window.end - DAY).date().isoformat()}


def _said(window: Window) -> str:
    return " -> ".join(days_of(window).values())


def _overlaps(ends: list[str], window: Window) -> bool:
    return datetime.fromisoformat(ends[0]) < window.end and datetime.fromisoformat(ends[1]) > window.start
