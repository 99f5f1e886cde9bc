"""Technical analysis of each coin by itself, at each hourly close. Stationary forms only: nothing that carries the price level.

Returns, volatilities and volumes are taken on the complete hourly grid: a value whose window ends in a missing bar is null, a
rolling window must hold at least 80 % of its bars. TA-Lib's indicators run over the bars there are, as on any chart. All come
out the same to the last bit wherever the read began (`_windows`, `_indicators`): the longest memory is that of the mean of 72
bars, 1,095 bars, and the lookback leaves room for a quarter of the hours to be missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.features._bars import closed
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._one_coin import EWMA_DECAY, EWMA_LEAST, HOUR_US, TINY, before, by_coin, complete, least, numbers

Array = np.ndarray
LAGS = range(24)
SPANS = (2, 3, 4, 6, 8, 12, 24, 48, 72, 168)
"""Hours of the cumulative returns."""
SCALE_HOURS = 168
CHANNELS = (24, 168)
"""Hours of the Donchian channels."""
MAX_LOOKBACK = timedelta(days=64)
THURSDAY = 72
"""Hours into the week of 1970-01-01 00:00 UTC."""


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


@dataclass(frozen=True)
class Grid:
    """One coin's candles on its complete hourly grid, NaN where a bar is missing, and what several columns are made of."""

    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    taker_buy_volume: Array

    def move(self, hours: int) -> Array:
        """ln(close / close `hours` before)."""
        return np.log(self.close / before(self.close, hours))

    @cached_property
    def r(self) -> Array:
        """Log return of the hour."""
        return self.move(1)

    @cached_property
    def r2(self) -> Array:
        """Squared log return."""
        return self.r**2

    @cached_property
    def sd(self) -> Array:
        """Trailing standard deviation of returns around 0."""
        return np.sqrt(rolling(self.r2, SCALE_HOURS) + TINY)

    @cached_property
    def ewma(self) -> Array:
        """Exponentially weighted variance of hourly returns (RiskMetrics 1996, lambda 0.94)."""
        from crypto_assets.features import _windows as windows

        return windows.decayed_mean(self.r2, EWMA_DECAY, EWMA_LEAST) + TINY

    @cached_property
    def surprise(self) -> Array:
        """Return over the volatility expected of it at the bar before."""
        return self.r / np.sqrt(before(self.ewma, 1))

    @cached_property
    def rv_24(self) -> Array:
        """Mean squared return of 24 h."""
        return rolling(self.r2, 24)

    @cached_property
    def parkinson(self) -> Array:
        """Parkinson's range variance of the bar."""
        return np.log(self.high / self.low) ** 2 / (4 * math.log(2))

    @cached_property
    def log_volume(self) -> Array:
        """Logarithm of the volume; NaN where nothing traded."""
        return np.log(np.where(self.volume > 0, self.volume, np.nan))

    @cached_property
    def volume_z_168(self) -> Array:
        """Log volume against its last 168 h."""
        return z_score(self.log_volume, 168)

    @cached_property
    def traded_24(self) -> Array:
        """Mean volume of 24 h; NaN where nothing traded."""
        traded = rolling(self.volume, 24)
        return np.where(traded > 0, traded, np.nan)

    @cached_property
    def net_taker(self) -> Array:
        """Volume bought less volume sold by takers."""
        return 2 * self.taker_buy_volume - self.volume

    @cached_property
    def illiquidity(self) -> Array:
        """Absolute return a billion USD traded."""
        value = self.close * self.volume
        return np.abs(self.r) / np.where(value > 0, value, np.nan) * 1e9

    @cached_property
    def spread(self) -> Array:
        """High less low; NaN where they are one."""
        return np.where(self.high > self.low, self.high - self.low, np.nan)


Make = Callable[[Grid], Array]


def _with(value: Any, make: Callable[[Grid, Any], Array]) -> Make:
    """What `make` makes of a grid with this value."""
    return lambda g: make(g, value)


def rolling(x: Array, hours: int, kind: str = "mean") -> Array:
    """Rolling mean or deviation over `hours` of a complete grid, 80 % known."""
    from crypto_assets.features import _windows as windows

    return getattr(windows, kind)(x, hours, least(hours))


def z_score(x: Array, hours: int) -> Array:
    """Distance from the rolling mean in rolling standard deviations; NaN where nothing moved."""
    spread = rolling(x, hours, "deviation")
    return (x - rolling(x, hours)) / np.where(spread > 1e-9, spread, np.nan)


def _returns() -> dict[str, tuple[Column, Make]]:
    out: dict[str, tuple[Column, Make]] = {}
    for k in LAGS:
        meaning = f"log return of the bar that closed {k} h ago, in units of its trailing standard deviation ({SCALE_HOURS} h)"
        column = Column(meaning, "sd", _hours(SCALE_HOURS + 1))
        out[f"return_lag_{k}h"] = (column, _with(k, lambda g, k: before(g.r, k) / g.sd))
    for k in range(3):
        meaning = f"log return of the bar that closed {k} h ago over the volatility expected of it (RiskMetrics)"
        out[f"surprise_lag_{k}h"] = (Column(meaning, "sd", _hours(300 + k)), _with(k, lambda g, k: before(g.surprise, k)))
    for h in SPANS:
        column = Column(f"log return over {h} h, in units of its standard deviation", "sd", _hours(SCALE_HOURS + h))
        out[f"return_{h}h"] = (column, _with(h, lambda g, h: g.move(h) / (g.sd * math.sqrt(h))))
    return out


def _volatility() -> dict[str, tuple[Column, Make]]:
    out: dict[str, tuple[Column, Make]] = {}
    means: dict[int, Make] = {1: lambda g: g.r2, 24: lambda g: g.rv_24}
    for h in (1, 24, 168, 672):
        mean = means.get(h, _with(h, lambda g, h: rolling(g.r2, h)))
        column = Column(f"log of the mean squared hourly return over {h} h", "log variance", _hours(h + 1))
        out[f"log_rv_{h}h"] = (column, _with(mean, lambda g, mean: np.log(mean(g) + TINY)))
    for h in (1, 24, 168):
        column = Column(f"log of Parkinson's (1980) range variance over {h} h", "log variance", _hours(h))
        own = _with(h, lambda g, h: g.parkinson if h == 1 else rolling(g.parkinson, h))
        out[f"log_range_var_{h}h"] = (column, _with(own, lambda g, own: np.log(own(g) + TINY)))
    expected = Column("log of the hourly variance expected of the bar that opens (RiskMetrics)", "log variance", _hours(300))
    out["log_ewma_var"] = (expected, lambda g: np.log(g.ewma))
    out["downside_share_24h"] = (
        Column("share of the realised variance of 24 h that came from falls", "fraction", _hours(25)),
        lambda g: rolling(np.where(g.r < 0, g.r2, g.r2 * 0), 24) / (g.rv_24 + TINY),
    )
    out["efficiency_24h"] = (
        Column("net move over 24 h as a share of the path walked (Kaufman)", "fraction, signed", _hours(25)),
        lambda g: rolling(g.r, 24) / (rolling(np.abs(g.r), 24) + TINY),
    )
    return out


def _volume() -> dict[str, tuple[Column, Make]]:
    return {
        "volume_z_24h": (Column("log volume against its last 24 h", "sd", _hours(24)), lambda g: z_score(g.log_volume, 24)),
        "volume_z_168h": (Column("log volume against its last 168 h", "sd", _hours(168)), lambda g: g.volume_z_168),
        "volume_shock_return": (
            Column("volume_z_168h times return_lag_0h: a move on heavy volume", "sd²", _hours(169)),
            lambda g: g.volume_z_168 * g.r / g.sd,
        ),
        "obv_24h": (
            Column("change of on-balance volume over 24 h as a share of the volume", "fraction, signed", _hours(25)),
            lambda g: rolling(np.sign(g.r) * g.volume, 24) / g.traded_24,
        ),
        "taker_imbalance_1h": (
            Column("taker buys less taker sells, share of volume", "fraction, signed", _hours(1)),
            lambda g: g.net_taker / np.where(g.volume > 0, g.volume, np.nan),
        ),
        "taker_imbalance_24h": (
            Column("taker buys less taker sells over 24 h, share of volume", "fraction, signed", _hours(24)),
            lambda g: rolling(g.net_taker, 24) / g.traded_24,
        ),
        "illiquidity_change": (
            Column("log of Amihud's (2002) illiquidity over 24 h against 168 h", "log ratio", _hours(169)),
            lambda g: np.log(rolling(g.illiquidity, 24) / rolling(g.illiquidity, 168)),
        ),
    }


def _shape() -> dict[str, tuple[Column, Make]]:
    out: dict[str, tuple[Column, Make]] = {
        "body": (
            Column("close less open, share of the bar's range", "fraction, signed", _hours(1)),
            lambda g: (g.close - g.open) / g.spread,
        ),
        "upper_wick": (
            Column("high less body, share of the range", "fraction", _hours(1)),
            lambda g: (g.high - np.maximum(g.open, g.close)) / g.spread,
        ),
        "lower_wick": (
            Column("body less low, share of the range", "fraction", _hours(1)),
            lambda g: (np.minimum(g.open, g.close) - g.low) / g.spread,
        ),
    }
    for hours in CHANNELS:
        column = Column(
            f"place of the close in the {hours} h Donchian channel, -1 bottom to 1 top", "fraction, signed", _hours(hours)
        )
        out[f"donchian_{hours}h"] = (column, _with(hours, _place))
    return out


def _place(g: Grid, hours: int) -> Array:
    top, bottom = rolling(g.high, hours, "highest"), rolling(g.low, hours, "lowest")
    return 2 * (g.close - bottom) / np.where(top > bottom, top - bottom, np.nan) - 1


_CLOCK = {
    f"{name}_{kind}": Column(f"{word} of the {meaning}, UTC", "", _hours(0))
    for name, meaning in (("hour", "hour of day"), ("half_day", "hour of the half day"), ("weekday", "time of week"))
    for kind, word in (("sin", "sine"), ("cos", "cosine"))
}
_INDICATORS: dict[str, Column] = {
    "rsi_6": Column("relative strength index, 6 bars, -1 to 1", "", _hours(6 * 25)),
    "rsi_14": Column("relative strength index, 14 bars, -1 to 1", "", _hours(14 * 25)),
    "rsi_28": Column("relative strength index, 28 bars, -1 to 1", "", _hours(28 * 25)),
    "macd_hist": Column("MACD(12, 26, 9) histogram in average true ranges", "ATR", _hours(26 * 10)),
    "adx_14": Column("average directional index, 14 bars, 0 to 1", "", _hours(14 * 40)),
    "di_14": Column("plus less minus directional indicator, 14 bars, -1 to 1", "", _hours(14 * 25)),
    "cci_20": Column("commodity channel index, 20 bars, hundreds", "", _hours(20)),
    "stoch_k_14": Column("slow stochastic %K(14, 3), -1 to 1", "", _hours(16)),
    "stoch_d_14": Column("slow stochastic %D(14, 3, 3), -1 to 1", "", _hours(18)),
    "williams_r_14": Column("Williams %R, 14 bars, -1 to 1", "", _hours(14)),
    "bollinger_b_20": Column("place in the Bollinger bands (20, 2), -1 lower to 1 upper", "", _hours(20)),
    "bollinger_width_20": Column("log width of the Bollinger bands over the middle", "log", _hours(20)),
    "atr_14": Column("log of the average true range over the close, 14 bars", "log", _hours(14 * 25)),
    "ema_12": Column("close less its 12-bar exponential mean", "ATR", _hours(12 * 25)),
    "ema_24": Column("close less its 24-bar exponential mean", "ATR", _hours(24 * 15)),
    "ema_72": Column("close less its 72-bar exponential mean", "ATR", _hours(72 * 10)),
    "sma_168": Column("close less its 168-bar mean", "ATR", _hours(14 * 25)),
    "mfi_14": Column("money flow index, 14 bars, -1 to 1", "", _hours(14)),
    "cmf_20": Column("Chaikin money flow, 20 bars", "", _hours(20)),
    "aroon_25": Column("Aroon oscillator, 25 bars, -1 to 1", "", _hours(25)),
}


def _indicators(rows: dict[str, Array]) -> dict[str, Array]:
    """TA-Lib's indicators over the bars there are of one coin, rescaled."""
    from crypto_assets.features import _indicators as ta
    from crypto_assets.features import _windows as windows

    bars = ta.Bars(*(rows[c] for c in ("open", "high", "low", "close", "volume")))
    close, atr = bars.close, bars.atr
    adx, di = ta.directional(bars, 14)
    k, d = ta.stochastic(bars, 14, 3)
    middle, spread = ta.bollinger(close, 20)
    return {
        **{f"rsi_{n}": rsi for n, rsi in zip((6, 14, 28), ta.relative_strength(close, 6, 14, 28), strict=True)},
        "macd_hist": ta.convergence(close, 12, 26, 9) / atr,
        "adx_14": adx,
        "di_14": di,
        "cci_20": ta.channel_index(bars.typical, 20) / 100,
        "stoch_k_14": k,
        "stoch_d_14": d,
        "williams_r_14": ta.williams(bars, 14),
        "bollinger_b_20": (close - middle) / (2 * spread),
        "bollinger_width_20": np.log(4 * spread / middle),
        "atr_14": np.log(atr / close),
        **{f"ema_{n}": (close - ta.exponential(close, n)) / atr for n in (12, 24, 72)},
        "sma_168": (close - windows.mean(close, 168, 168)) / atr,
        "mfi_14": ta.money_flow(bars, 14),
        "cmf_20": ta.chaikin_flow(bars, 20),
        "aroon_25": ta.aroon(bars, 25),
    }


@cache
def _clock() -> dict[str, Array]:
    """Sine and cosine of each phase at the 168 hours of a week that begins on Monday."""
    week = np.arange(168)
    phases = {"hour": week % 24 / 24, "half_day": week % 24 / 12, "weekday": week / 168}
    return {
        f"{name}_{kind}": getattr(np, kind)(2 * math.pi * phase) for name, phase in phases.items() for kind in ("sin", "cos")
    }


@cache
def _gridded() -> dict[str, tuple[Column, Make]]:
    return {**_returns(), **_volatility(), **_volume(), **_shape()}


COLUMNS: dict[str, Column] = {**{name: column for name, (column, _) in _gridded().items()}, **_CLOCK, **_INDICATORS}


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    return by_coin(closed(candles, "taker_buy_volume"), _of_coin, COLUMNS)


def _of_coin(rows: pl.DataFrame) -> dict[str, Array]:
    hourly = complete(rows)
    grid = Grid(**numbers(hourly, "open", "high", "low", "close", "volume", "taker_buy_volume"))
    is_bar: Any = slice(None) if hourly.height == rows.height else hourly["is_bar"].to_numpy()
    hour = (rows["ts"].to_physical().to_numpy() // HOUR_US + THURSDAY) % 168
    with np.errstate(divide="ignore", invalid="ignore"):
        made = {name: make(grid)[is_bar] for name, (_, make) in _gridded().items()}
        charted = _indicators(numbers(rows, "open", "high", "low", "close", "volume"))
    return {**made, **{name: values[hour] for name, values in _clock().items()}, **charted}


FAMILY = FeatureFamily("technical", {"candles": "curated/candles"}, MAX_LOOKBACK, COLUMNS, compute, by_coin=("candles",))
