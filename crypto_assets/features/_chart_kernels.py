"""Loops over bars, compiled. Imports numba: load inside functions. Arrays are `[bars]` of one coin, without gaps or NaN."""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True)
def average_true_range(high, low, close, period):
    """Wilder's average true range; NaN for the first `period` bars, as TA-Lib."""
    n = len(close)
    out = np.full(n, np.nan)
    if n <= period:
        return out
    total = 0.0
    for i in range(1, n):
        true_range = max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
        if i <= period:
            total += true_range
            if i == period:
                out[i] = total / period
        else:
            out[i] = (out[i - 1] * (period - 1) + true_range) / period
    return out


@njit(cache=True)
def supertrend(high, low, close, atr, multiple):
    """Supertrend (Seban): the band the price has not crossed, and its side (1 up, -1 down); NaN while `atr` is."""
    n = len(close)
    line, side = np.full(n, np.nan), np.full(n, np.nan)
    upper = lower = 0.0
    up, is_started = True, False
    for i in range(n):
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
        line[i] = lower if up else upper
        side[i] = 1.0 if up else -1.0
    return line, side


@njit(cache=True)
def volume_profile(high, low, close, volume, window, bins):
    """Of the last `window` bars, each bar's volume spread evenly over its range on `bins` equal prices.

    Returns the middle of the fullest bin, the share of volume in bins above the close (the close's own bin in part), and the
    entropy of the bins as a share of its maximum; NaN before a whole window, where the price did not move or nothing traded.
    """
    n = len(close)
    control, above, entropy = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    held, shares = np.zeros(bins), 1 / np.arange(1.0, bins + 1)
    for end in range(window, n + 1):
        first = end - window
        bottom, top = np.min(low[first:end]), np.max(high[first:end])
        if not top > bottom:
            continue
        size = (top - bottom) / bins
        bins_per_usd = 1 / size
        held[:] = 0
        for i in range(first, end):
            a = min(int((low[i] - bottom) * bins_per_usd), bins - 1)
            b = min(int((high[i] - bottom) * bins_per_usd), bins - 1)
            each = volume[i] * shares[b - a]
            for k in range(a, b + 1):
                held[k] += each
        total = held.sum()
        if not total > 0:
            continue
        place = (close[end - 1] - bottom) / size
        own = min(int(place), bins - 1)
        control[end - 1] = bottom + (np.argmax(held) + 0.5) * size
        above[end - 1] = (held[own + 1 :].sum() + held[own] * min(1.0, own + 1 - place)) / total
        spread = 0.0
        for k in range(bins):
            if held[k] > 0:
                spread -= held[k] / total * math.log(held[k] / total)
        entropy[end - 1] = spread / math.log(bins)
    return control, above, entropy
