"""What may move the weights, each a number between 0 and 1 known at the decision time.

`volatility`: the rank of the members' average forecast of the market's variance among all earlier hours. `disagreement`: the
rank of the spread of the members' logits. `skill`: how much better than the pool a member was lately, by labels that had
closed.

A weight is interpolated between two knots, (1 - u) w_0 + u w_1 with both not negative: it stays non-negative and linear in
what is fitted, so the posterior stays log-concave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.fusion.families import FAMILIES, expit

Array = np.ndarray

KINDS = ("volatility", "disagreement", "skill")
QUANTILES = np.linspace(0, 1, 65)
HALF_LIFE_DAYS = 14.0


@dataclass(frozen=True)
class Ranks:
    """An empirical distribution, kept as quantiles; `of` interpolates in it. Without any values every rank is 1/2."""

    quantiles: Array

    @classmethod
    def fit(cls, values: Array) -> Ranks:
        """Of the finite `values`."""
        known = values[np.isfinite(values)]
        return cls(np.quantile(known, QUANTILES) if len(known) else np.full(len(QUANTILES), np.nan))

    def of(self, values: Array) -> Array:
        """Rank in [0, 1]; 1/2 where unknown."""
        if not np.isfinite(self.quantiles).all():
            return np.full(np.shape(values), 0.5)
        low = np.interp(values, self.quantiles, QUANTILES)
        return np.where(np.isfinite(values), low, 0.5)


@dataclass(frozen=True)
class Skill:
    """Discounted sum of a member's daily gains over the pool and of their squares, `[M]` each."""

    total: Array
    square: Array

    @classmethod
    def start(cls, members: int) -> Skill:
        """Nothing seen yet."""
        return cls(np.zeros(members), np.zeros(members))

    @property
    def level(self) -> Array:
        """In [0, 1] by member: 1/2 where it did as well as the average of all, 0.88 two standard errors above it."""
        return expit(np.divide(self.total, np.sqrt(self.square), out=np.zeros_like(self.total), where=self.square > 0))

    def after(self, gain_MR: Array) -> Skill:
        """With one more day of gains."""
        known = gain_MR[:, np.isfinite(gain_MR).all(axis=0)]
        today = known.mean(axis=1) if known.size else np.zeros(len(self.total))
        keep = 0.5 ** (1 / HALF_LIFE_DAYS)
        return Skill(keep * self.total + today, keep * self.square + today**2)


def skill(z_MTN: Array, y_TN: Array, family: str, hours: int, day_T: Array, state: Skill) -> tuple[Array, Skill]:
    """Recent skill of each member by hour, `[M, T]`, and the state after the last day."""
    loss = FAMILIES[family].loss
    with np.errstate(invalid="ignore"):  # NaN where there is no outcome
        gain_MTN = loss(z_MTN.mean(axis=0), y_TN) - loss(z_MTN, y_TN)
    usable_T = day_T + closing_days(hours)
    out = np.full((len(z_MTN), len(day_T)), 0.5)
    for day in np.unique(day_T):
        closed = usable_T == day
        if closed.any():
            state = state.after(gain_MTN[:, closed].reshape(len(z_MTN), -1))
        out[:, day_T == day] = state.level[:, None]
    return out, state


def closing_days(hours: int) -> int:
    """Days from the day of a forecast to the first on which its outcome is used.

    On a day D, what had closed by the midnight that began the day before is used: the daily run of that day has written it, so
    an hour that is served knows the same rows as the batch.
    """
    return 1 + -(-(23 + hours) // 24)


def days_of(ts_T: Array) -> Array:
    """UTC day of each decision time, as an integer."""
    return ts_T.astype("datetime64[D]").astype(np.int64)
