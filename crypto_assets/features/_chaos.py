"""Fractal and chaos measures of one window, compiled, and their rolling run over many. Imports numba: load inside functions.

One pass over all pairs of a window's delay vectors serves correlation dimension, sample entropy, recurrence quantification and
the neighbours of the Lyapunov exponent: walking the distance matrix diagonal by diagonal, a diagonal line is a run in the inner
loop and a vertical line a run of one column from diagonal to diagonal. Each window is taken by itself: it is standardised, so
every threshold moves with it, and a row's value is the same bits wherever the read began.

Sources: R/S with the small-sample expectation of Anis and Lloyd (1976) as corrected by Peters (1994); DFA: Peng et al. (1994);
Higuchi (1988); Katz (1988); permutation entropy: Bandt and Pompe (2002); correlation sum: Grassberger and Procaccia (1983);
sample entropy: Richman and Moorman (2000); largest Lyapunov exponent: Rosenstein et al. (1993); recurrence quantification:
Zbilut and Webber (1992), Marwan et al. (2007).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

MEASURES = (
    *("hurst", "dfa", "higuchi", "katz", "permutation_entropy", "correlation_dimension", "sample_entropy", "lyapunov"),
    *("recurrence_rate", "determinism", "laminarity", "diagonal_length", "diagonal_entropy", "trapping_time"),
)
"""Columns of `measures`, in order."""
RADII = np.geomspace(0.25, 1.0, 24)
"""Of the correlation sum, in standard deviations: below a quarter a week of hours has too few pairs to count."""
TOLERANCE = 0.35
"""Of sample entropy, in standard deviations. The usual 0.2 leaves about 20 matching pairs in 168 values."""
RECURRENCE = 0.5
"""Radius of a recurrence (maximum norm), in standard deviations: 2 % of the pairs of white noise."""
THEILER = 10
"""Neighbours closer in time than this are the same stretch of path."""
TRAJECTORY = 8
"""Steps over which neighbours are followed."""
HIGUCHI_K = 10
BLOCK = 32
"""Pairs of a diagonal computed together: a diagonal is padded to whole blocks, so no loop ends in single steps."""
CELLS = 256
"""Of the table that finds a squared distance's radius."""
RESPONSE = 0.58
"""Share of a departure from 0.5 that rescaled range shows in a window of 168, measured on fractional Gaussian noise of H 0.2 to
0.8, where it is linear: the correction for noise leaves H right at 0.5 and pulls everything else towards it."""


@njit(cache=True)
def slope(x, y):
    """Least squares slope over the finite pairs; NaN with fewer than two."""
    n, sx, sy, sxx, sxy = 0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(x)):
        if np.isfinite(x[i]) and np.isfinite(y[i]):
            n += 1
            sx += x[i]
            sy += y[i]
            sxx += x[i] * x[i]
            sxy += x[i] * y[i]
    spread = n * sxx - sx * sx
    return (n * sxy - sx * sy) / spread if n > 1 and spread > 1e-12 else np.nan


@njit(cache=True)
def expected_rs(n):
    """Expected rescaled range of n independent normals (Anis and Lloyd 1976, Peters 1994)."""
    total = 0.0
    for i in range(1, n):
        total += math.sqrt((n - i) / i)
    middle = math.exp(math.lgamma((n - 1) * 0.5) - math.lgamma(n * 0.5)) / math.sqrt(math.pi)
    return (n - 0.5) / n * middle * total


@njit(cache=True)
def rescaled_range(x, n):
    """Mean R/S over the whole pieces of length n; NaN where nothing moved."""
    total, pieces = 0.0, 0
    for p in range(len(x) // n):
        mean = 0.0
        for i in range(p * n, (p + 1) * n):
            mean += x[i]
        mean /= n
        y = low = high = squares = 0.0
        first = True
        for i in range(p * n, (p + 1) * n):
            d = x[i] - mean
            y += d
            squares += d * d
            low = y if first or y < low else low
            high = y if first or y > high else high
            first = False
        if high - low > 0 and squares > 0:
            total += (high - low) / math.sqrt(squares / (n - 1))
            pieces += 1
    return total / pieces if pieces else np.nan


@njit(cache=True)
def hurst(x, sizes, expected):
    """Hurst exponent of increments x by R/S over piece lengths `sizes`, corrected by what noise would give; 0.5 for noise."""
    logs, values = np.empty(len(sizes)), np.empty(len(sizes))
    for k in range(len(sizes)):
        logs[k] = math.log(sizes[k])
        found = rescaled_range(x, sizes[k])
        values[k] = math.log(found) - math.log(expected[k]) if found > 0 else np.nan
    return 0.5 + slope(logs, values)


@njit(cache=True)
def unbiased(h):
    """A Hurst exponent of a window of 168 by rescaled range with its pull towards 0.5 undone (`RESPONSE`)."""
    return 0.5 + (h - 0.5) / RESPONSE


def hurst_sizes(n):
    """Piece lengths for a window of n: up to 15, logarithmic around the middle of the range; and their expected R/S."""
    span = math.log(n) / 4
    start = 0.375 * math.log(n)
    sizes = np.unique(np.round(np.exp(start + np.arange(15) / 15 * span)).astype(np.int64))
    return sizes, np.array([expected_rs(s) for s in sizes])


def dfa_sizes(n):
    """Box lengths from 6 to a quarter of the window, a fifth apart."""
    count = 1 + int(math.log(n / 4 / 6) / math.log(1.2))
    return np.unique(np.round(6 * 1.2 ** np.arange(count)).astype(np.int64))


@njit(cache=True)
def dfa(x, sizes):
    """Scaling exponent of detrended fluctuation (linear) of increments x: H for fractional Gaussian noise."""
    n = len(x)
    profile = np.cumsum(x - np.mean(x))
    logs, values = np.empty(len(sizes)), np.empty(len(sizes))
    for k in range(len(sizes)):
        s = sizes[k]
        tt = s * (s * s - 1) / 12.0
        total = 0.0
        for p in range(n // s):
            mean = 0.0
            for i in range(s):
                mean += profile[p * s + i]
            mean /= s
            ty = yy = 0.0
            for i in range(s):
                d = profile[p * s + i] - mean
                ty += (i - (s - 1) / 2.0) * d
                yy += d * d
            total += yy - ty * ty / tt
        mean_square = total / (n // s * s)
        logs[k] = math.log(s)
        values[k] = 0.5 * math.log(mean_square) if mean_square > 0 else np.nan
    return slope(logs, values)


@njit(cache=True)
def higuchi(level, most):
    """Fractal dimension of the graph of `level`, 1 (smooth) to 2 (noise)."""
    n = len(level)
    logs, values = np.empty(most), np.empty(most)
    for k in range(1, most + 1):
        total = 0.0
        for m in range(k):
            steps = (n - 1 - m) // k
            length = 0.0
            for i in range(1, steps + 1):
                length += abs(level[m + i * k] - level[m + (i - 1) * k])
            total += length * (n - 1) / (steps * k * k)
        logs[k - 1] = math.log(1.0 / k)
        values[k - 1] = math.log(total / k) if total > 0 else np.nan
    return slope(logs, values)


@njit(cache=True)
def katz(level):
    """Katz's dimension of the path of `level` with unit time steps left out of its length."""
    n = len(level)
    length = reach = 0.0
    for i in range(1, n):
        length += abs(level[i] - level[i - 1])
        reach = max(reach, abs(level[i] - level[0]))
    if length <= 0 or reach <= 0:
        return np.nan
    steps = math.log10(length / (length / (n - 1)))
    return steps / (math.log10(reach / length) + steps)


@njit(cache=True)
def permutation_entropy(x):
    """Entropy of the order patterns of three, 0 (one pattern) to 1 (all six alike); a tie counts as rising."""
    counts = np.zeros(8)
    for i in range(len(x) - 2):
        a, b, c = x[i], x[i + 1], x[i + 2]
        counts[(4 if a > b else 0) + (2 if b > c else 0) + (1 if a > c else 0)] += 1
    total = 0.0
    for count in counts:
        if count > 0:
            p = count / (len(x) - 2)
            total -= p * math.log(p)
    return total / math.log(6.0)


@njit(cache=True)
def _distances(left, right, lag, size, tolerance, gap, squares):
    """Fills the gaps |x[i] - x[i + lag]| and the squared distances of delay vectors; the pairs that match for two values."""
    shift = np.uint64(lag)
    for s in range(size + BLOCK):
        i = np.uint64(s)
        gap[i] = abs(left[i] - right[i + shift])
    matches = 0
    for p in range(size):
        a, b, c = gap[p], gap[p + 1], gap[p + 2]
        squares[p] = a * a + b * b + c * c
        matches += (a if a > b else b) <= tolerance
    return matches


@njit(cache=True)
def _at_most(values, size, limit, found):
    """How many of the first `size` values are at most `limit`; `found` gets their places, without a branch."""
    count = np.uint64(0)
    for i in range(size):
        found[count] = i
        count += np.uint64(values[i] <= limit)
    return np.int64(count)


@njit(cache=True)
def _follow(squares, size, distance, nearest, offset, partner):
    """Takes the i-th square as the distance of vector i + offset from vector i + partner, where that is its nearest so far."""
    shift = np.uint64(offset)
    for s in range(size):
        i = np.uint64(s)
        j = i + shift
        better = squares[i] < distance[j]
        distance[j] = squares[i] if better else distance[j]
        nearest[j] = s + partner if better else nearest[j]


@njit(cache=True)
def _cells(squared):
    """The first radius that may hold a value of each of `CELLS` from 0 to the largest squared radius, and cells a unit."""
    scale = CELLS / squared[-1]
    first = np.empty(CELLS + 2, dtype=np.int64)
    r = 0
    for cell in range(len(first)):
        while r < len(squared) - 1 and int(squared[r] * scale) < cell:
            r += 1
        first[cell] = r
    return first, scale


@njit(cache=True)
def pairs(x, radii, tolerance, recurrence, theiler, trajectory):  # noqa: C901 - one pass is the point
    """The pass over all pairs of delay vectors (three values, lag one) of standardised x.

    Returns the pairs within each (ascending) radius (Euclidean), the pairs matching for two and three values (maximum norm,
    `tolerance`), the nearest neighbour of each vector that can be followed, and the diagonal and vertical recurrence lines by
    length from 1. Each diagonal is computed in whole vector registers, past its end against infinity; only its pairs that are
    near enough to count for anything, about an eighth in noise, are looked at one by one.
    """
    vectors = len(x) - 2
    followed = max(vectors - trajectory, 0)
    squared = radii * radii
    first, scale = _cells(squared)
    reach = max(squared[-1], 3.0000001 * max(tolerance, recurrence) ** 2)
    within = np.zeros(len(radii), dtype=np.int64)
    two = three = 0
    nearest, distance = np.full(vectors + BLOCK, -1), np.full(vectors + BLOCK, np.inf)
    diagonal, vertical = np.zeros(vectors + 1, dtype=np.int64), np.zeros(vectors + 1, dtype=np.int64)
    column, last = np.zeros(vectors, dtype=np.int64), np.full(vectors, -1)
    left, right = np.zeros(len(x) + 2 * BLOCK), np.full(len(x) + 2 * BLOCK, np.inf)
    left[: len(x)], right[: len(x)] = x, x
    gap, squares, found = np.empty(len(left)), np.empty(len(left)), np.empty(vectors, dtype=np.int64)
    for k in range(1, vectors):
        size = vectors - k
        padded = (size + BLOCK - 1) // BLOCK * BLOCK
        two += _distances(left, right, k, padded, tolerance, gap, squares)
        if padded > size:  # the pair past the last has two values and no third
            two -= max(gap[size], gap[size + 1]) <= tolerance
        run, previous = 0, -2
        for h in range(_at_most(squares, size, reach, found)):
            i = found[h]
            d2 = squares[i]
            if d2 <= squared[-1]:
                r = first[int(d2 * scale)]
                while d2 > squared[r]:
                    r += 1
                within[r] += 1
            if d2 == 0:  # the same point is no neighbour to follow
                squares[i] = np.inf
            a, b, c = gap[i], gap[i + 1], gap[i + 2]
            three += (a <= tolerance) & (b <= tolerance) & (c <= tolerance)
            if (a <= recurrence) & (b <= recurrence) & (c <= recurrence):
                if i != previous + 1:
                    diagonal[run] += 1
                    run = 0
                run += 1
                previous = i
                j = i + k
                if last[j] != k - 1:
                    vertical[column[j]] += 1
                    column[j] = 0
                column[j] += 1
                last[j] = k
        diagonal[run] += 1
        if theiler < k < followed:
            size = followed - k
            padded = (size + BLOCK - 1) // BLOCK * BLOCK
            squares[size:padded] = np.inf
            _follow(squares, padded, distance, nearest, k, 0)
            _follow(squares, padded, distance, nearest, 0, k)
    for j in range(vectors):
        vertical[column[j]] += 1
    return np.cumsum(within), two, three, nearest[:followed], diagonal, vertical


@njit(cache=True)
def divergence(x, nearest, trajectory):
    """Rosenstein's largest Lyapunov exponent per step: slope of the mean log distance of neighbours."""
    steps, values = np.empty(trajectory), np.empty(trajectory)
    for k in range(trajectory):
        total, count = 0.0, 0
        for i in range(len(nearest)):
            if nearest[i] >= 0:
                p, q = i + k, nearest[i] + k
                d2 = (x[p] - x[q]) ** 2 + (x[p + 1] - x[q + 1]) ** 2 + (x[p + 2] - x[q + 2]) ** 2
                if d2 > 0:
                    total += 0.5 * math.log(d2)
                    count += 1
        steps[k] = k
        values[k] = total / count if count else np.nan
    return slope(steps, values)


@njit(cache=True)
def lines(counts):
    """Of lines by length: share of points in lines of two and more, their mean length, the entropy of their lengths."""
    points = in_lines = number = 0
    for length in range(1, len(counts)):
        points += length * counts[length]
        if length > 1:
            in_lines += length * counts[length]
            number += counts[length]
    if points == 0:
        return np.nan, np.nan, np.nan
    entropy = 0.0
    for length in range(2, len(counts)):
        if counts[length] > 0:
            p = counts[length] / number
            entropy -= p * math.log(p)
    return in_lines / points, in_lines / number if number else 0.0, entropy


@njit(cache=True)
def measures(x, sizes, expected, boxes, radii):
    """All `MEASURES` of a window of increments x `[n]`; NaN throughout where it does not move."""
    out = np.full(14, np.nan)
    sd = np.std(x) * math.sqrt(len(x) / (len(x) - 1.0))
    if not sd > 0:
        return out
    z = (x - np.mean(x)) / sd
    level = np.cumsum(x)
    out[0], out[1] = unbiased(hurst(z, sizes, expected)), dfa(z, boxes)
    out[2], out[3] = higuchi(level, HIGUCHI_K), katz(level)
    out[4] = permutation_entropy(x)
    within, two, three, nearest, diagonal, vertical = pairs(z, radii, TOLERANCE, RECURRENCE, THEILER, TRAJECTORY)
    logs = np.empty(len(radii))
    for r in range(len(radii)):
        logs[r] = math.log(within[r]) if within[r] > 0 else np.nan
    out[5] = slope(np.log(radii), logs)
    out[6] = -math.log(three / two) if three > 0 else np.nan
    out[7] = divergence(z, nearest, TRAJECTORY)
    vectors = len(z) - 2
    recurrent = 0
    for length in range(1, len(diagonal)):
        recurrent += length * diagonal[length]
    out[8] = recurrent / (vectors * (vectors - 1) / 2)
    out[9], out[11], out[12] = lines(diagonal)
    out[10], out[13], _ = lines(vertical)
    return out


@njit(cache=True, parallel=True)
def _rolling(x, ends, window, sizes, expected, boxes, radii):
    out = np.empty((len(ends), 14))
    for w in prange(len(ends)):
        out[w] = measures(x[ends[w] - window : ends[w]], sizes, expected, boxes, radii)
    return out


def rolling(x: np.ndarray, ends: np.ndarray, window: int) -> np.ndarray:
    """`MEASURES` `[len(ends), 14]` of the windows `x[end - window : end]` of increments x `[n]`, which must be finite."""
    sizes, expected = hurst_sizes(window)
    return _rolling(
        np.ascontiguousarray(x, np.float64), ends.astype(np.int64), window, sizes, expected, dfa_sizes(window), RADII
    )


def spectral_entropy(x: np.ndarray, ends: np.ndarray, window: int, piece: int = 4096) -> np.ndarray:
    """Shannon entropy of the periodogram of each window without its mean, 0 (one frequency) to 1 (white)."""
    if not len(ends):
        return np.empty(0)
    views = np.lib.stride_tricks.sliding_window_view(x, window)
    out = []
    for first in range(0, len(ends), piece):
        block = views[ends[first : first + piece] - window]
        power = np.abs(np.fft.rfft(block - block.mean(axis=1, keepdims=True), axis=1)[:, 1:]) ** 2
        total = power.sum(axis=1, keepdims=True)
        p = np.divide(power, total, out=np.full_like(power, np.nan), where=total > 0)
        out.append(-np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1) / math.log(power.shape[1]))
    return np.concatenate(out)
