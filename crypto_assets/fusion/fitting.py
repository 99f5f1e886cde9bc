"""`fit` learns from out-of-fold forecasts what to make of the members.

It is given the members' forecasts of the test windows before `start`, which nobody trained or stopped on, with their labels;
the members' forecasts of their own training or validation hours never come here. A label is used when it had closed by the
midnight that began the day before `start`. Where there are no such rows yet, the combination is the pool.

Shapes: M members of a target, T hours, N coins.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from crypto_assets.fusion import conformal
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.conformal import Intervals
from crypto_assets.fusion.context import Ranks, closing_days, days_of
from crypto_assets.fusion.part import Part, fit_part
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

SAMPLES = 200
"""Draws of the posterior: the Monte-Carlo error of P(up) is a tenth of its epistemic standard deviation or less."""
Outputs = Mapping[str, frozenset[str]]


def fit(
    history: Mapping[str, Forecast],
    labels: Mapping[str, Array],
    *,
    start: datetime,
    outputs: Outputs,
    versions: Mapping[str, str],
    seed: int = 0,
    head: str = "laplace",
) -> FusionCheckpoint:
    """What to make of the members from `start` (a midnight, UTC) on.

    `history`: the members' forecasts of earlier test windows, all on the same hours, NaN where there are none; empty on the
    first fold. `labels`: the panel's, on those hours. `outputs`: what each member declares (`Model.outputs`). `versions`:
    `model_version` of the members that will be combined; `apply` takes no others. `head`: `laplace` weights, or for P(up) a
    `variational` network. Raises SettingsError for another head, without members, or
    when histories are about different hours or coins, or labels about others.
    """
    if not outputs or set(outputs) != set(versions):
        raise SettingsError(f"outputs and versions must name the same members, found {sorted(outputs)} and {sorted(versions)}")
    if head not in HEADS:
        raise SettingsError(f"unknown head {head!r} of the fusion: one of {', '.join(HEADS)}")
    ts, symbols = _together(history, labels)
    before = ts < np.datetime64(start.replace(tzinfo=None), "us")
    past = {name: _cut(history.get(name), ts, symbols, before) for name in outputs}
    known = {name: values[before] for name, values in labels.items()} if history else dict.fromkeys(LABELS, np.empty((0, 0)))
    day = int(days_of(np.array([start.replace(tzinfo=None)], dtype="datetime64[us]"))[0])
    raw_T = market_variance(past, outputs)
    market = None if raw_T is None else Ranks.fit(raw_T)
    market_T = None if raw_T is None or market is None else market.of(raw_T)
    learner = _Learner(past, known, outputs, market_T, days_of(ts[before]), day, seed, head)
    learner.directions_and_variances()
    learner.returns()
    return FusionCheckpoint(start, dict(versions), dict(outputs), market, learner.parts, learner.ranks, learner.intervals)


HEADS = ("laplace", "variational")
LABELS = ("ret_1h", "ret_4h", "ret_24h", "above_median_24h", "rv_24h")


class _Learner:
    """Parts are fitted one after the other: a return's mean is read in units of its variance, and beside its direction."""

    def __init__(
        self,
        past: Mapping[str, Forecast],
        labels: Mapping[str, Array],
        outputs: Outputs,
        market_T: Array | None,
        day_T: Array,
        day: int,
        seed: int,
        head: str,
    ) -> None:
        self.past, self.labels, self.outputs, self.market_T = past, labels, outputs, market_T
        self.day_T, self.day, self.seed, self.head = day_T, day, seed, head
        self.parts: dict[str, Part] = {}
        self.ranks: dict[str, Ranks] = {}
        self.intervals: dict[str, Intervals] = {}
        self.walked: dict[str, Array] = {}

    def directions_and_variances(self) -> None:
        """Every target that members forecast, and the interval of the realised variance."""
        for target in COMBINED:
            if members := members_of(target, self.outputs):
                names = tuple(name if said == target.output else f"{name} {said}" for name, said in members)
                z_MTN = stacked(target, members, self.past)
                self._fit(target.name, target.family, target.hours, names, z_MTN, target.outcome(self.labels))
        if VOLATILITY.name in self.parts:
            log_var_TN = self.walked[VOLATILITY.name]
            error_TN = VOLATILITY.outcome(self.labels) - log_var_TN
            self._interval(VOLATILITY.name, VOLATILITY.hours, error_TN, log_var_TN)

    def returns(self) -> None:
        """Mean and interval of the return, by horizon, where there is a variance and a direction."""
        for h, hours in enumerate(HORIZONS.values()):
            direction, variance = DIRECTIONS[h], RETURN_VARIANCES[h]
            if direction.name in self.parts and variance.name in self.parts:
                log_var_TN = self.walked[variance.name]
                scale_TN = np.exp(0.5 * log_var_TN)
                names, z_MTN = mean_members(h, self.past, self.outputs, scale_TN, self.walked[direction.name])
                y_TN = self.labels[direction.label] / scale_TN
                self._fit(mean_name(h), "gaussian", hours, names, z_MTN, y_TN)
                self._interval(interval_name(h), hours, y_TN - self.walked[mean_name(h)], log_var_TN)

    def _fit(self, name: str, family: str, hours: int, members: tuple[str, ...], z_MTN: Array, y_TN: Array) -> None:
        known = (family, hours, members, z_MTN, y_TN, self.market_T, self.day_T, self.day)
        self.parts[name], self.walked[name] = fit_part(*known, seed=self.seed, samples=SAMPLES, head=self.head)

    def _interval(self, name: str, hours: int, score_TN: Array, log_var_TN: Array) -> None:
        ranks = Ranks.fit(log_var_TN)
        usable_T = self.day_T + closing_days(hours) <= self.day
        score_TN = np.where(usable_T[:, None], score_TN, np.nan)
        self.ranks[name] = ranks
        self.intervals[name] = conformal.run(Intervals(), score_TN, ranks.of(log_var_TN), self.day_T, hours)[1]


def _together(history: Mapping[str, Forecast], labels: Mapping[str, Array]) -> tuple[Array, tuple[str, ...]]:
    if not history:
        return np.empty(0, dtype="datetime64[us]"), ()
    first = next(iter(history.values()))
    for name, other in history.items():
        if other.symbols != first.symbols or not np.array_equal(other.ts, first.ts):
            raise SettingsError(
                f"the out-of-fold forecasts must be about the same hours and coins, those of {name} are not: align"
            )
    shape = (len(first.ts), len(first.symbols))
    wrong = [name for name in LABELS if name not in labels or labels[name].shape != shape]
    if wrong:
        raise SettingsError(f"the labels {wrong} are not there on the hours and coins of the forecasts, {shape}: align them")
    return first.ts, first.symbols


def _cut(forecast: Forecast | None, ts: Array, symbols: tuple[str, ...], kept: Array) -> Forecast:
    """The hours `kept`; nothing but NaN for a member that is new."""
    if forecast is None:
        shape = (int(kept.sum()), len(symbols))
        cubes = [np.full((len(HORIZONS), *shape), np.nan) for _ in range(3)]
        return Forecast(ts[kept], symbols, cubes[0], cubes[1], cubes[2], np.full(shape, np.nan), np.full(shape, np.nan))
    return Forecast(
        forecast.ts[kept],
        symbols,
        forecast.p_up_HTN[:, kept],
        forecast.mean_HTN[:, kept],
        forecast.log_var_HTN[:, kept],
        forecast.p_beats_median_TN[kept],
        forecast.realised_var_TN[kept],
    )
