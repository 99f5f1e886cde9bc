"""What a fusion learned, on disk: safetensors beside a JSON config, like every other checkpoint (`models/checkpoint.py`).

It names the versions of the members it was fitted for and takes no others: weights of one LightGBM say nothing about the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from crypto_assets.fusion.calibration import Calibrator
from crypto_assets.fusion.conformal import BINS, Intervals
from crypto_assets.fusion.context import Ranks, Skill
from crypto_assets.fusion.part import Part
from crypto_assets.market.errors import CheckpointError
from crypto_assets.models.checkpoint import Checkpoint

Array = np.ndarray

NAME = "fusion"


@dataclass(frozen=True)
class FusionCheckpoint:
    """`start`: the first hour it may combine. `members`: name -> `model_version`. `outputs`: what each declares.

    `market`: the distribution of the market's forecast variance (None where no member has one). `parts` by target; `intervals`
    and the `ranks` of their forecast variance, by interval.
    """

    start: datetime
    members: dict[str, str]
    outputs: dict[str, frozenset[str]]
    market: Ranks | None = field(repr=False)
    parts: dict[str, Part] = field(repr=False)
    ranks: dict[str, Ranks] = field(repr=False)
    intervals: dict[str, Intervals] = field(repr=False)

    @property
    def version(self) -> str:
        """Hash of all that was learned and of the members' versions: `model_version` of every row made from it."""
        return self.stored.version

    def require(self, versions: Mapping[str, str]) -> None:
        """Raise CheckpointError, naming the members that differ, unless `versions` are those it was fitted for."""
        if dict(versions) == self.members:
            return
        missing = sorted(set(self.members) - set(versions))
        extra = sorted(set(versions) - set(self.members))
        other = sorted(m for m in set(versions) & set(self.members) if versions[m] != self.members[m])
        raise CheckpointError(
            f"the fusion from {self.start:%Y-%m-%d} combines {self.members}; missing here: {missing}; unknown to it: {extra}; "
            f"of another version: {other}; fit the fusion again for these members, or load the ones it was fitted for"
        )

    @cached_property
    def stored(self) -> Checkpoint:
        """As a plain checkpoint: tensors and JSON."""
        tensors: dict[str, Array] = {} if self.market is None else {"market": self.market.quantiles}
        parts = {}
        for name, part in self.parts.items():
            parts[name] = _part_config(part)
            tensors |= {f"{name}.{key}": value for key, value in _part_tensors(part).items()}
        for name, state in self.intervals.items():
            tensors |= {f"{name} interval.{key}": value for key, value in _interval_tensors(state).items()}
            tensors[f"{name} interval.ranks"] = self.ranks[name].quantiles
        config = {
            "members": dict(sorted(self.members.items())),
            "order": list(self.outputs),
            "outputs": {m: sorted(said) for m, said in self.outputs.items()},
            "parts": parts,
            "intervals": list(self.intervals),
        }
        return Checkpoint(NAME, tuple(sorted(self.members)), (), self.start, self.start, config, tensors)

    def save(self, folder: Path) -> Path:
        """Write `weights.safetensors` and `config.json` atomically; returns the folder."""
        return self.stored.save(folder)

    @classmethod
    def load(cls, folder: Path) -> FusionCheckpoint:
        """Read a saved one. Raises CheckpointError when it is absent, damaged, or no fusion."""
        found = Checkpoint.load(folder)
        if found.model != NAME:
            raise CheckpointError(f"{folder} holds a checkpoint of {found.model}, expected one of {NAME}: name another folder")
        c, t = found.config, found.tensors
        market = Ranks(t["market"]) if "market" in t else None
        parts = {name: _part(values, _under(t, f"{name}.")) for name, values in c["parts"].items()}
        ranks = {name: Ranks(t[f"{name} interval.ranks"]) for name in c["intervals"]}
        intervals = {name: _interval(_under(t, f"{name} interval.")) for name in c["intervals"]}
        outputs = {m: frozenset(c["outputs"][m]) for m in c["order"]}
        return cls(found.trained_until, dict(c["members"]), outputs, market, parts, ranks, intervals)


def _part_config(part: Part) -> dict[str, Any]:
    return {
        "family": part.family,
        "hours": part.hours,
        "members": list(part.members),
        "context": part.context,
        "centre": part.centre,
        "calibration": part.calibrator.kind,
        "slope": part.calibrator.slope,
        "facts": part.facts,
    }


def _part_tensors(part: Part) -> dict[str, Array]:
    found = {"draws": part.draws_SD, "spread": part.spread.quantiles}
    found |= {"skill_total": part.skill.total, "skill_square": part.skill.square}
    found |= {f"net_{name}": value for name, value in (part.net or {}).items()}
    return found if part.calibrator.knots_2K is None else found | {"knots": part.calibrator.knots_2K}


def _part(c: dict[str, Any], t: dict[str, Array]) -> Part:
    calibrator = Calibrator(c["calibration"], c["slope"], t.get("knots"))
    skill = Skill(t["skill_total"], t["skill_square"])
    members = tuple(c["members"])
    net = _under({k: v for k, v in t.items() if k.startswith("net_")}, "net_") or None
    told = (c["family"], c["hours"], members, c["context"], c["centre"])
    return Part(*told, t["draws"], calibrator, Ranks(t["spread"]), skill, c["facts"], net)


def _interval_tensors(state: Intervals) -> dict[str, Array]:
    found = {"level": state.level_LB}
    for b, days in enumerate(state.scores):
        found[f"scores_{b}"] = np.concatenate(days) if days else np.empty(0)
        found[f"lengths_{b}"] = np.array([len(day) for day in days], dtype=np.int64)
    return found


def _interval(t: dict[str, Array]) -> Intervals:
    scores = [list(np.split(t[f"scores_{b}"], np.cumsum(t[f"lengths_{b}"])[:-1])) for b in range(BINS)]
    return Intervals(t["level"].copy(), [days if len(t[f"lengths_{b}"]) else [] for b, days in enumerate(scores)])


def _under(tensors: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
