"""Charting classics beyond `technical`: Parabolic SAR, Ichimoku, Supertrend, Keltner, VWAP, volume profile, accumulation.

Distances are in average true ranges (Wilder, 14 bars), so no column carries the price level. Indicators run over the bars there
are; seasonality and fractional differences over the complete hourly grid. Ichimoku is as known at the bar: the cloud drawn over
it was computed 26 bars before, and the lagging span, which is the close drawn 26 bars back, appears as the close against that
bar. SAR and Supertrend are path dependent: two starts agree for good once both have turned on the same bar, which may take any
time. So theirs are fixed: the bars of a week are walked from 25 days before it began, whatever else was read.
"""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.features._bars import closed
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._one_coin import HOUR_US, TINY, before, by_coin, complete, least, numbers

PROFILE_BARS = 168
PROFILE_BINS = 24
SEASON_DAYS = 28
DIFFERENCE_ORDER = 0.4
"""Order of fractional differencing: the least that makes log prices stationary in the literature's examples is 0.3 to 0.5."""
DIFFERENCE_HOURS = 400
"""Where its weights are cut off; the last one is 1e-4 of the first."""
RESTART_HOURS = 168
"""SAR and Supertrend are begun anew each week, counted from 1970-01-01 00:00 UTC,"""
PATH_HOURS = 25 * 24
"""so long before the week, at least."""
LOOKBACK = timedelta(days=64)
"""A week, a path before it, 512 bars of Wilder's mean before that, and a sixth of the hours missing."""
Array = np.ndarray


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


COLUMNS: dict[str, Column] = {
    "parabolic_sar": Column("close less Parabolic SAR (0.02, 0.2)", "ATR", _hours(200)),
    "supertrend": Column("close less Supertrend (10, 3)", "ATR", _hours(400)),
    "supertrend_side": Column("1 where Supertrend is up, -1 down", "", _hours(400)),
    "ichimoku_conversion": Column("conversion line (9) less base line (26)", "ATR", _hours(350)),
    "ichimoku_base": Column("close less base line (26)", "ATR", _hours(350)),
    "ichimoku_cloud": Column("close less the middle of the cloud over this bar", "ATR", _hours(350)),
    "ichimoku_thickness": Column("leading span A less B over this bar", "ATR", _hours(350)),
    "ichimoku_lagging": Column("close less the close 26 bars before", "ATR", _hours(350)),
    "keltner": Column("place in the Keltner channel (20, 2 ATR of 10), -1 lower to 1 upper", "", _hours(500)),
    "momentum_10": Column("close less the close 10 bars before", "ATR", _hours(350)),
    "roc_24": Column("rate of change over 24 bars in hourly ATR of the period", "ATR", _hours(350)),
    "vwap_24": Column("close less the volume-weighted price of 24 bars", "ATR", _hours(350)),
    "vwap_168": Column("close less the volume-weighted price of 168 bars", "ATR", _hours(350)),
    "profile_control": Column("close less the price with the most volume in 168 bars", "ATR", _hours(350)),
    "profile_above": Column("share of the volume of 168 bars above the close", "fraction", _hours(168)),
    "profile_entropy": Column("spread of that volume over prices, share of its maximum", "fraction", _hours(168)),
    "accumulation_24": Column("accumulation/distribution over 24 bars, share of volume", "fraction, signed", _hours(24)),
    "chaikin_oscillator": Column("Chaikin oscillator (3, 10) over the mean volume of 24 bars", "", _hours(250)),
    "seasonal_variance": Column(
        "log of the mean squared return of the hour of day that opens, against all hours, 28 days", "log ratio", _hours(24 * 29)
    ),
    "fractional_difference": Column(
        f"log price differenced {DIFFERENCE_ORDER} times, in units of its returns over 168 h", "sd", _hours(570)
    ),
}


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    return by_coin(closed(candles), _of_coin, COLUMNS)


def _of_coin(rows: pl.DataFrame) -> dict[str, Array]:
    hourly = complete(rows)
    is_bar = hourly["is_bar"].to_numpy()
    made = _charted(numbers(rows, "open", "high", "low", "close", "volume"), rows["ts"].to_physical().to_numpy() // HOUR_US)
    seasonal, spread = (values[is_bar] for values in _hourly(numbers(hourly, "close")["close"]))
    return {**made, "seasonal_variance": seasonal, "fractional_difference": made["fractional_difference"] / spread}


def _charted(rows: dict[str, Array], hour: Array) -> dict[str, Array]:
    """The columns that run over the bars there are; `hour` counts hours from a fixed moment."""
    from crypto_assets.features import _chart_kernels as kernels
    from crypto_assets.features import _indicators as ta
    from crypto_assets.features import _windows as windows

    bars = ta.Bars(*(rows[c] for c in ("open", "high", "low", "close", "volume")))
    high, low, close, volume, atr = bars.high, bars.low, bars.close, bars.volume, bars.atr
    ten = ta.wilder(bars.true_range, 10, 1)
    conversion, base, slow = ((windows.highest(high, n, n) + windows.lowest(low, n, n)) / 2 for n in (9, 26, 52))
    span_a, span_b = before((conversion + base) / 2, 26), before(slow, 26)
    value, traded = bars.typical * volume, {n: ta.positive(windows.total(volume, n, n)) for n in (24, 168)}
    begins = kernels.restarts(hour, RESTART_HOURS, PATH_HOURS)
    line, side = kernels.supertrend(high, low, close, ten, 3.0, *begins)
    control, above, entropy = kernels.volume_profile(high, low, close, volume, PROFILE_BARS, PROFILE_BINS)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "parabolic_sar": (close - kernels.parabolic(high, low, 0.02, 0.2, *begins)) / atr,
            "supertrend": (close - line) / atr,
            "supertrend_side": side,
            "ichimoku_conversion": (conversion - base) / atr,
            "ichimoku_base": (close - base) / atr,
            "ichimoku_cloud": (close - (span_a + span_b) / 2) / atr,
            "ichimoku_thickness": (span_a - span_b) / atr,
            "ichimoku_lagging": (close - before(close, 26)) / atr,
            "keltner": (close - ta.exponential(close, 20)) / (2 * ta.positive(ten)),
            "momentum_10": (close - before(close, 10)) / atr,
            "roc_24": (close / before(close, 24) - 1) / (atr / close * math.sqrt(24)),
            **{f"vwap_{n}": (close - windows.total(value, n, n) / total) / atr for n, total in traded.items()},
            "profile_control": (close - control) / atr,
            "profile_above": above,
            "profile_entropy": entropy,
            "accumulation_24": windows.total(bars.steps, 24, 24) / traded[24],
            "chaikin_oscillator": ta.chaikin_oscillator(bars, 3, 10) / (traded[24] / 24),
            "fractional_difference": _fractional(close),
        }


def _hourly(close: Array) -> tuple[Array, Array]:
    """The seasonal variance, and the spread of returns, on the complete hourly grid.

    The bar that opens at `ts` closes in an hour; that hour of the days before closed 23 h, 47 h, ... ago.
    """
    from crypto_assets.features import _windows as windows

    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.log(close / np.concatenate([[np.nan], close[:-1]]))
        r2, hours = r**2, 24 * SEASON_DAYS
        days = np.full((SEASON_DAYS + len(r) // 24 + 1, 24), np.nan)  # the days before keep the hours of day apart below
        days[SEASON_DAYS:].ravel()[: len(r)] = r2
        same_hour = windows.mean(days.T.ravel(), SEASON_DAYS, 1).reshape(24, -1)[:, SEASON_DAYS:].T.ravel()
        opens = np.full(len(r), np.nan)
        opens[23:] = same_hour[: max(0, len(r) - 23)]
        every = windows.mean(r2, hours, hours * 8 // 10)
        sd = windows.deviation(r, 168, least(168))
        return np.log((opens + TINY) / (every + TINY)), np.where(sd > 1e-9, sd, np.nan)


def fractional_weights(order: float, length: int) -> Array:
    """Weights of the returns in a log price differenced `order` times over `length` bars, newest first.

    The price's are w[0] = 1, w[k] = w[k - 1] (k - 1 - order) / k (Hosking 1981; López de Prado 2018, ch. 5); cumulated they are
    those of its returns, so that the price level drops out exactly.
    """
    k = np.arange(1, length)
    return np.cumsum(np.cumprod(np.r_[1.0, (k - 1 - order) / k]))[:-1]


def _fractional(close: Array, order: float = DIFFERENCE_ORDER, length: int = DIFFERENCE_HOURS) -> Array:
    """The log price fractionally differenced with a fixed window, over the root of the sum of the squared weights.

    So it is unit noise where returns are. NaN until the window is full.
    """
    from crypto_assets.features import _windows as windows

    weights = fractional_weights(order, length)
    out = np.full(len(close), np.nan)
    if len(close) >= length:
        out[length - 1 :] = windows.weighted(np.diff(np.log(close)), weights) / np.sqrt(np.sum(weights**2))
    return out


FAMILY = FeatureFamily("chart", {"candles": "curated/candles"}, LOOKBACK, COLUMNS, compute, by_coin=("candles",))
