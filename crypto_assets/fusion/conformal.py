"""Intervals that learn from their misses: adaptive conformal inference, by level of forecast volatility.

Gibbs and Candes, Adaptive Conformal Inference Under Distribution Shift (2021): the level a is moved by a <- a + rate (target -
miss), and the interval is made of the quantiles a/2 and 1 - a/2 of past scores. A score is an outcome in units of its
forecast: (return - mean) / standard deviation, ln(RV / forecast). Whatever happens to the market, the share of misses tends to
the target.

Levels and scores are kept apart for calm, lively and stormy hours (by the rank of the forecast variance), so that the hours
with the largest moves are covered as often as the others. All of it moves once a day, by outcomes that had closed
(`context.closing_days`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from crypto_assets.fusion.context import closing_days

Array = np.ndarray

COVERAGES = (0.5, 0.8, 0.9)
EDGES = (0.5, 0.9)
"""Ranks of forecast variance at which the bins meet: the stormy bin is the top decile."""
BINS = len(EDGES) + 1
RATE = 0.1
"""A day's step; the paper's 0.005 a step, for the twenty or so steps that a day of dependent hours of many coins is worth."""
LEAST = 0.002
"""The miscoverage aimed at stays above this: beyond it an interval would be all numbers."""
KEEP_DAYS = 30
A_DAY = 60
"""Scores kept of one day and bin, evenly taken: those of a day are much alike."""
ENOUGH = 300
"""With fewer scores in a bin, those of all bins are used; with fewer in all, the normal's."""


def adapt(level: float, target: float, missed: float, rate: float = RATE) -> float:
    """The next miscoverage to aim at, after a share `missed`: one step of the paper, not yet kept inside (0, 1)."""
    return level + rate * (target - missed)


@dataclass
class Intervals:
    """The moving state of one target: `level_LB` miscoverage aimed at, and the scores of the last days by bin."""

    level_LB: Array = field(default_factory=lambda: np.repeat(1 - np.array(COVERAGES)[:, None], BINS, axis=1))
    scores: list[list[Array]] = field(default_factory=lambda: [[] for _ in range(BINS)])
    _bounds: Array | None = field(default=None, repr=False, compare=False)
    """Made of this state; one that stays as it is, as a server's does all day, makes them once."""

    def bounds(self) -> Array:
        """Scores between which an outcome is expected, `[2, L, B]`: low, high."""
        if self._bounds is None:
            self._bounds = self._made()
        return self._bounds

    def _made(self) -> Array:
        from scipy.special import ndtri

        everything = [s for day in self.scores for s in day]
        out = np.empty((2, *self.level_LB.shape))
        for b in range(BINS):
            own = np.concatenate(self.scores[b]) if self.scores[b] else np.empty(0)
            if len(own) < ENOUGH:
                own = np.concatenate(everything) if everything else own
            a = np.clip(self.level_LB[:, b], LEAST, 1.0)
            at = np.stack([a / 2, 1 - a / 2])
            out[:, :, b] = np.quantile(own, at) if len(own) >= ENOUGH else ndtri(at)
        return out

    def learn(self, score_R: Array, bin_R: Array, missed_LR: Array) -> None:
        """One day of outcomes that have closed: their scores, bins, and whether each interval missed them."""
        self._bounds = None
        for b in range(BINS):
            here = (bin_R == b) & np.isfinite(score_R)
            n = int(here.sum())
            if not n:
                continue
            missed = missed_LR[:, here].mean(axis=1)
            for k, coverage in enumerate(COVERAGES):
                self.level_LB[k, b] = np.clip(adapt(self.level_LB[k, b], 1 - coverage, missed[k]), -RATE, 1.0)
            kept = score_R[here][np.linspace(0, n - 1, min(n, A_DAY)).astype(int)]
            self.scores[b] = [*self.scores[b], kept][-KEEP_DAYS:]

    def copy(self) -> Intervals:
        """A state of its own."""
        return Intervals(self.level_LB.copy(), [list(days) for days in self.scores], self._bounds)


def bins_of(rank: Array) -> Array:
    """0 calm, 1 lively, 2 stormy."""
    return np.searchsorted(EDGES, rank, side="right")


def run(state: Intervals, score_TN: Array, rank_TN: Array, day_T: Array, hours: int) -> tuple[Array, Intervals]:
    """Bounds by row as scores, `[2, L, T, N]`, and the state after the last day.

    `score_TN`: NaN where there is no outcome (yet); rows are used only from the day on which their outcome may be.
    """
    state, bin_TN = state.copy(), bins_of(rank_TN)
    out = np.empty((2, len(COVERAGES), *score_TN.shape))
    usable = day_T + closing_days(hours)
    for day, here in _days(day_T):
        closed = _span(usable, day)
        if closed.stop > closed.start:
            score, low, high = (a.reshape(*a.shape[:-2], -1) for a in (score_TN[closed], *out[:, :, closed]))
            state.learn(score, bin_TN[closed].ravel(), (score < low) | (score > high))
        out[:, :, here] = state.bounds()[:, :, bin_TN[here]]
    return out, state


def _days(day_T: Array) -> Iterator[tuple[int, slice]]:
    for day in np.unique(day_T):
        yield int(day), _span(day_T, int(day))


def _span(day_T: Array, day: int) -> slice:
    return slice(int(np.searchsorted(day_T, day)), int(np.searchsorted(day_T, day, side="right")))
