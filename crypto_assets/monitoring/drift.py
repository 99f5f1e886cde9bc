"""Drift: has the distribution of a feature or of a forecast moved, by more than its own autocorrelation explains?

Three distances between a reference period and the newest window: the population stability index, the Kolmogorov-Smirnov
statistic and the Jensen-Shannon divergence, and the change of the share of missing values. Their textbook thresholds and
p-values assume independent rows; hourly features are nothing like it, and an AR(1) of 0.97 drifts in nine of ten fortnights by
the plain Kolmogorov-Smirnov test. Here a limit comes from the reference itself: windows of the same length are put together
from moving blocks of it, each is compared with what is left of the reference, and the limit is a quantile of those distances.
Leaving the drawn blocks out keeps the uncertainty of both sides: against the whole reference of 60 to 90 days 13 to 19 % of
such windows raised an alarm where 5 % were asked for, against what is left 6 to 7 %. Blocks: Künsch, The Jackknife and the
Bootstrap for General Stationary Observations, Annals of Statistics 17(3), 1989.

Shapes: T hours, N coins, B bins, D draws. All coins of an hour are drawn together, and so are all features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crypto_assets.market.errors import SettingsError

Array = np.ndarray

FINE, COARSE = 50, 10
"""Bins of equal reference mass: for the Kolmogorov-Smirnov statistic, and for the other two."""
DISTANCES = ("psi", "ks", "js", "missing")
LEAST = {"psi": 0.10, "ks": 0.05, "js": 0.0125, "missing": 0.02}
"""A smaller distance is no drift however unlikely it is: 0.10 is where the usual reading of the PSI begins ("little change"
below it), 0.0125 the same for the JS divergence, which is an eighth of the PSI for small changes; 5 points of the distribution
function, 2 points of missing values."""


@dataclass(frozen=True)
class Comparison:
    """How reference and window are compared. `level`: chance of a false alarm of one distance of one feature."""

    block: int = 168
    """Hours drawn together: a week, so that days of the week and slow hours stay whole."""
    draws: int = 300
    level: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.block < 1 or self.draws < 20 or not 0 < self.level < 1:
            raise SettingsError(
                f"block {self.block}, draws {self.draws}, level {self.level}: expected a block of at least an hour, at least "
                f"20 draws and a level between 0 and 1"
            )


class Shift(NamedTuple):
    """One feature or forecast: each distance, and the limit above which it is drift. `missing` is a change of share."""

    name: str
    psi: float
    psi_limit: float
    ks: float
    ks_limit: float
    js: float
    js_limit: float
    missing: float
    missing_limit: float

    @property
    def causes(self) -> tuple[str, ...]:
        """The distances that are above their limit."""
        return tuple(d for d in DISTANCES if getattr(self, d) > getattr(self, f"{d}_limit"))


@dataclass(frozen=True)
class Drift:
    """All comparisons, and how many drifted against `most`: the number that chance alone exceeds once in a hundred times.

    `most` comes from the same draws of all features together, so that features that move together count as they do.
    """

    shifts: tuple[Shift, ...]
    most: int

    @property
    def drifted(self) -> tuple[Shift, ...]:
        """Those beyond a limit."""
        return tuple(s for s in self.shifts if s.causes)

    @property
    def share(self) -> float:
        """Share of the series that drifted."""
        return len(self.drifted) / len(self.shifts) if self.shifts else 0.0

    @property
    def is_drift(self) -> bool:
        """More series drifted than chance explains."""
        return len(self.drifted) > self.most


def drift(reference: Mapping[str, Array], current: Mapping[str, Array], how: Comparison | None = None) -> Drift:
    """Compare each series of `current` with the one of that name in `reference`; arrays are `[T]` or `[T, N]`, NaN = missing.

    All reference arrays are of one length, and so are the current ones. Raises SettingsError for another shape, or where the
    reference is shorter than two windows: then there is nothing to draw from.
    """
    how = how or Comparison()
    names = list(reference)
    if not names:
        return Drift((), 0)
    T_ref, T_cur = len(reference[names[0]]), len(current[names[0]])
    if T_cur < 1 or T_ref < 2 * T_cur:
        raise SettingsError(
            f"a reference of {T_ref} hours for a window of {T_cur}: expected at least twice as many; take an earlier start or "
            f"a shorter window"
        )
    starts, lengths = _blocks(T_ref, T_cur, how)
    shifts, beyond = [], np.zeros(how.draws)
    for name in names:
        found, drawn = _one(_two(reference[name], T_ref, name), _two(current[name], T_cur, name), starts, lengths)
        limits = {d: max(float(np.quantile(drawn[d], 1 - how.level)), LEAST[d]) for d in DISTANCES}
        shifts.append(Shift(name, *(x for d in DISTANCES for x in (float(found[d][0]), limits[d]))))
        beyond += np.any([drawn[d] > limits[d] for d in DISTANCES], axis=0)
    return Drift(tuple(shifts), int(np.quantile(beyond, 0.99, method="higher")))


def psi(p: Array, q: Array) -> Array:
    """Population stability index: sum of (p - q) ln(p / q) over the last axis; the symmetric Kullback-Leibler divergence."""
    return np.sum((p - q) * np.log(p / q), axis=-1)


def jensen_shannon(p: Array, q: Array) -> Array:
    """Mean divergence of both distributions from their average, in nats: at most ln 2 (Lin 1991)."""
    m = (p + q) / 2
    return np.sum(p * np.log(p / m) + q * np.log(q / m), axis=-1) / 2


def kolmogorov_smirnov(p: Array, q: Array) -> Array:
    """Largest distance of the two distribution functions at the edges of the bins: scipy's where each value has its own."""
    return np.minimum(np.abs(np.cumsum(p, axis=-1) - np.cumsum(q, axis=-1)).max(axis=-1), 1.0)


class Change(NamedTuple):
    """ADWIN saw at position `at` of the stream that the mean had changed; `since` is the likeliest position where it did."""

    since: int
    at: int
    before: float
    after: float


def changes(losses: Sequence[float] | Array, *, centre: float, spread: float, delta: float = 0.002) -> Iterator[Change]:
    """Where the mean of a stream changes, by ADWIN (Bifet and Gavaldà 2007): it keeps the longest window with one mean.

    `centre` and `spread` are mean and standard deviation of the stream while all was well: ADWIN's bound is for values in
    [0, 1], so six of those deviations around the mean are mapped onto it and what lies outside is clipped. Feed it values that
    hardly depend on each other: hourly means of a 1 h loss, or days of a longer one. NaN is left out.
    """
    from river.drift import ADWIN

    detector, seen = ADWIN(delta=delta), []
    scale = 6 * spread if spread > 0 else 1.0
    for at, loss in enumerate(losses):
        if np.isnan(loss):
            continue
        seen.append((at, float(loss)))
        detector.update(float(np.clip((loss - centre) / scale + 0.5, 0, 1)))
        if detector.drift_detected:
            split = likeliest_split(np.array([x for _, x in seen]))
            old, new = ([x for _, x in part] for part in (seen[:split], seen[split:]))
            yield Change(seen[split][0], at, float(np.mean(old)) if old else centre, float(np.mean(new)))
            seen = seen[split:]


def likeliest_split(x: Array) -> int:
    """Where one change of the mean explains most of the sum of squares."""
    if len(x) < 2:
        return 0
    n = np.arange(1, len(x))
    left, total = np.cumsum(x)[:-1], x.sum()
    gap = left / n - (total - left) / (len(x) - n)
    return int(np.argmax(gap**2 * n * (len(x) - n))) + 1


def _blocks(T_ref: int, T_cur: int, how: Comparison) -> tuple[Array, Array]:
    """First hour of every block `[D, k]` and the length of each of the k blocks that make a window."""
    block = min(how.block, T_cur)
    lengths = np.full(-(-T_cur // block), block)
    lengths[-1] = T_cur - block * (len(lengths) - 1)
    rng = np.random.default_rng(how.seed)
    return rng.integers(0, T_ref - lengths + 1, size=(how.draws, len(lengths))), lengths


def _one(ref_TN: Array, cur_TN: Array, starts: Array, lengths: Array) -> tuple[dict[str, Array], dict[str, Array]]:
    """The distances of the window (one element each) and those of the drawn windows `[D]`."""
    finite = ref_TN[np.isfinite(ref_TN)]
    edges = np.unique(np.quantile(finite, np.arange(1, FINE) / FINE)) if len(finite) else np.empty(0)
    coarse = np.unique(np.quantile(finite, np.arange(1, COARSE) / COARSE)) if len(finite) else np.empty(0)
    groups = np.unique(np.r_[0, np.searchsorted(edges, coarse) + 1])
    groups = groups[groups <= len(edges)]
    ref_TB, cur_B = _counts(ref_TN, edges), _counts(cur_TN, edges).sum(axis=0)
    until = np.vstack([np.zeros(ref_TB.shape[1]), np.cumsum(ref_TB, axis=0)])
    drawn_DB = (until[starts + lengths] - until[starts]).sum(axis=1)
    rest_DB = np.maximum(until[-1] - drawn_DB, 0.0)
    return _distances(cur_B[None], until[-1][None], groups), _distances(drawn_DB, rest_DB, groups)


def _counts(x_TN: Array, edges: Array) -> Array:
    """Values of each hour in each bin `[T, B + 1]`: bin b holds those in (edge b-1, edge b], the last column the missing."""
    bins = len(edges) + 2
    code = np.where(np.isfinite(x_TN), np.searchsorted(edges, x_TN, side="left"), bins - 1)
    flat = np.arange(len(x_TN))[:, None] * bins + code
    return np.bincount(flat.ravel(), minlength=len(x_TN) * bins).reshape(len(x_TN), bins).astype(np.float64)


def _distances(window: Array, rest: Array, groups: Array) -> dict[str, Array]:
    """Every distance of the counts `window` `[D, B + 1]` from `rest`. Bins are never empty: each has half a count more."""
    seen = [np.add.reduceat(x[:, :-1], groups, axis=1) + 0.5 for x in (window, rest)]
    p, q = (x / x.sum(axis=1, keepdims=True) for x in seen)
    fine = [x[:, :-1] / np.maximum(x[:, :-1].sum(axis=1, keepdims=True), 1.0) for x in (window, rest)]
    told = (window[:, :-1].sum(axis=1) > 0) & (rest[:, :-1].sum(axis=1) > 0)
    gone = [x[:, -1] / np.maximum(x.sum(axis=1), 1.0) for x in (window, rest)]
    found = {"psi": psi(p, q), "ks": kolmogorov_smirnov(*fine), "js": jensen_shannon(p, q)}
    return {d: np.where(told, v, 0.0) for d, v in found.items()} | {"missing": np.abs(gone[0] - gone[1])}


def _two(x: Array, length: int, name: str) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim not in (1, 2) or len(x) != length:
        raise SettingsError(f"{name}: shape {x.shape}, expected [{length}] or [{length}, coins] as the other series have")
    return x[:, None] if x.ndim == 1 else x
