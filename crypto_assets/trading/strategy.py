"""From calibrated probabilities to target weights: who is long, short or flat, decided at each bar's close.

Shapes: T decision times, N coins. A weight is a fraction of equity, negative = short. A forecast speaks for its horizon: a
position taken from it is kept at most that long without a newer one, then closed. NaN never opens a position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import HORIZONS
from crypto_assets.trading import sizing
from crypto_assets.trading.costs import Costs

MEAN_ABSOLUTE = float(np.sqrt(2 / np.pi))
"""E|x| of a standard normal."""
IN_PLAY_HOURS = 24
"""A coin missing for less than a day still counts among the coins the capital is divided over."""


@dataclass(frozen=True)
class Signal:
    """What a strategy may see. `p_TN`: the forecast probability, NaN = none. `sigma_TN`: root mean square hourly log return of
    the past week, NaN = unknown. `listed_TN`: the coin has a bar that closes at the decision time. `price_TN`: the last close
    known at the decision, NaN = none yet; None where nobody gave it.
    """

    p_TN: np.ndarray
    sigma_TN: np.ndarray
    listed_TN: np.ndarray
    price_TN: np.ndarray | None = None

    def coins_in_play(self) -> np.ndarray:
        """Coins with a bar during the last day, `[T, 1]`, at least 1."""
        seen = np.cumsum(np.vstack([np.zeros((1, self.listed_TN.shape[1]), int), self.listed_TN]), axis=0)
        first = np.maximum(np.arange(len(self.listed_TN)) + 1 - IN_PLAY_HOURS, 0)
        return np.maximum(((seen[1:] - seen[first]) > 0).sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True)
class Targets:
    """`weights_TN`: fractions of equity, NaN = leave the position alone; `band_T`: smallest change of weight worth a trade."""

    weights_TN: np.ndarray
    band_T: np.ndarray


class Strategy(Protocol):
    """How one column of the forecasts becomes positions."""

    @property
    def name(self) -> str:
        """Its name in tables and reports."""
        ...

    @property
    def column(self) -> str:
        """Column of `forecasts/*` it reads."""
        ...

    @property
    def horizon(self) -> str:
        """Rows of `forecasts/*` it reads."""
        ...

    def targets(self, signal: Signal, costs: Costs) -> Targets:
        """Target weights for every decision time, each from the past alone."""
        ...


@dataclass(frozen=True)
class Direction:
    """Long, short or flat in each coin by itself, an equal share of the capital each.

    The expected gain is `(2 p_up - 1) E|r|`, with E|r| that of a normal return whose volatility is the past week's. A
    position is opened when the gain exceeds `entry` round trips of cost and kept until the forecast changes sides
    (gain under `exit` round trips): the gap between the two is the no-trade band, and it is as wide as costs are high.
    `drift`: a held position is left alone until its weight is off by this share of itself.
    """

    horizon: str
    entry: float = 1.0
    exit: float = 0.0
    drift: float = 0.25
    column: str = "p_up"

    def __post_init__(self) -> None:
        if self.horizon not in HORIZONS:
            raise SettingsError(f"horizon {self.horizon!r} is none of {', '.join(HORIZONS)}")
        if not 0 <= self.exit <= self.entry:
            raise SettingsError(f"exit {self.exit} must lie between 0 and entry {self.entry}: a band that is not negative")

    @property
    def name(self) -> str:
        """`direction_<horizon>`."""
        return f"direction_{self.horizon}"

    def targets(self, signal: Signal, costs: Costs) -> Targets:
        """+-1 / coins in play, or 0."""
        hours = HORIZONS[self.horizon]
        gain = (2 * signal.p_TN - 1) * signal.sigma_TN * np.sqrt(hours) * MEAN_ABSOLUTE
        enter, leave = self.entry * costs.round_trip, self.exit * costs.round_trip
        is_stale = _age(~np.isnan(gain)) >= hours
        side = _latch(gain > enter, is_stale | (gain < leave)) - _latch(gain < -enter, is_stale | (gain > -leave))
        coins = signal.coins_in_play()
        return Targets(side / coins, self.drift / coins[:, 0])


@dataclass(frozen=True)
class Relative:
    """Long the coins likelier to beat the cross-sectional median, short the others, in proportion to their rank.

    Each hour 1/24 of the capital is placed by that hour's ranks and kept for 24 hours, so the portfolio is the average over
    all 24 hours at which one could have rebalanced and the start does not matter (overlapping portfolios: Jegadeesh and
    Titman, Journal of Finance 48, 1993). Weights are linear in the rank (Asness, Moskowitz and Pedersen, Journal of Finance
    68, 2013), tied coins share theirs, so a forecast that says nothing trades nothing; longs and shorts are half the capital
    each. A part whose hour brings no forecast expires. `drift`: changes under this share of an average position wait. `least`:
    coins whose probability is nearer to one half are left out, and their share of the capital stays in cash.
    """

    hold_hours: int = 24
    drift: float = 0.1
    least: float = 0.0
    column: str = "p_beats_median"
    horizon: str = "24h"

    def __post_init__(self) -> None:
        if self.hold_hours < 1:
            raise SettingsError(f"hold_hours must be at least 1, was {self.hold_hours}")

    @property
    def name(self) -> str:
        """`relative_<hours>h`."""
        return f"relative_{self.hold_hours}h"

    def targets(self, signal: Signal, costs: Costs) -> Targets:
        """Mean of the last `hold_hours` cohorts."""
        p_TN = np.where(signal.listed_TN, signal.p_TN, np.nan)
        speaks = np.abs(p_TN - 0.5) >= self.least
        share = speaks.sum(axis=1, keepdims=True) / np.maximum((~np.isnan(p_TN)).sum(axis=1, keepdims=True), 1)
        cohorts = rank_weights(np.where(speaks, p_TN, np.nan)) * share
        sums = np.vstack([np.zeros((1, cohorts.shape[1])), np.cumsum(cohorts, axis=0)])
        t = np.arange(len(cohorts)) + 1
        weights = (sums[t] - sums[np.maximum(t - self.hold_hours, 0)]) / self.hold_hours
        weights[np.abs(weights) < 1e-12] = 0.0
        return Targets(weights, self.drift / signal.coins_in_play()[:, 0])


@dataclass(frozen=True)
class Sized:
    """Long or short in each coin by itself, as large as the least of Kelly's bet, the risk-based and the confidence-based size.

    The seed's rule, with Kelly from the calibrated probability and a payoff net of costs (`sizing.smallest`), so where a win
    would not pay the round trip nothing is held. A position is kept until the next forecast, at most its horizon. `drift`: a
    change under this share of what half a confidence allows waits.
    """

    horizon: str = "24h"
    fraction: float = sizing.KELLY_FRACTION
    drift: float = 0.25
    column: str = "p_up"

    def __post_init__(self) -> None:
        if self.horizon not in HORIZONS:
            raise SettingsError(f"horizon {self.horizon!r} is none of {', '.join(HORIZONS)}")

    @property
    def name(self) -> str:
        """`sized_<horizon>`."""
        return f"sized_{self.horizon}"

    def targets(self, signal: Signal, costs: Costs) -> Targets:
        """The newest forecast's size, for as long as it speaks; never more than equity / coins in play in one coin."""
        hours = HORIZONS[self.horizon]
        coins = signal.coins_in_play()
        known = ~np.isnan(signal.p_TN)
        t = np.arange(len(known))[:, None]
        newest = np.maximum(np.maximum.accumulate(np.where(known, t, 0), axis=0), 0)
        p_TN = np.where(_age(known) < hours, np.take_along_axis(signal.p_TN, newest, axis=0), np.nan)
        size = sizing.smallest(p_TN, signal.sigma_TN, hours, costs.round_trip, fraction=self.fraction)
        return Targets(np.clip(size, -1 / coins, 1 / coins), self.drift * sizing.CONFIDENCE_SHARE / 2 / np.ones(len(coins)))


STRATEGIES: dict[str, Strategy] = {s.name: s for s in (Direction("1h"), Direction("4h"), Direction("24h"), Relative(), Sized())}


def rank_weights(p_TN: np.ndarray) -> np.ndarray:
    """Centred ranks of each row scaled to a sum of absolute values of 1; NaN gets 0, ties share, a row of equals is all 0."""
    below = (p_TN[:, None, :] < p_TN[:, :, None]).sum(axis=2)
    above = (p_TN[:, None, :] > p_TN[:, :, None]).sum(axis=2)
    centred = (below - above).astype(np.float64)
    gross = np.abs(centred).sum(axis=1, keepdims=True)
    return np.divide(centred, gross, out=np.zeros_like(centred), where=gross > 0)


def _latch(opens_TN: np.ndarray, closes_TN: np.ndarray) -> np.ndarray:
    """1.0 from each True of `opens` to the next True of `closes`, else 0.0."""
    t = np.arange(len(opens_TN))[:, None]
    opened = np.maximum.accumulate(np.where(opens_TN, t, -1), axis=0)
    closed = np.maximum.accumulate(np.where(closes_TN, t, -1), axis=0)
    return (opened > closed).astype(np.float64)


def _age(known_TN: np.ndarray) -> np.ndarray:
    """Hours since the last True, at least the row number + 1 where there was none."""
    t = np.arange(len(known_TN))[:, None]
    return t - np.maximum.accumulate(np.where(known_TN, t, -(len(known_TN) + 1)), axis=0)
