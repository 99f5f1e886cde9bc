"""Formulas, on flat arrays: a probability or a variance against what happened.

Nothing here knows of models, tables or horizons; intervals are in `statistics.py`. Arrays are float64, one element a scored
row, without NaN; a metric that is not defined on its rows (no rows, one class, no variation) is NaN.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

ECE_BINS = 15
KAPPA_FLOOR = 1e-5
"""Below this optimal skill (nats) a market holds nothing to capture, and the share of it is not a number."""
VARIANCE_FLOOR = 1e-8
"""Least forecast of a day's variance that is scored, (1 bp)²: a forecast of zero has infinite loss."""
MIN_CROSS_SECTION = 3
"""Fewest coins at one time whose ranks are compared: two coins rank as +1 or -1 whatever happens."""


def log_losses(p: Array, y: Array) -> Array:
    """-(y ln p + (1 - y) ln(1 - p)) in nats, by row.

    `y` may be a probability: the result is then the expected loss under it. `p` is clipped to the float64 resolution, as
    scikit-learn does, so that a sure and wrong forecast has a large loss rather than an infinite one.
    """
    edge = np.finfo(np.float64).eps
    q = np.clip(p, edge, 1 - edge)
    return -(y * np.log(q) + (1 - y) * np.log1p(-q))


def hits(p: Array, y: Array) -> Array:
    """1 where the forecast side came true, 0 where it did not, 1/2 where p is exactly 1/2 and takes no side."""
    return np.where(p == 0.5, 0.5, ((p > 0.5) == (y > 0.5)).astype(np.float64))


def brier(p: Array, y: Array) -> float:
    """Mean squared error of the probability."""
    return float(np.mean((p - y) ** 2)) if len(p) else float("nan")


def auc(p: Array, y: Array) -> float:
    """Area under the ROC curve = P(a row that went up was given more than one that went down), ties a half (Mann-Whitney)."""
    ups = float(np.sum(y > 0.5))
    downs = len(y) - ups
    if not ups or not downs:
        return float("nan")
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[inverse][y > 0.5].sum() - ups * (ups + 1) / 2) / (ups * downs))


def expected_calibration_error(p: Array, y: Array, bins: int = ECE_BINS) -> float:
    """Mean over rows of |mean p - share of ups| of the row's bin, in bins of equal mass.

    Equal forecasts stay in one bin (that of their middle rank): otherwise a constant forecast would be split by the order
    of its rows and blamed for the drift of the market. Naeini, Cooper, Hauskrecht (2015), equal-mass bins.
    """
    if not len(p):
        return float("nan")
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / len(p)
    of_row = np.minimum((middle * bins).astype(np.int64), bins - 1)[inverse]
    gaps = np.bincount(of_row, p, bins) - np.bincount(of_row, y, bins)
    return float(np.abs(gaps).sum() / len(p))


def precision_recall_f1(p: Array, y: Array) -> tuple[float, float, float]:
    """Of the forecast ups, the share that came; of the ups that came, the share forecast; the harmonic mean of the two.

    A p of exactly 1/2 forecasts no up. NaN where nothing was forecast up, or nothing went up.
    """
    said, came = p > 0.5, y > 0.5
    right, ups, forecast = float(np.sum(said & came)), float(came.sum()), float(said.sum())
    precision = right / forecast if forecast else float("nan")
    return precision, right / ups if ups else float("nan"), 2 * right / (forecast + ups) if forecast and ups else float("nan")


def means_of_most_confident(p: Array, *values: Array) -> list[Array]:
    """Mean of each of `values` over the k rows with the largest |p - 1/2|, for k = 1 ... n: the risk-coverage curves.

    With errors as values it is the risk at coverage k / n (Geifman and El-Yaniv 2017), and its mean is their AURC. Rows of
    equal confidence enter with their mean, so the result does not depend on the order of the rows.
    """
    if not len(p):
        return [np.empty(0) for _ in values]
    confidence = np.abs(p - 0.5)
    order = np.argsort(-confidence)
    first = np.flatnonzero(np.r_[True, np.diff(confidence[order]) != 0])
    size = np.diff(np.r_[first, len(p)])
    rows = np.arange(1, len(p) + 1)
    return [np.cumsum(np.repeat(np.add.reduceat(v[order], first) / size, size)) / rows for v in values]


def at_coverage(curve: Array, share: float) -> float:
    """A risk-coverage curve at `share` of its rows, at least one."""
    return float(curve[max(1, int(np.ceil(share * len(curve)))) - 1]) if len(curve) else float("nan")


def interval_coverage(low: Array, high: Array, outcome: Array) -> float:
    """Share of outcomes inside their interval, its ends included."""
    return float(np.mean((low <= outcome) & (outcome <= high))) if len(outcome) else float("nan")


def interval_width(low: Array, high: Array) -> float:
    """Mean width, in the unit of the outcome."""
    return float(np.mean(high - low)) if len(low) else float("nan")


def interval_scores(low: Array, high: Array, outcome: Array, level: float) -> Array:
    """Width plus 2 / (1 - level) times the distance by which the interval was missed, by row.

    The proper score of a central interval: least for the true quantiles (Gneiting and Raftery 2007). `level`: 0.9 for 90 %.
    """
    missed = np.maximum(low - outcome, 0) + np.maximum(outcome - high, 0)
    return high - low + 2 / (1 - level) * missed


def ranks_within(x: Array, group: Array) -> Array:
    """Rank of each element among those of its group, from 1, ties averaged."""
    if not len(x):
        return np.empty(0)
    order = np.lexsort((x, group))
    x_sorted, group_sorted = x[order], group[order]
    new_group = np.r_[True, group_sorted[1:] != group_sorted[:-1]]
    new_run = new_group | np.r_[True, x_sorted[1:] != x_sorted[:-1]]
    run = np.cumsum(new_run) - 1
    first = np.flatnonzero(new_run)
    last = np.r_[first[1:], len(x)] - 1
    group_start = np.flatnonzero(new_group)[np.cumsum(new_group) - 1]
    ranks = np.empty(len(x))
    ranks[order] = ((first + last) / 2)[run] - group_start + 1
    return ranks


def information_coefficients(p_ranks: Array, r_ranks: Array, time: Array) -> tuple[Array, Array]:
    """Spearman correlation of forecast and realised return over the coins of each time: (times, coefficients).

    Takes the ranks (`ranks_within` by time) and the integer `time` of each row. Times with fewer than three coins, or at
    which every coin did the same, are left out; a time at which the forecast ranks nothing counts as 0.
    """
    if not len(time):
        return np.empty(0, dtype=np.int64), np.empty(0)
    size = np.bincount(time)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_p, mean_r = np.bincount(time, p_ranks) / size, np.bincount(time, r_ranks) / size
        dp, dr = p_ranks - mean_p[time], r_ranks - mean_r[time]
        var_p, var_r = np.bincount(time, dp * dp), np.bincount(time, dr * dr)
        ic = np.where(var_p > 0, np.bincount(time, dp * dr) / np.sqrt(var_p * var_r), 0.0)
    times = np.flatnonzero((size >= MIN_CROSS_SECTION) & (var_r > 0))
    return times, ic[times]


def rank_ic(times: Array, ic: Array, day_of_time: Array) -> tuple[float, float]:
    """(rank IC, its information ratio).

    The rank IC is the mean over times of the cross-sectional Spearman correlation; the ratio is mean / standard deviation
    over days of the day's mean IC. NaN when the forecast never ranks anything, or fewer than two days were scored.
    """
    if not len(ic) or not np.any(ic):
        return float("nan"), float("nan")
    _, day = np.unique(day_of_time[times], return_inverse=True)
    daily = np.bincount(day, ic) / np.bincount(day)
    spread = daily.std(ddof=1) if len(daily) > 1 else 0.0
    return float(ic.mean()), float(daily.mean() / spread) if spread > 0 else float("nan")


def qlike_losses(forecast: Array, rv: Array) -> Array:
    """RV/f - ln(RV/f) - 1 by row: the loss whose optimum is the mean, robust to noise in RV (Patton 2011).

    `rv` must be positive; `forecast` is floored at `VARIANCE_FLOOR`.
    """
    ratio = rv / np.maximum(forecast, VARIANCE_FLOOR)
    return ratio - np.log(ratio) - 1


def r2_log(forecast: Array, rv: Array) -> tuple[float, float]:
    """R² of the log of the realised variance: (of ln f as it stands, 1 - SSE/SST; of the best line through ln f).

    The second is the Mincer-Zarnowitz R², the squared correlation: it forgives a constant bias, the first does not.
    """
    if len(rv) < 2:
        return float("nan"), float("nan")
    x, y = np.log(np.maximum(forecast, VARIANCE_FLOOR)), np.log(rv)
    total = float(np.sum((y - y.mean()) ** 2))
    if total == 0:
        return float("nan"), float("nan")
    spread = float(np.sum((x - x.mean()) ** 2))
    straight = 1 - float(np.sum((y - x) ** 2)) / total
    line = float(np.sum((x - x.mean()) * (y - y.mean()))) ** 2 / (spread * total) if spread > 0 else 0.0
    return straight, line


def captured_share(p: Array, optimum: Array) -> float:
    """κ = (ln 2 - E[LL(p)]) / (ln 2 - E[H(p*)]): the share of the best possible log-loss skill that was captured.

    Both losses are expectations under the optimum p*, so no label noise enters. NaN when the denominator is under
    `KAPPA_FLOOR`.
    """
    if not len(p):
        return float("nan")
    best = np.log(2) - float(np.mean(log_losses(optimum, optimum)))
    return float((np.log(2) - np.mean(log_losses(p, optimum))) / best) if best >= KAPPA_FLOOR else float("nan")
