"""Charting classics beyond `technical`: Parabolic SAR, Ichimoku, Supertrend, Keltner, VWAP, volume profile, accumulation.

Distances are in average true ranges (Wilder, 14 bars), so no column carries the price level. Indicators run over the bars there
are; seasonality and fractional differences over the complete hourly grid. Ichimoku is as known at the bar: the cloud drawn over
it was computed 26 bars before, and the lagging span, which is the close drawn 26 bars back, appears as the close against that
bar. SAR and Supertrend are path dependent: two starts agree for good after both have turned on the same bar.
"""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.features._bars import TINY, bars, finite, hourly, log_return, rolling
from crypto_assets.features._family import Column, FeatureFamily

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
    rows = bars(candles)
    charted = rows.with_columns(_atr()).select("symbol", "ts", *_lines(), *_volume_exprs())
    paths = rows.map_batches(_paths, schema=_PATHS, **_WHOLE)
    gridded = hourly(rows).with_columns(_r=log_return()).select("symbol", "ts", seasonal_variance=_seasonal(), _sd=_spread())
    joined = charted.join(paths, on=["symbol", "ts"], how="left").join(gridded, on=["symbol", "ts"], how="left")
    scaled = joined.with_columns(pl.col("fractional_difference") / pl.col("_sd"))
    return finite(scaled.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _atr() -> pl.Expr:
    import polars_talib as ta

    atr = ta.atr(pl.col("high"), pl.col("low"), pl.col("close"), timeperiod=14).over("symbol")
    return pl.when(atr > 0).then(atr).alias("_atr")


def _lines() -> list[pl.Expr]:
    import polars_talib as ta

    close, high, low, atr = pl.col("close"), pl.col("high"), pl.col("low"), pl.col("_atr")

    def middle(bars: int) -> pl.Expr:
        return (high.rolling_max(bars) + low.rolling_min(bars)) / 2

    conversion, base = middle(9), middle(26)
    span_a, span_b = ((conversion + base) / 2).shift(26), middle(52).shift(26)
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
    return [e.over("symbol").alias(name) for name, e in out.items()]


def _volume_exprs() -> list[pl.Expr]:
    import polars_talib as ta

    close, high, low, volume, atr = (pl.col(c) for c in ("close", "high", "low", "volume", "_atr"))
    typical = (high + low + close) / 3
    spread = pl.when(high > low).then(high - low)
    place = ((2 * close - high - low) / spread).fill_null(0.0) * volume
    traded = volume.rolling_sum(24)
    mean = volume.rolling_mean(24)

    def vwap(bars: int) -> pl.Expr:
        total = volume.rolling_sum(bars)
        return (typical * volume).rolling_sum(bars) / pl.when(total > 0).then(total)

    out = {
        "vwap_24": (close - vwap(24)) / atr,
        "vwap_168": (close - vwap(168)) / atr,
        "accumulation_24": place.rolling_sum(24) / pl.when(traded > 0).then(traded),
        "chaikin_oscillator": ta.adosc(high, low, close, volume, fastperiod=3, slowperiod=10) / pl.when(mean > 0).then(mean),
    }
    return [e.over("symbol").alias(name) for name, e in out.items()]


def _spread() -> pl.Expr:
    sd = rolling(pl.col("_r"), 168, "std")
    return pl.when(sd > 1e-9).then(sd)


def _seasonal() -> pl.Expr:
    """The bar that opens at `ts` closes in an hour; that hour of the days before closed 23 h, 47 h, ... ago."""
    r2 = pl.col("_r").pow(2)
    days = [r2.shift(24 * d - 1).over("symbol") for d in range(1, SEASON_DAYS + 1)]
    same_hour = pl.mean_horizontal(days)
    every = r2.rolling_mean(24 * SEASON_DAYS, min_samples=24 * SEASON_DAYS * 8 // 10).over("symbol")
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


_WHOLE = {"predicate_pushdown": False, "projection_pushdown": False, "slice_pushdown": False}
_PATH_COLUMNS = (
    "supertrend",
    "supertrend_side",
    "profile_control",
    "profile_above",
    "profile_entropy",
    "fractional_difference",
)
_PATHS = pl.Schema({"symbol": pl.String(), "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(_PATH_COLUMNS, pl.Float64())})


def _paths(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns that need a loop over bars, a coin at a time."""
    from crypto_assets.features import _chart_kernels as kernels

    frames = [pl.DataFrame(schema=_PATHS)]
    for coin in rows.partition_by("symbol", maintain_order=True):
        high, low, close, volume = (coin[c].to_numpy() for c in ("high", "low", "close", "volume"))
        atr = kernels.average_true_range(high, low, close, 14)
        line, side = kernels.supertrend(high, low, close, kernels.average_true_range(high, low, close, 10), 3.0)
        control, above, entropy = kernels.volume_profile(high, low, close, volume, PROFILE_BARS, PROFILE_BINS)
        values = ((close - line) / atr, side, (close - control) / atr, above, entropy, _fractional(close))
        columns = dict(zip(_PATH_COLUMNS, values, strict=True))
        frames.append(coin.select("symbol", "ts").with_columns(**columns))
    return pl.concat(frames)


FAMILY = FeatureFamily("chart", {"candles": "curated/candles"}, LOOKBACK, COLUMNS, compute)
