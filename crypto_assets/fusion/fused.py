"""`apply` combines the members' forecasts, by a checkpoint, into one with its uncertainty, intervals and action.

It is given the members' forecasts from the checkpoint's start on and whatever labels there are. A label is used only from the
day on which it counts as closed (`context.closing_days`), so giving it more changes nothing before that day; nothing else
looks back, so a row is the same whether it is made alone with the days before it or with a whole window.

Shapes: H horizons, T hours, N coins, M members, S draws of the posterior, L levels of `conformal.COVERAGES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from crypto_assets.fusion import conformal
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.conformal import COVERAGES
from crypto_assets.fusion.context import days_of
from crypto_assets.fusion.decision import action
from crypto_assets.fusion.families import expit
from crypto_assets.fusion.part import Part
from crypto_assets.fusion.predictors import (
    COMBINED,
    DIRECTIONS,
    RETURN_VARIANCES,
    VOLATILITY,
    interval_name,
    market_variance,
    mean_members,
    mean_name,
    members_of,
    stacked,
)
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import HORIZONS
from crypto_assets.models._base import Forecast

Array = np.ndarray

PUBLISHED = (*(t.name for t in DIRECTIONS), VOLATILITY.name)
"""Targets whose weights are published."""
HOURS_AT_ONCE = 500
"""Draws of this many hours lie in memory together."""


@dataclass(frozen=True)
class Fused:
    """The combined forecast with what is known about it. NaN where nothing was forecast.

    `aleatoric_HTN + epistemic_HTN` is the entropy of P(up) in nats: what would remain if the weights were known, and the
    mutual information with them. `aleatoric_var_HTN + epistemic_var_HTN` = exp(log variance). `confidence_HTN`: probability
    that the likelier side comes true. Intervals `low_LHTN` to `high_LHTN` are of the log return, `rv_low_LTN` to `rv_high_LTN`
    of the realised variance. `weights`: target -> (members, weight `[M, T]`, share of the combined predictor's variation `[M,
    T]`), means over the coins.
    """

    forecast: Forecast
    aleatoric_HTN: Array
    epistemic_HTN: Array
    aleatoric_var_HTN: Array
    epistemic_var_HTN: Array
    confidence_HTN: Array
    low_LHTN: Array
    high_LHTN: Array
    rv_low_LTN: Array
    rv_high_LTN: Array
    action_HTN: Array
    weights: dict[str, tuple[tuple[str, ...], Array, Array]]


def apply(
    checkpoint: FusionCheckpoint,
    members: Mapping[str, Forecast],
    labels: Mapping[str, Array],
    *,
    versions: Mapping[str, str],
    cost: float,
    since: datetime | None = None,
    market_T: Array | None = None,
) -> Fused:
    """Combine `members`, all about the same hours from `checkpoint.start` on (later hours first is no use: days are walked).

    `labels`: the panel's, on those hours, NaN where unknown. `versions`: the members' `model_version`. `cost`: of a round trip,
    as a fraction of what is traded. Only rows from `since` on are returned. `market_T`: `market_variance` of all coins, if the
    members speak of some alone. Raises CheckpointError for other members than the checkpoint's, SettingsError for members or
    labels about different hours or coins, or hours before the start.
    """
    checkpoint.require(versions)
    first = same_hours(checkpoint, members, labels)
    told = Told(checkpoint, members, labels, days_of(first.ts), market_T)
    told.points()
    moment = first.ts[0] if since is None else np.datetime64(since.replace(tzinfo=None), "us")
    return told.fused(slice(int(np.searchsorted(first.ts, moment)), len(first.ts)), cost)


def same_hours(checkpoint: FusionCheckpoint, members: Mapping[str, Forecast], labels: Mapping[str, Array]) -> Forecast:
    """One of the members, after checking that all are about the same hours from the start on, and the labels too."""
    first = next(iter(members.values()))
    shape = (len(first.ts), len(first.symbols))
    for name, other in members.items():
        if other.symbols != first.symbols or not np.array_equal(other.ts, first.ts):
            raise SettingsError(f"the members must be about the same hours and coins, {name} is not: align them first")
    wrong = [name for name, values in labels.items() if values.shape != shape]
    if wrong:
        raise SettingsError(f"the labels {wrong} are not about the hours and coins of the members, {shape}: align them")
    if shape[0] == 0 or first.ts[0] < np.datetime64(checkpoint.start.replace(tzinfo=None), "us"):
        raise SettingsError(
            f"the fusion combines hours from {checkpoint.start:%Y-%m-%d %H:%M} on, was given {shape[0]} from "
            f"{first.ts[0] if shape[0] else 'nowhere'}: cut them, or take the fusion of the fold before"
        )
    return first


class Told:
    """What the members say about every hour: predictors and contexts by target, and its combination at the posterior mean."""

    def __init__(
        self,
        c: FusionCheckpoint,
        members: Mapping[str, Forecast],
        labels: Mapping[str, Array],
        day_T: Array,
        market_T: Array | None = None,
    ) -> None:
        self.c, self.members, self.labels, self.day_T = c, members, labels, day_T
        self.first = next(iter(members.values()))
        raw_T = market_variance(members, c.outputs) if market_T is None else market_T
        self.market_T = None if raw_T is None or c.market is None else c.market.of(raw_T)
        self.z: dict[str, Array] = {}
        self.u: dict[str, Array | None] = {}
        self.point: dict[str, Array] = {}

    def points(self) -> None:
        """The combination at the posterior mean, for every hour: cheap, and all that the state of the intervals needs."""
        for target in COMBINED:
            if target.name in self.c.parts:
                z_MTN = stacked(target, members_of(target, self.c.outputs), self.members)
                self._point(target.name, z_MTN, target.outcome(self.labels))
        for h in range(len(HORIZONS)):
            if mean_name(h) in self.c.parts:
                scale_TN = np.exp(0.5 * self.point[RETURN_VARIANCES[h].name])
                _, z_MTN = mean_members(h, self.members, self.c.outputs, scale_TN, self.point[DIRECTIONS[h].name])
                self._point(mean_name(h), z_MTN, self.labels[DIRECTIONS[h].label] / scale_TN)

    def _point(self, name: str, z_MTN: Array, y_TN: Array) -> None:
        part = self.c.parts[name]
        self.z[name], self.u[name] = z_MTN, part.context_MTN(z_MTN, y_TN, self.market_T, self.day_T)
        self.point[name] = part.predictor(z_MTN, self.u[name])

    def fused(self, rows: slice, cost: float) -> Fused:
        """Everything about the hours `rows`."""
        ts = self.first.ts[rows]
        H, T, N, L = len(HORIZONS), len(ts), len(self.first.symbols), len(COVERAGES)
        cube = {name: np.full((H, T, N), np.nan) for name in ("p", "mean", "log_var", "ale", "epi", "ale_var", "epi_var")}
        low, high = np.full((L, H, T, N), np.nan), np.full((L, H, T, N), np.nan)
        for h in range(H):
            if DIRECTIONS[h].name in self.c.parts:
                cube["p"][h], cube["ale"][h], cube["epi"][h] = self._direction(DIRECTIONS[h].name, rows)
            if mean_name(h) in self.c.parts:
                cube["mean"][h], cube["ale_var"][h], cube["epi_var"][h] = self._return(h, rows)
                cube["log_var"][h] = np.log(cube["ale_var"][h] + cube["epi_var"][h])
                low[:, h], high[:, h] = self._interval(h, rows)
        relative = DIRECTIONS[-1].name
        beats = self._direction(relative, rows)[0] if relative in self.c.parts else np.full((T, N), np.nan)
        rv, rv_low, rv_high = self._volatility(rows)
        return Fused(
            Forecast(ts, self.first.symbols, cube["p"], cube["mean"], cube["log_var"], beats, rv),
            cube["ale"],
            cube["epi"],
            cube["ale_var"],
            cube["epi_var"],
            np.maximum(cube["p"], 1 - cube["p"]),
            low,
            high,
            rv_low,
            rv_high,
            action(cube["mean"], cube["ale_var"] + cube["epi_var"], cost),
            {name: self._weights(name, rows) for name in PUBLISHED if name in self.c.parts},
        )

    def _drawn(self, name: str, rows: slice) -> Array:
        u = self.u[name]
        return self.c.parts[name].drawn(self.z[name][:, rows], None if u is None else u[:, rows])

    def _direction(self, name: str, rows: slice) -> tuple[Array, Array, Array]:
        """P(up), expected entropy given the weights, and its mutual information with them."""
        found = []
        for piece in _pieces(rows):
            p_STN = expit(self._drawn(name, piece))
            p = p_STN.mean(axis=0)
            aleatoric = entropy(p_STN).mean(axis=0)
            found.append((p, aleatoric, np.maximum(entropy(p) - aleatoric, 0)))
        return _joined(found)

    def _return(self, h: int, rows: slice) -> tuple[Array, Array, Array]:
        """Mean, expected variance and variance of the mean over draws: the law of total variance."""
        found = []
        for piece in _pieces(rows):
            variance_STN = np.exp(self._drawn(RETURN_VARIANCES[h].name, piece))
            scale = np.exp(0.5 * self.point[RETURN_VARIANCES[h].name][piece])
            mean_STN = self._drawn(mean_name(h), piece) * scale
            found.append((mean_STN.mean(axis=0), variance_STN.mean(axis=0), mean_STN.var(axis=0)))
        return _joined(found)

    def _interval(self, h: int, rows: slice) -> tuple[Array, Array]:
        log_var_TN, name = self.point[RETURN_VARIANCES[h].name], interval_name(h)
        scale_TN = np.exp(0.5 * log_var_TN)
        score_TN = self.labels[DIRECTIONS[h].label] / scale_TN - self.point[mean_name(h)]
        bounds = self._bounds(name, score_TN, log_var_TN, DIRECTIONS[h].hours)[:, :, rows]
        low, high = (self.point[mean_name(h)][rows] + bounds) * scale_TN[rows]
        return low, high

    def _volatility(self, rows: slice) -> tuple[Array, Array, Array]:
        name, shape = VOLATILITY.name, self.first.realised_var_TN[rows].shape
        if name not in self.c.parts:
            nothing = np.full((len(COVERAGES), *shape), np.nan)
            return np.full(shape, np.nan), nothing, nothing.copy()
        log_var_TN = self.point[name]
        error_TN = VOLATILITY.outcome(self.labels) - log_var_TN
        bounds = self._bounds(name, error_TN, log_var_TN, VOLATILITY.hours)[:, :, rows]
        (expected,) = _joined([(np.exp(self._drawn(name, piece)).mean(axis=0),) for piece in _pieces(rows)])
        low, high = np.exp(log_var_TN[rows] + bounds)
        return expected, low, high

    def _bounds(self, name: str, score_TN: Array, log_var_TN: Array, hours: int) -> Array:
        rank_TN = self.c.ranks[name].of(log_var_TN)
        return conformal.run(self.c.intervals[name], score_TN, rank_TN, self.day_T, hours)[0]

    def _weights(self, name: str, rows: slice) -> tuple[tuple[str, ...], Array, Array]:
        part, u = self.c.parts[name], self.u[name]
        z_MTN = self.z[name][:, rows]
        w_MTN = np.broadcast_to(part.weights(None if u is None else u[:, rows]), z_MTN.shape)
        return part.members, *_by_hour(part, z_MTN, w_MTN)


def entropy(p: Array) -> Array:
    """Of a yes-or-no, in nats; 0 at 0 and 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log(p), 0) + np.where(p < 1, (1 - p) * np.log1p(-p), 0)
    return np.where(np.isnan(p), np.nan, -parts)


def _by_hour(part: Part, z_MTN: Array, w_MTN: Array) -> tuple[Array, Array]:
    """Weights and shares `[M, T]`: a member's share is weight times the swing of its predictor out of fold, among all's."""
    there = np.isfinite(z_MTN).all(axis=0)
    weight = np.where(there, w_MTN, 0).sum(axis=2) / np.maximum(there.sum(axis=1), 1)
    moved = weight * np.array(part.facts["scales"])[:, None]
    total = moved.sum(axis=0)
    return weight, np.divide(moved, total, out=np.full_like(moved, 1 / len(moved)), where=total > 0)


def _pieces(rows: slice) -> list[slice]:
    return [slice(at, min(at + HOURS_AT_ONCE, rows.stop)) for at in range(rows.start, rows.stop, HOURS_AT_ONCE)]


def _joined(found: list[Any]) -> Any:
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))
