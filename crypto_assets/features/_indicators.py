"""TA-Lib's indicators from windows by doubling, so that a bar's value does not depend on where the read began.

The recursive ones (exponential means, Wilder's) have TA-Lib's seed in the first bars of a series and forget it: an
exponential window ends where its weights are below 1e-12, which is after 1,024 bars for a mean of 72 and 512 for Wilder's mean
of 14. Until then the values are TA-Lib's, from then on they differ from it by less than 1e-12 of the price. Unlike TA-Lib,
nothing is compared with an absolute number of USD.

Arrays are contiguous float64 `[bars]` of one coin, without gaps or NaN; NaN where TA-Lib has no value yet. Imports numba: load
inside functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crypto_assets.features import _windows as windows

Array = np.ndarray


@dataclass(frozen=True)
class Bars:
    """The bars of one coin, and what several indicators are made of."""

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array

    def __len__(self) -> int:
        return len(self.close)

    @cached_property
    def typical(self) -> Array:
        """Mean of high, low and close."""
        return (self.high + self.low + self.close) / 3

    @cached_property
    def true_range(self) -> Array:
        """True range; NaN at the first bar."""
        out = np.full(len(self), np.nan)
        before = self.close[:-1]
        out[1:] = np.maximum(self.high[1:], before) - np.minimum(self.low[1:], before)
        return out

    @cached_property
    def atr(self) -> Array:
        """Average true range of 14 bars, NaN where it is nothing: the unit of every distance."""
        return positive(wilder(self.true_range, 14, 1))

    @cached_property
    def steps(self) -> Array:
        """Of the accumulation/distribution line: the bar's volume times the place of its close, -1 low to 1 high."""
        return ((self.close - self.low) - (self.high - self.close)) / inverse_safe(self.high - self.low) * self.volume


def positive(x: Array) -> Array:
    """x, NaN where it is not above 0."""
    return np.where(x > 0, x, np.nan)


def inverse_safe(x: Array) -> Array:
    """What to divide by: infinite where it is 0, so that the ratio is 0."""
    return np.where(x != 0, x, np.inf)


def recursive(x: Array, share: float, at: int, seed: float) -> Array:
    """The y with y[at] = `seed` and then y[t] = share x[t] + (1 - share) y[t - 1]."""
    out = np.full(len(x), np.nan)
    inputs = share * x[at:]
    inputs[0] = seed
    out[at:] = windows.decayed(inputs, 1 - share)
    length = 2 ** windows.doublings(1 - share)
    out[at + length :] *= 1 / (1 - (1 - share) ** length)
    return out


def exponential(x: Array, period: int, at: int | None = None) -> Array:
    """Exponential mean whose seed, at bar `at` (the first there can be), is the plain mean of `period` bars."""
    seed = period - 1 if at is None else at
    if seed >= len(x):
        return np.full(len(x), np.nan)
    return recursive(x, 2.0 / (period + 1), seed, x[seed - period + 1 : seed + 1].mean())


def wilder(x: Array, period: int, first: int) -> Array:
    """Wilder's mean of x from bar `first` on; the seed is the mean of its first `period` bars."""
    at = first + period - 1
    if at >= len(x):
        return np.full(len(x), np.nan)
    return recursive(x, 1.0 / period, at, x[first : at + 1].mean())


def share(part: Array, rest: Array) -> Array:
    """The share part / (part + rest), 0 of nothing, laid out from -1 to 1."""
    return 2 * part / inverse_safe(part + rest) - 1


def relative_strength(close: Array, *periods: int) -> list[Array]:
    """RSI of each period, -1 to 1."""
    moves = np.diff(close, prepend=close[:1])
    gains, losses = np.maximum(moves, 0.0), np.maximum(-moves, 0.0)
    return [share(wilder(gains, n, 1), wilder(losses, n, 1)) for n in periods]


def directional(bars: Bars, period: int) -> tuple[Array, Array]:
    """Average directional index, 0 to 1; plus less minus directional indicator, -1 to 1."""
    up, down = np.diff(bars.high, prepend=bars.high[:1]), -np.diff(bars.low, prepend=bars.low[:1])
    plus, minus = np.where((up > down) & (up > 0), up, 0.0), np.where((down > up) & (down > 0), down, 0.0)
    plus, minus, moved = (_wilder_sum(x, period) for x in (plus, minus, bars.true_range))
    strength = np.abs(plus - minus) / inverse_safe(plus + minus)
    return wilder(strength, period, period), (plus - minus) / inverse_safe(moved)


def _wilder_sum(x: Array, period: int) -> Array:
    """Wilder's sum: of the first `period` - 1 changes, then a `period`th of it less and the new one more."""
    out = np.full(len(x), np.nan)
    if period < len(x):
        inputs = x[period - 1 :].copy()
        inputs[0] = x[1:period].sum()
        out[period:] = windows.decayed(inputs, 1 - 1.0 / period)[1:]
    return out


def convergence(close: Array, fast: int, slow: int, signal: int) -> Array:
    """MACD's histogram: the difference of two exponential means less its own."""
    line = exponential(close, fast, slow - 1) - exponential(close, slow)
    return line - exponential(line, signal, slow + signal - 2)


def channel_index(typical: Array, period: int) -> Array:
    """Commodity channel index; 0 where nothing moved."""
    middle = windows.mean(typical, period, period)
    spread = np.zeros(len(typical))
    for k in range(min(period, len(typical))):
        spread[k:] += np.abs(typical[: len(typical) - k] - middle[k:])
    return (typical - middle) / inverse_safe(0.015 * spread / period)


def stochastic(bars: Bars, period: int, slow: int) -> tuple[Array, Array]:
    """Slow stochastic %K and %D, -1 to 1."""
    bottom, top = windows.lowest(bars.low, period, period), windows.highest(bars.high, period, period)
    k = windows.mean(share(bars.close - bottom, top - bars.close), slow, slow)
    d = windows.mean(k, slow, slow)
    k[: period + 2 * (slow - 1) - 1] = np.nan
    return k, d


def williams(bars: Bars, period: int) -> Array:
    """Williams %R, -1 (the close is the lowest) to 1."""
    bottom, top = windows.lowest(bars.low, period, period), windows.highest(bars.high, period, period)
    return -share(top - bars.close, bars.close - bottom)


def money_flow(bars: Bars, period: int) -> Array:
    """Money flow index, -1 to 1."""
    moves = np.diff(bars.typical, prepend=np.nan)
    flow = bars.typical * bars.volume
    up, down = np.where(moves > 0, flow, 0.0), np.where(moves < 0, flow, 0.0)
    up[:1] = down[:1] = np.nan
    return share(windows.total(up, period, period), windows.total(down, period, period))


def chaikin_flow(bars: Bars, period: int) -> Array:
    """Chaikin money flow: accumulation over volume."""
    return windows.total(bars.steps, period, period) / positive(windows.total(bars.volume, period, period))


def chaikin_oscillator(bars: Bars, fast: int, slow: int) -> Array:
    """Fast less slow exponential mean of the accumulation line, both begun at its first value (TA-Lib's ADOSC).

    The line less its mean of decay d is the sum of its steps by that decay, times d: the level of the line drops out.
    """
    steps = bars.steps.copy()
    steps[:1] = 0.0
    a, b = 1 - 2.0 / (fast + 1), 1 - 2.0 / (slow + 1)
    out = b * windows.decayed(steps, b) - a * windows.decayed(steps, a)
    out[: slow - 1] = np.nan
    return out


def bollinger(close: Array, period: int) -> tuple[Array, Array]:
    """Mean and population standard deviation of the last closes; the latter NaN where nothing moved."""
    count, middle, squares = windows.moments(close, period)
    middle = np.where(count >= period, middle, np.nan)
    spread = np.sqrt(squares / period)
    return middle, np.where(4 * spread > 1e-9 * middle, spread, np.nan)


def aroon(bars: Bars, period: int) -> Array:
    """Aroon oscillator, -1 to 1: how much newer the highest high of `period` + 1 bars is than the lowest low."""
    return (_newest(-bars.low, period + 1) - _newest(bars.high, period + 1)) / period


def _newest(x: Array, length: int) -> Array:
    """How many bars ago the largest of the last `length` values was; of equal ones the last."""
    return windows.age(x, windows.highest(x, length, length))
