"""Charting classics beyond `technical`: Parabolic SAR, Ichimoku, Supertrend, Keltner, VWAP, volume profile, accumulation.

Distances are in average true ranges (Wilder, 14 bars), so no column carries the price level. Indicators run over the bars there
are; seasonality and fractional differences over the complete hourly grid. Ichimoku is as known at the bar: the cloud drawn over
it was computed 26 bars before, and the lagging span, which is the close drawn 26 bars back, appears as the close against that
bar. SAR and Supertrend are path dependent: two starts agree for good after both have turned on the same bar.
"""

from __future__ import annotations

import math
from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl

from crypto_assets.features._bars import closed
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._one_coin import TINY, at_bars, beside, by_coin, complete, log_return, rolling

PROFILE_BARS = 168
PROFILE_BINS = 24
SEASON_DAYS = 28
DIFFERENCE_ORDER = 0.4
"""Order of fractional differencing: the least that makes log prices stationary in the literature's examples is 0.3 to 0.5."""
DIFFERENCE_HOURS = 400
"""Where its weights are cut off; the last one is 1e-4 of the first."""
LOOKBACK = timedelta(days=45)


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
    "fractional_difference": Column("log price differenced 0.4 times, in units of its sd over 168 h", "sd", _hours(570)),
}


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    return by_coin(closed(candles), _of_coin, COLUMNS)


def _of_coin(rows: pl.DataFrame) -> pl.DataFrame:
    charted = rows.with_columns(_lines()).select(*_places(), *_flows())
    r = complete(rows).with_columns(_r=log_return()).with_columns(_r2=pl.col("_r").pow(2))
    gridded = r.select("is_bar", seasonal_variance=_seasonal(), _sd=_spread())
    return beside(charted, _paths(rows), at_bars(gridded)).with_columns(pl.col("fractional_difference") / pl.col("_sd"))


@cache
def _lines() -> list[pl.Expr]:
    """Lines that several columns are made of."""
    import polars_talib as ta

    high, low = pl.col("high"), pl.col("low")
    atr = ta.atr(high, low, pl.col("close"), timeperiod=14)
    middles = [((high.rolling_max(n) + low.rolling_min(n)) / 2).alias(f"_middle_{n}") for n in (9, 26, 52)]
    volume = pl.col("volume")
    totals = [volume.rolling_sum(n).alias(f"_volume_{n}") for n in (24, 168)]
    return [pl.when(atr > 0).then(atr).alias("_atr"), *middles, *totals, volume.rolling_mean(24).alias("_mean_volume")]


@cache
def _places() -> list[pl.Expr]:
    import polars_talib as ta

    close, high, low, atr = pl.col("close"), pl.col("high"), pl.col("low"), pl.col("_atr")
    conversion, base = pl.col("_middle_9"), pl.col("_middle_26")
    span_a, span_b = ((conversion + base) / 2).shift(26), pl.col("_middle_52").shift(26)
    ema = ta.ema(close, timeperiod=20)
    width = 2 * ta.atr(high, low, close, timeperiod=10)
    out = {
        "parabolic_sar": (close - ta.sar(high, low, acceleration=0.02, maximum=0.2)) / atr,
        "ichimoku_conversion": (conversion - base) / atr,
        "ichimoku_base": (close - base) / atr,
        "ichimoku_cloud": (close - (span_a + span_b) / 2) / atr,
        "ichimoku_thickness": (span_a - span_b) / atr,
        "ichimoku_lagging": (close - close.shift(26)) / atr,
        "keltner": (close - ema) / pl.when(width > 0).then(width),
        "momentum_10": (close - close.shift(10)) / atr,
        "roc_24": (close / close.shift(24) - 1) / (atr / close * math.sqrt(24)),
    }
    return [e.alias(name) for name, e in out.items()]


@cache
def _flows() -> list[pl.Expr]:
    import polars_talib as ta

    close, high, low, volume, atr = (pl.col(c) for c in ("close", "high", "low", "volume", "_atr"))
    typical = (high + low + close) / 3
    spread = pl.when(high > low).then(high - low)
    place = ((2 * close - high - low) / spread).fill_null(0.0) * volume
    traded, mean = pl.col("_volume_24"), pl.col("_mean_volume")

    def vwap(bars: int) -> pl.Expr:
        total = pl.col(f"_volume_{bars}")
        return (typical * volume).rolling_sum(bars) / pl.when(total > 0).then(total)

    out = {
        "vwap_24": (close - vwap(24)) / atr,
        "vwap_168": (close - vwap(168)) / atr,
        "accumulation_24": place.rolling_sum(24) / pl.when(traded > 0).then(traded),
        "chaikin_oscillator": ta.adosc(high, low, close, volume, fastperiod=3, slowperiod=10) / pl.when(mean > 0).then(mean),
    }
    return [e.alias(name) for name, e in out.items()]


@cache
def _spread() -> pl.Expr:
    sd = rolling(pl.col("_r"), 168, "std")
    return pl.when(sd > 1e-9).then(sd)


@cache
def _seasonal() -> pl.Expr:
    """The bar that opens at `ts` closes in an hour; that hour of the days before closed 23 h, 47 h, ... ago."""
    r2 = pl.col("_r2")
    days = [r2.shift(24 * d - 1) for d in range(1, SEASON_DAYS + 1)]
    same_hour = pl.mean_horizontal(days)
    every = r2.rolling_mean(24 * SEASON_DAYS, min_samples=24 * SEASON_DAYS * 8 // 10)
    return ((same_hour + TINY) / (every + TINY)).log()


def _fractional(close: np.ndarray) -> np.ndarray:
    """The log price differenced `DIFFERENCE_ORDER` times with a fixed window (Hosking 1981; López de Prado 2018, ch. 5).

    Written as a sum over returns, whose weights are the cumulated ones, so that the price level drops out exactly; over the
    root of their sum of squares, which makes it unit noise where returns are. NaN until the window is full.
    """
    k = np.arange(1, DIFFERENCE_HOURS)
    weights = np.cumprod(np.r_[1.0, (k - 1 - DIFFERENCE_ORDER) / k])
    cumulated = np.cumsum(weights)[:-1]
    out = np.full(len(close), np.nan)
    if len(close) >= DIFFERENCE_HOURS:
        summed = np.convolve(np.diff(np.log(close)), cumulated, "valid")
        out[len(close) - len(summed) :] = summed / np.sqrt(np.sum(cumulated**2))
    return out


def _paths(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns that need a loop over bars."""
    from crypto_assets.features import _chart_kernels as kernels

    high, low, close, volume = (rows[c].to_numpy() for c in ("high", "low", "close", "volume"))
    atr = kernels.average_true_range(high, low, close, 14)
    line, side = kernels.supertrend(high, low, close, kernels.average_true_range(high, low, close, 10), 3.0)
    control, above, entropy = kernels.volume_profile(high, low, close, volume, PROFILE_BARS, PROFILE_BINS)
    return pl.DataFrame(
        {
            "supertrend": (close - line) / atr,
            "supertrend_side": side,
            "profile_control": (close - control) / atr,
            "profile_above": above,
            "profile_entropy": entropy,
            "fractional_difference": _fractional(close),
        }
    )


FAMILY = FeatureFamily("chart", {"candles": "curated/candles"}, LOOKBACK, COLUMNS, compute)
