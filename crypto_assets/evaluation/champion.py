"""A bundle: members and how they are combined, as one thing that is registered, promoted, served and traced.

What is served is what was tested, so a champion is never a model alone but the whole: the members' checkpoints, the pool or the
fusion that joins them, and where all of it came from. It may be one member. On disk a bundle is a folder without a pickle:
`bundle.json`, `members/<name>/` and, where one was fitted for these members, `fusion/` (safetensors and JSON). Its version is a
hash of the members' versions, of the combination and of the fusion; lineage is no part of it, so the same fit registered twice
is the same bundle.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from crypto_assets import __version__
from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.fusing import FUSED, fuse_since, fusion_at, members_among
from crypto_assets.evaluation.walkforward import COMBINATIONS, Combination, combine, forecast_window
from crypto_assets.fusion.checkpoint import NAME, FusionCheckpoint
from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import CheckpointError
from crypto_assets.market.time import Window
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Bundle:
    """`members` by model name; `name` is the combination's, or the one member's, as in `forecasts/latest`."""

    name: str
    members: Mapping[str, Checkpoint]
    combination: Combination
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from: `fold`, `revision`, `world` and whatever else is plain JSON."""
    fusion: FusionCheckpoint | None = None
    """Fitted weights, calibration and intervals; without it the combination is a pool."""

    def __post_init__(self) -> None:
        wanted = {*self.combination.direction, *self.combination.variance}
        if not self.members or not set(self.members) <= wanted:
            raise CheckpointError(
                f"the bundle {self.name} combines {', '.join(sorted(wanted))} and was given checkpoints of "
                f"{', '.join(sorted(self.members)) or 'nothing'}: give at least one of those, and no other"
            )
        if self.fusion is not None:
            self.fusion.require(self.versions)
        first = next(iter(self.members.values()))
        for other in self.members.values():
            if (other.columns, other.symbols) != (first.columns, first.symbols):
                raise CheckpointError(
                    f"the members of a bundle must know the same features and coins: {other.model} {other.version} and "
                    f"{first.model} {first.version} do not; train them on the same fold"
                )

    @cached_property
    def version(self) -> str:
        """Hash of what it answers with: members' versions and the combination."""
        parts = [FORMAT, self.name, _spec(self.combination), dict(sorted(self.versions.items()))]
        parts += [] if self.fusion is None else [self.fusion.version]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def versions(self) -> dict[str, str]:
        """Each member's version, in the order of the fusion."""
        return {n: self.members[n].version for n in (*members_among(list(self.members)), *self.members)}

    @property
    def columns(self) -> tuple[str, ...]:
        """Features it reads, in order."""
        return next(iter(self.members.values())).columns

    @property
    def symbols(self) -> tuple[str, ...]:
        """Coins it knows, in order."""
        return next(iter(self.members.values())).symbols

    @property
    def features_hash(self) -> str:
        """Hash of the list of features."""
        return hashlib.sha256(json.dumps(list(self.columns)).encode()).hexdigest()[:16]

    def describe(self) -> dict[str, Any]:
        """Everything but the weights, as plain JSON: what `model show` prints and what the registry is tagged with."""
        return {
            "version": self.version,
            "name": self.name,
            "members": {name: c.version for name, c in sorted(self.members.items())},
            "combination": _spec(self.combination),
            "fusion": None if self.fusion is None else self.fusion.version,
            "symbols": list(self.symbols),
            "features": len(self.columns),
            "features_hash": self.features_hash,
            "trained_from": min(c.trained_from for c in self.members.values()).isoformat(),
            "trained_until": max(c.trained_until for c in self.members.values()).isoformat(),
            "lineage": dict(self.lineage),
        }

    def save(self, folder: Path) -> Path:
        """Write the folder; `bundle.json` comes last, so half a bundle is none."""
        for name, checkpoint in self.members.items():
            checkpoint.save(folder / "members" / name)
        if self.fusion is not None:
            self.fusion.save(folder / "fusion")
        said = json.dumps({"format": FORMAT, **self.describe()}, indent=1, sort_keys=True)
        write_bytes(folder / "bundle.json", said.encode())
        return folder

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read a saved bundle. Raises CheckpointError when it is absent, damaged or not what it says."""
        try:
            said = json.loads((folder / "bundle.json").read_text())
            spec = said["combination"]
            combination = Combination(tuple(spec["direction"]), tuple(spec["variance"]), spec["whole"], spec["table"])
            members = {name: Checkpoint.load(folder / "members" / name) for name in said["members"]}
            fusion = FusionCheckpoint.load(folder / "fusion") if said.get("fusion") else None
            found = cls(said["name"], members, combination, said["lineage"], fusion)
        except FileNotFoundError as error:
            raise CheckpointError(f"no bundle in {folder}: register one first (`crypto-assets build`)") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the bundle in {folder} cannot be read ({error}): register it again") from error
        if said["format"] != FORMAT or found.version != said["version"]:
            raise CheckpointError(
                f"the bundle in {folder} says version {said['version']} (format {said['format']}), found {found.version} "
                f"(format {FORMAT}): register it again"
            )
        return found


@dataclass(frozen=True)
class Answer:
    """What a bundle says about a window: the combined forecast, and each member's."""

    combined: Forecast
    members: Mapping[str, Forecast]


def predict(bundle: Bundle, panel: Panel, window: Window) -> Answer:
    """Forecast every hour of `window`; the panel may begin earlier, which gives context.

    The members are pooled, also where the bundle has a fusion, whose state hangs on what lies in a lake: `predict_served`.
    """
    members = {name: forecast_window(checkpoint, panel, window) for name, checkpoint in bundle.members.items()}
    return Answer(join(bundle, members), members)


def predict_served(lake: Lake, bundle: Bundle, panel: Panel, window: Window) -> Forecast:
    """What the bundle would have been served to say for every hour of `window`: the fusion of its members where it has one.

    The fusion is that of the window's first hour, as it would have served that hour, moved on by outcomes as they closed.
    """
    members = predict(bundle, panel, window).members
    if bundle.name != FUSED:
        return join(bundle, members)
    fusion = fusion_of(lake, bundle, window.start)
    return fuse_since(fusion, lake, panel.symbols, members, bundle.versions, window).forecast


def fusion_of(lake: Lake, bundle: Bundle, at: datetime) -> FusionCheckpoint:
    """The fusion that combines the bundle's members at an hour.

    A bundle without a fusion of its own, or with one that begins later, gets the one fitted from the lake for its members: on
    the forecasts that earlier fits of the same models made out of sample.
    """
    own = bundle.fusion
    return own if own is not None and own.start <= at else fusion_at(lake, bundle.symbols, at, bundle.versions)


def join(bundle: Bundle, members: Mapping[str, Forecast]) -> Forecast:
    """The pool of the members' forecasts, or what the one member says."""
    if bundle.combination == alone(bundle.name):
        return members[bundle.name]
    return combine(members, {bundle.name: bundle.combination})[bundle.name][0]


def alone(name: str) -> Combination:
    """The combination that is one member."""
    return Combination((name,), (name,), whole=False)


def of_fold(lake: Lake, fold: str, name: str = "fused", **lineage: Any) -> Bundle:
    """The bundle of a fold's checkpoints in the lake: those that `name` combines, or the one model of that name.

    A member without a checkpoint of this fold gives its newest earlier one, which is out of sample too. Raises CheckpointError
    where there is none at all.
    """
    combination = COMBINATIONS.get(name) or alone(name)
    members, folds = {}, {}
    for model in sorted({*combination.direction, *combination.variance}):
        found = sorted(p for p in (lake.root / "models" / model).glob("fold=*") if p.name <= f"fold={fold}")
        if found:
            members[model] = Checkpoint.load(found[-1])
            folds[model] = found[-1].name.removeprefix("fold=")
    if not members:
        raise CheckpointError(f"no checkpoint for fold {fold} or before in {lake.root / 'models'}: run the job `train` first")
    bundle = Bundle(name, members, combination, {"fold": fold, "folds": folds, "revision": code_revision(), **lineage})
    return replace(bundle, fusion=_fusion_of(lake, fold, bundle.versions) if name == FUSED else None)


def _fusion_of(lake: Lake, fold: str, versions: Mapping[str, str]) -> FusionCheckpoint | None:
    """The fusion of the fold or before that was fitted for these members, or None."""
    for folder in sorted((lake.root / "models" / NAME).glob("fold=*"), reverse=True):
        if folder.name <= f"fold={fold}" and (found := FusionCheckpoint.load(folder)).members == dict(versions):
            return found
    return None


@cache
def code_revision() -> str:
    """Revision of this code: the Git commit of its checkout (`+` where files differ from it), else the package's version."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return __version__
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--", "crypto_assets") else "")
    except (OSError, subprocess.SubprocessError):
        return __version__


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _spec(combination: Combination) -> dict[str, Any]:
    spec = asdict(combination)
    return {**spec, "direction": list(combination.direction), "variance": list(combination.variance)}
