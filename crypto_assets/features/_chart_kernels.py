"""Loops over bars, compiled. Imports numba: load inside functions. Arrays are `[bars]` of one coin, without gaps or NaN."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


def restarts(hour: np.ndarray, period: int, before: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars where the periods of a path begin, and for each the first bar that is at most `before` hours before its period.

    `hour` counts the hours of the bars from a fixed moment, so neither depends on where the bars begin.
    """
    number = hour // period
    begins = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
    return begins, np.searchsorted(hour, number[begins] * period - before)


@njit(cache=True)
def supertrend(high, low, close, atr, multiple, begins, starts):
    """Supertrend (Seban): the band the price has not crossed, and its side (1 up, -1 down); NaN while `atr` is.

    The bars from begins[k] to begins[k + 1] are those of a path from starts[k]. So are those of `parabolic`.
    """
    n = len(close)
    line, side = np.full(n, np.nan), np.full(n, np.nan)
    for k in range(len(begins)):
        end = begins[k + 1] if k + 1 < len(begins) else n
        upper = lower = 0.0
        up, is_started = True, False
        for i in range(starts[k], end):
            if not np.isfinite(atr[i]):
                continue
            middle = (high[i] + low[i]) / 2
            above, below = middle + multiple * atr[i], middle - multiple * atr[i]
            if not is_started:
                upper, lower, up, is_started = above, below, True, True
            else:
                upper = above if above < upper or close[i - 1] > upper else upper
                lower = below if below > lower or close[i - 1] < lower else lower
                up = close[i] >= lower if up else close[i] > upper
            if i >= begins[k]:
                line[i] = lower if up else upper
                side[i] = 1.0 if up else -1.0
    return line, side


@njit(cache=True)
def parabolic(high, low, step, most, begins, starts):
    """Wilder's Parabolic SAR, as TA-Lib's from each start: long unless the second low falls by more than the high rises."""
    out = np.full(len(high), np.nan)
    for k in range(len(begins)):
        end = begins[k + 1] if k + 1 < len(begins) else len(high)
        first = starts[k]
        if first + 1 >= end:
            continue
        fall, rise = low[first] - low[first + 1], high[first + 1] - high[first]
        is_long = not (fall > 0 and fall > rise)
        extreme = high[first + 1] if is_long else low[first + 1]
        sar, pace = low[first] if is_long else high[first], step
        for i in range(first + 1, end):
            last = max(i - 1, first + 1)  # TA-Lib takes the second bar for the one before it, too
            turned = low[i] <= sar if is_long else high[i] >= sar
            if turned:
                sar, pace = extreme, step
                is_long = not is_long
                extreme = high[i] if is_long else low[i]
                sar = min(sar, low[last], low[i]) if is_long else max(sar, high[last], high[i])
            if i >= begins[k]:
                out[i] = sar
            if not turned and (high[i] > extreme if is_long else low[i] < extreme):
                extreme = high[i] if is_long else low[i]
                pace = min(pace + step, most)
            sar += pace * (extreme - sar)
            sar = min(sar, low[last], low[i]) if is_long else max(sar, high[last], high[i])
    return out


@njit(cache=True)
def volume_profile(high, low, close, volume, window, bins):
    """Of the last `window` bars, each bar's volume spread evenly over its range on `bins` equal prices.

    Returns the middle of the fullest bin, the share of volume in bins above the close (the close's own bin in part), and the
    entropy of the bins as a share of its maximum; NaN before a whole window, where the price did not move or nothing traded.

    While the range of prices stays the bins do: the bar that comes is added to its own, and those of the bar that goes are
    summed anew. Each sum is then of the window's bars in their order, and the same bits wherever the bars began.
    """
    n = len(close)
    control, above, entropy = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    held, shares, terms, changed = np.zeros(bins), 1 / np.arange(1.0, bins + 1), np.zeros(bins), np.ones(bins, np.bool_)
    parts, begin, stop = np.empty((bins, n)), np.zeros(bins, np.int64), np.zeros(bins, np.int64)
    bottom = top = np.nan
    for end in range(window, n + 1):
        first = end - window
        was_bottom, was_top = bottom, top
        bottom, top = _extremes(low, high, first, end, bottom, top)
        if not top > bottom:
            continue
        size = (top - bottom) / bins
        start = end - 1
        if bottom == was_bottom and top == was_top:
            a, b = _bins_of(low[first - 1], high[first - 1], bottom, 1 / size, bins)
            for k in range(a, b + 1):
                begin[k] += 1
                held[k], changed[k] = 0.0, True
                for j in range(begin[k], stop[k]):
                    held[k] += parts[k, j]
        else:
            start = first
            held[:], begin[:], stop[:], changed[:] = 0.0, 0, 0, True
        per_usd = 1 / size
        for i in range(start, end):
            a, b = _bins_of(low[i], high[i], bottom, per_usd, bins)
            each = volume[i] * shares[b - a]
            for k in range(a, b + 1):
                held[k] += each
                changed[k] = True
                parts[k, stop[k]] = each
                stop[k] += 1
        control[end - 1], above[end - 1], entropy[end - 1] = _shape(
            held, terms, changed, (close[end - 1] - bottom) / size, bottom, size
        )
    return control, above, entropy


@njit(cache=True)
def _extremes(low, high, first, end, bottom, top):
    """Lowest low and highest high of `first:end`; `bottom` and `top` are those of the window one bar before, NaN if none."""
    if first == 0 or low[first - 1] <= bottom or high[first - 1] >= top:
        return np.min(low[first:end]), np.max(high[first:end])
    return min(bottom, low[end - 1]), max(top, high[end - 1])


@njit(cache=True)
def _bins_of(low, high, bottom, bins_per_usd, bins):
    """First and last bin of a bar."""
    return min(int((low - bottom) * bins_per_usd), bins - 1), min(int((high - bottom) * bins_per_usd), bins - 1)


@njit(cache=True)
def _shape(held, terms, changed, place, bottom, size):
    """Middle of the fullest bin, share above `place` (in bins), entropy; NaN where nothing traded.

    `terms` keeps each bin's part of the entropy, which is taken anew where the bin has `changed`.
    """
    bins, total = len(held), held.sum()
    if not total > 0:
        return np.nan, np.nan, np.nan
    own = min(int(place), bins - 1)
    above = (held[own + 1 :].sum() + held[own] * min(1.0, own + 1 - place)) / total
    for k in range(bins):
        if changed[k]:
            terms[k] = held[k] * math.log(held[k]) if held[k] > 0 else 0.0
            changed[k] = False
    spread = math.log(total) - terms.sum() / total
    return bottom + (np.argmax(held) + 0.5) * size, above, spread / math.log(bins)
