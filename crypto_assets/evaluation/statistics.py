"""How sure a number is: clustered intervals, paired differences, Diebold-Mariano, block bootstrap.

Coins move together and hours follow each other, so rows are not independent: everything here clusters by blocks of days or
allows for autocorrelation. Nothing here knows of models or tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from crypto_assets.market.errors import SettingsError

Array = np.ndarray


class Estimate(NamedTuple):
    """A value, its interval, and the two-sided p-value of "it is zero"; NaN where there are fewer than two clusters."""

    value: float
    low: float
    high: float
    p: float
    clusters: int


def day_blocks(ts: Array, days: int) -> Array:
    """Number of the block of `days` UTC days that each time falls in, counted from the first day present.

    `ts` is datetime64. Blocks are as long as the horizon's overlap reaches and more, so that neighbours hardly share labels.
    """
    day = ts.astype("datetime64[D]").astype(np.int64)
    return (day - day.min()) // days if len(day) else day


def clustered_ratio(numerator: Array, denominator: Array, cluster: Array, level: float = 0.95) -> Estimate:
    """Sum(numerator) / sum(denominator) with a cluster-robust interval.

    Linearised (delta method) over clusters: the variance is G/(G-1) Σ_g (num_g - R den_g)² / (Σ den)², with Student's t on
    G - 1 degrees of freedom. Cameron and Miller (2015), "A practitioner's guide to cluster-robust inference".
    """
    if not len(numerator):
        return _unknown(float("nan"), 0)
    _, member = np.unique(cluster, return_inverse=True)
    num, den = np.bincount(member, numerator), np.bincount(member, denominator)
    total, groups = float(den.sum()), len(num)
    ratio = float(num.sum()) / total if total else float("nan")
    if groups < 2 or not np.isfinite(ratio):
        return _unknown(ratio, groups)
    error = float(np.sqrt(groups / (groups - 1) * np.sum((num - ratio * den) ** 2))) / abs(total)
    return _student(ratio, error, groups - 1, groups, level)


def clustered_mean(values: Array, cluster: Array, level: float = 0.95) -> Estimate:
    """The mean of `values` with an interval that treats each cluster as one observation of unequal size."""
    return clustered_ratio(values, np.ones(len(values)), cluster, level)


def paired_difference(loss: Array, other: Array, cluster: Array, level: float = 0.95) -> Estimate:
    """Mean of `loss - other` over the same rows, clustered; negative where `loss` is the smaller. p = 1 when they are equal."""
    return clustered_mean(loss - other, cluster, level)


def null_skill_interval(loss: Array, base: Array, cluster: Array, comparisons: int, level: float = 0.99) -> Estimate:
    """Skill 1 - Σloss/Σbase with an interval that holds at `level` for all of `comparisons` intervals together (Bonferroni).

    On a market with nothing to find it must contain 0 or lie below it.
    """
    if comparisons < 1:
        raise SettingsError(f"comparisons must be at least 1, was {comparisons}: give models x horizons")
    ratio = clustered_ratio(loss, base, cluster, 1 - (1 - level) / comparisons)
    again = clustered_ratio(loss - base, base, cluster)
    return Estimate(1 - ratio.value, 1 - ratio.high, 1 - ratio.low, again.p, ratio.clusters)


def long_run_variance(x: Array, lags: int) -> float:
    """Newey-West variance of √T times the mean, Bartlett weights up to `lags` (Newey and West 1987)."""
    d = x - x.mean()
    total = float(d @ d)
    for lag in range(1, min(lags, len(d) - 1) + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(d[lag:] @ d[:-lag])
    return total / len(d)


def diebold_mariano(loss: Array, other: Array, lags: int, level: float = 0.95) -> Estimate:
    """Test of equal forecast loss on one series in time order; negative value where `loss` is the smaller.

    `loss`, `other`: one value a time (average over coins first). The variance of the mean difference is Newey-West with
    `lags`, at least the horizon less one. Diebold and Mariano (1995). p = 1 when the two are equal.
    """
    d = loss - other
    if len(d) < 2:
        return _unknown(float(d.mean()) if len(d) else float("nan"), len(d))
    error = float(np.sqrt(max(long_run_variance(d, lags), 0.0) / len(d)))
    return _student(float(d.mean()), error, len(d) - 1, len(d), level)


def block_bootstrap(
    series: Array,
    statistic: Callable[[Array], Array],
    *,
    block: int,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic of a time series, by the circular block bootstrap (Politis and Romano 1992).

    `series` `[T]` or `[T, K]`, in time order; `statistic` maps resampled series `[D, T]` or `[D, T, K]` to `[D]`; `block` is
    the length of the blocks that are drawn whole. (NaN, NaN) for an empty series or when no draw gives a number.
    """
    if block < 1 or draws < 1:
        raise SettingsError(f"block and draws must be at least 1, were {block} and {draws}: give a block length in rows")
    T = len(series)
    if not T:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    found, at_once = [], max(1, min(draws, 2_000_000 // T))
    for first in range(0, draws, at_once):
        found.append(statistic(series[block_rows(T, block, min(at_once, draws - first), rng)]))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def block_rows(T: int, block: int, draws: int, rng: np.random.Generator) -> Array:
    """Rows `[draws, T]` of a circular block bootstrap: blocks of `block` rows, drawn whole from any start."""
    starts = rng.integers(0, T, size=(draws, -(-T // block)))
    return (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :T] % T


def _student(value: float, error: float, freedom: int, count: int, level: float) -> Estimate:
    from scipy.stats import t

    if error == 0:
        return Estimate(value, value, value, 1.0 if value == 0 else 0.0, count)
    reach = float(t.ppf((1 + level) / 2, freedom)) * error
    return Estimate(value, value - reach, value + reach, float(2 * t.sf(abs(value) / error, freedom)), count)


def _unknown(value: float, count: int) -> Estimate:
    """A value whose uncertainty cannot be told."""
    return Estimate(value, float("nan"), float("nan"), float("nan"), count)
