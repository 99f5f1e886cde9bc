"""Rolling and decayed sums that come out the same to the last bit wherever their series begins. Imports numba: load inside
functions.

A running sum remembers its start: each addition and removal rounds, and two reads that begin on different days differ in the
last digits for good. Here a window is a tree instead. The sum of the last 2m values is that of the last m plus that of the m
before them, so a window of any length is put together from windows of 1, 2, 4, ... in a fixed order: log2 steps a value, each
an addition of whole arrays, and nothing but the values of the window goes into it. Extremes and exponential weights double the
same way; means and variances by merging (Chan, Golub and LeVeque 1979), which loses no digits to a large mean. Windows in time
over rows without a grid (`by_time`) are read whole, one by one.

Arrays are contiguous float64 `[n]` of one series, sorted by time, NaN where missing.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

Array = np.ndarray
FORGOTTEN = 1e-12
"""What an exponential window may leave out: it ends at the first power of two of values that weigh this little."""


def sums(x: Array, length: int) -> Array:
    """Sum of the known ones of the last `length` values."""
    return _sums(_filled(x, 0.0), length)


def total(x: Array, length: int, least: int) -> Array:
    """The same; NaN with fewer than `least` known."""
    return _where_known(sums(x, length), x, length, least)


def mean(x: Array, length: int, least: int) -> Array:
    """Mean of the known ones of the last `length` values; NaN with fewer than `least`."""
    return _where_known(sums(x, length), x, length, least, is_mean=True)


def deviation(x: Array, length: int, least: int, lost: int = 1) -> Array:
    """Standard deviation of the last `length` values with `n - lost` degrees of freedom; NaN with fewer than `least` known."""
    count, _, squares = moments(x, length)
    enough = count >= max(least, lost + 1)
    return np.sqrt(np.divide(squares, count - lost, out=np.full(len(x), np.nan), where=enough))


def moments(x: Array, length: int) -> tuple[Array, Array, Array]:
    """Count, mean and sum of squared deviations of the known ones of the last `length` values."""
    one = 1.0 - np.isnan(x)
    count, middle, squares = _moments(one, _filled(x, 0.0), length)
    return count, middle, squares


def highest(x: Array, length: int, least: int) -> Array:
    """Largest of the last `length` values; NaN with fewer than `least` known."""
    return _where_known(_highest(_filled(x, -np.inf), length), x, length, least)


def lowest(x: Array, length: int, least: int) -> Array:
    """Smallest of the last `length` values; NaN with fewer than `least` known."""
    return -highest(-x, length, least)


def age(x: Array, values: Array) -> Array:
    """How many values ago x last was what it is in `values`, which must have been; NaN where that is."""
    return _age(x, values)


def doublings(decay: float) -> int:
    """How often an exponential window of one value is doubled until the next one weighs less than `FORGOTTEN`."""
    return max(0, math.ceil(math.log2(math.log(FORGOTTEN) / math.log(decay))))


def decayed(x: Array, decay: float) -> Array:
    """Sum of the known of 2 ** doublings(decay) values, each weighed by `decay` to the power of its age in values."""
    return _decayed(_filled(x, 0.0), decay, doublings(decay))


def decayed_mean(x: Array, decay: float, least: int) -> Array:
    """Mean with those weights; NaN where the value is, and until `least` are known."""
    weights = decayed(1.0 - np.isnan(x), decay)
    out = _where_known(decayed(x, decay), x, 2 ** doublings(decay), least)
    return np.where(np.isnan(x), np.nan, out / np.maximum(weights, FORGOTTEN))


def weighted(x: Array, weights: Array) -> Array:
    """Sum of the last len(weights) values by `weights`, newest first, where there are so many: `[n - len(weights) + 1]`."""
    return _weighted(x, weights)


def by_time(at: Array, x: Array, first: Array, span: int, least: int) -> tuple[Array, Array]:
    """Mean and standard deviation (ddof 1) of the known values of the last `span` (what lies exactly `span` back is out).

    `at` int64 `[n]` moments in the unit of `span`, `first` int64 `[n]` the row where the row's own series begins. NaN with
    fewer than `least` known.
    """
    return _by_time(at, x, first, span, least)


def _filled(x: Array, value: float) -> Array:
    """A copy with `value` for what is missing."""
    return np.where(np.isnan(x), value, x)


def _where_known(values: Array, x: Array, length: int, least: int, is_mean: bool = False) -> Array:
    """`values` of windows of x, NaN with fewer than `least` known; divided by their number for a mean."""
    _finish(values, x, length, least, is_mean)
    return values


@njit(cache=True)
def _finish(values, x, length, least, is_mean):
    count = 0
    for t in range(len(x)):
        count += not np.isnan(x[t])
        if t >= length:
            count -= not np.isnan(x[t - length])
        if count < least:
            values[t] = np.nan
        elif is_mean:
            values[t] /= max(count, 1)


@njit(cache=True)
def _sums(level, length):
    n = len(level)
    spare, out = np.empty(n), np.zeros(n)
    size, reached = 1, 0
    while True:
        if length & size and reached < n:
            to, before = out[reached:], level[: n - reached]  # views: an index that might be negative is not vectorised
            for t in range(len(to)):
                to[t] += before[t]
        reached += length & size
        if 2 * size > length or size >= n:
            return out
        _add_before(level, size, 1.0, spare)
        level, spare = spare, level
        size *= 2


@njit(cache=True)
def _add_before(level, size, weight, out):
    """`out` = each value and `weight` times the one `size` before it."""
    now, before, to = level[size:], level[: len(level) - size], out[size:]
    for t in range(size):
        out[t] = level[t]
    for t in range(len(now)):
        to[t] = now[t] + weight * before[t]


@njit(cache=True)
def _highest(level, length):
    n, size = len(level), 1
    spare = np.empty(n)
    while size < length and size < n:
        step = min(size, length - size)
        now, before, to = level[step:], level[: n - step], spare[step:]
        for t in range(step):
            spare[t] = level[t]
        for t in range(len(now)):
            to[t] = now[t] if now[t] > before[t] else before[t]
        level, spare = spare, level
        size += step
    return level


@njit(cache=True)
def _age(x, values):
    out = np.full(len(x), np.nan)
    for t in range(len(x)):
        if not np.isnan(values[t]):
            k = t
            while x[k] != values[t]:
                k -= 1
            out[t] = t - k
    return out


@njit(cache=True)
def _decayed(level, decay, times):
    spare = np.empty(len(level))
    size, weight = 1, decay
    for _ in range(times):
        if size >= len(level):
            break
        _add_before(level, size, weight, spare)
        level, spare = spare, level
        size, weight = 2 * size, weight * weight
    return level


@njit(cache=True)
def _moments(one, x, length):
    n = len(x)
    level, spare, out = np.zeros((3, n)), np.empty((3, n)), np.zeros((3, n))
    for t in range(n):
        level[0, t], level[1, t] = one[t], x[t]
    size, reached = 1, 0
    while True:
        if length & size and reached < n:
            _merge_before(out, level, reached, out)
        reached += length & size
        if 2 * size > length or size >= n:
            return out
        _merge_before(level, level, size, spare)
        level, spare = spare, level
        size *= 2


@njit(cache=True)
def _merge_before(a, b, step, out):
    """`out` = (count, mean, squared deviations) of each of `a` merged with that of `b` `step` before it, `[3, n]` each."""
    n = a.shape[1] - step
    n_a, mean_a, square_a = a[0, step:], a[1, step:], a[2, step:]
    n_b, mean_b, square_b = b[0, :n], b[1, :n], b[2, :n]
    n_o, mean_o, square_o = out[0, step:], out[1, step:], out[2, step:]
    for k in range(3):
        for t in range(step):
            out[k, t] = a[k, t]
    for t in range(n):
        together = n_a[t] + n_b[t]
        share = n_b[t] / max(together, 1.0)
        d = mean_b[t] - mean_a[t]
        square_o[t] = square_a[t] + square_b[t] + d * d * n_a[t] * share
        mean_o[t] = mean_a[t] + d * share
        n_o[t] = together


@njit(cache=True)
def _weighted(x, weights):
    out = np.zeros(len(x) - len(weights) + 1)
    for first in range(0, len(out), 512):  # a piece of the sums at a time stays in the cache
        piece = out[first : first + 512]
        for k in range(len(weights)):
            at = first + len(weights) - 1 - k
            values, weight = x[at : at + len(piece)], weights[k]
            for t in range(len(piece)):
                piece[t] += weight * values[t]
    return out


@njit(cache=True)
def _by_time(at, x, first, span, least):
    n = len(x)
    means, spreads = np.full(n, np.nan), np.full(n, np.nan)
    start = 0
    for t in range(n):
        start = max(start, first[t])
        while at[start] <= at[t] - span:
            start += 1
        count, summed = 0, 0.0
        for s in range(start, t + 1):
            if not np.isnan(x[s]):
                count += 1
                summed += x[s]
        if count < least or count == 0:
            continue
        middle, squares = summed / count, 0.0
        for s in range(start, t + 1):
            if not np.isnan(x[s]):
                squares += (x[s] - middle) ** 2
        means[t] = middle
        if count > 1:
            spreads[t] = math.sqrt(squares / (count - 1))
    return means, spreads
