"""Technical analysis of each coin by itself, at each hourly close. Stationary forms only: nothing that carries the price level.

Returns, volatilities and volumes are taken on the complete hourly grid: a value whose window ends in a missing bar is null, a
rolling window must hold at least 80 % of its bars. TA-Lib's indicators run over the bars there are, as on any chart, because
TA-Lib turns everything after a missing value into not-a-number. Its recursive ones (EMA, RSI, ADX, ATR, MACD) remember their
start: the lookback is at least ten periods of each, which leaves less than 1e-6 of it.
"""

from __future__ import annotations

import math
from datetime import timedelta
from functools import cache

import polars as pl

from crypto_assets.features._bars import closed
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._one_coin import TINY, at_bars, beside, by_coin, complete, log_return, rolling, variance_before

LAGS = range(24)
SPANS = (2, 3, 4, 6, 8, 12, 24, 48, 72, 168)
"""Hours of the cumulative returns."""
SCALE_HOURS = 168
CHANNELS = (24, 168)
"""Hours of the Donchian channels."""
MAX_LOOKBACK = timedelta(days=31)


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


@cache
def _base() -> list[pl.Expr]:
    """What everything below is made of: returns, ranges, values, all on the complete grid of one coin."""
    high_low = (pl.col("high") / pl.col("low")).log()
    return [
        log_return().alias("_r"),
        (high_low.pow(2) / (4 * math.log(2))).alias("_parkinson"),
        pl.when(pl.col("volume") > 0).then(pl.col("volume")).log().alias("_log_volume"),
        (pl.col("close") * pl.col("volume")).alias("_value"),
        (2 * pl.col("taker_buy_volume") - pl.col("volume")).alias("_net_taker"),
        *[rolling(pl.col("high"), h, "max").alias(f"_top_{h}") for h in CHANNELS],
        *[rolling(pl.col("low"), h, "min").alias(f"_bottom_{h}") for h in CHANNELS],
    ]


@cache
def _scales() -> list[pl.Expr]:
    """What several columns are measured by."""
    r, value, traded = pl.col("_r"), pl.col("_value"), rolling(pl.col("volume"), 24)
    return [
        r.pow(2).alias("_r2"),
        (rolling(r.pow(2), SCALE_HOURS) + TINY).sqrt().alias("_sd"),
        (r / variance_before(r).sqrt()).alias("_surprise"),
        rolling(r.pow(2), 24).alias("_rv_24"),
        pl.when(traded > 0).then(traded).alias("_traded_24"),
        ((r.abs() / pl.when(value > 0).then(value)) * 1e9).alias("_illiquidity"),
        *[rolling(pl.col("_log_volume"), h, "std").alias(f"_volume_sd_{h}") for h in (24, 168)],
    ]


def _returns() -> dict[str, tuple[Column, pl.Expr]]:
    out = {}
    for k in LAGS:
        meaning = f"log return of the bar that closed {k} h ago, in units of its trailing standard deviation ({SCALE_HOURS} h)"
        out[f"return_lag_{k}h"] = (
            Column(meaning, "sd", _hours(SCALE_HOURS + 1)),
            pl.col("_r").shift(k) / pl.col("_sd"),
        )
    for k in range(3):
        meaning = f"log return of the bar that closed {k} h ago over the volatility expected of it (RiskMetrics)"
        out[f"surprise_lag_{k}h"] = (Column(meaning, "sd", _hours(300 + k)), pl.col("_surprise").shift(k))
    for h in SPANS:
        column = Column(f"log return over {h} h, in units of its standard deviation", "sd", _hours(SCALE_HOURS + h))
        out[f"return_{h}h"] = (column, log_return(h) / (pl.col("_sd") * math.sqrt(h)))
    return out


def _volatility() -> dict[str, tuple[Column, pl.Expr]]:
    out = {}
    r2, parkinson = pl.col("_r2"), pl.col("_parkinson")
    for h in (1, 24, 168, 672):
        mean = {1: r2, 24: pl.col("_rv_24")}.get(h, rolling(r2, h))
        column = Column(f"log of the mean squared hourly return over {h} h", "log variance", _hours(h + 1))
        out[f"log_rv_{h}h"] = (column, (mean + TINY).log())
    for h in (1, 24, 168):
        mean = parkinson if h == 1 else rolling(parkinson, h)
        column = Column(f"log of Parkinson's (1980) range variance over {h} h", "log variance", _hours(h))
        out[f"log_range_var_{h}h"] = (column, (mean + TINY).log())
    expected = Column("log of the hourly variance expected of the bar that opens (RiskMetrics)", "log variance", _hours(300))
    out["log_ewma_var"] = (expected, (r2.ewm_mean(alpha=0.06, min_samples=24) + TINY).log())
    down = pl.when(pl.col("_r") < 0).then(r2).otherwise(r2 * 0)
    out["downside_share_24h"] = (
        Column("share of the realised variance of 24 h that came from falls", "fraction", _hours(25)),
        rolling(down, 24) / (pl.col("_rv_24") + TINY),
    )
    out["efficiency_24h"] = (
        Column("net move over 24 h as a share of the path walked (Kaufman)", "fraction, signed", _hours(25)),
        rolling(pl.col("_r"), 24) / (rolling(pl.col("_r").abs(), 24) + TINY),
    )
    return out


def _volume() -> dict[str, tuple[Column, pl.Expr]]:
    volume, r, net = pl.col("volume"), pl.col("_r"), pl.col("_net_taker")
    signed = pl.when(r > 0).then(volume).when(r < 0).then(-volume).when(r == 0).then(0.0)
    illiquidity = pl.col("_illiquidity")
    traded, traded_24 = pl.when(volume > 0).then(volume), pl.col("_traded_24")

    def z_score(hours: int) -> pl.Expr:
        spread = pl.col(f"_volume_sd_{hours}")
        return (pl.col("_log_volume") - rolling(pl.col("_log_volume"), hours)) / pl.when(spread > 1e-9).then(spread)

    return {
        "volume_z_24h": (Column("log volume against its last 24 h", "sd", _hours(24)), z_score(24)),
        "volume_z_168h": (Column("log volume against its last 168 h", "sd", _hours(168)), z_score(168)),
        "volume_shock_return": (
            Column("volume_z_168h times return_lag_0h: a move on heavy volume", "sd²", _hours(169)),
            z_score(168) * r / pl.col("_sd"),
        ),
        "obv_24h": (
            Column("change of on-balance volume over 24 h as a share of the volume", "fraction, signed", _hours(25)),
            rolling(signed, 24) / traded_24,
        ),
        "taker_imbalance_1h": (
            Column("taker buys less taker sells, share of volume", "fraction, signed", _hours(1)),
            net / traded,
        ),
        "taker_imbalance_24h": (
            Column("taker buys less taker sells over 24 h, share of volume", "fraction, signed", _hours(24)),
            rolling(net, 24) / traded_24,
        ),
        "illiquidity_change": (
            Column("log of Amihud's (2002) illiquidity over 24 h against 168 h", "log ratio", _hours(169)),
            (rolling(illiquidity, 24) / rolling(illiquidity, 168)).log(),
        ),
    }


def _shape() -> dict[str, tuple[Column, pl.Expr]]:
    o, h, lo, c = (pl.col(n) for n in ("open", "high", "low", "close"))
    spread = pl.when(h > lo).then(h - lo)
    out = {
        "body": (Column("close less open, share of the bar's range", "fraction, signed", _hours(1)), (c - o) / spread),
        "upper_wick": (
            Column("high less body, share of the range", "fraction", _hours(1)),
            (h - pl.max_horizontal(o, c)) / spread,
        ),
        "lower_wick": (
            Column("body less low, share of the range", "fraction", _hours(1)),
            (pl.min_horizontal(o, c) - lo) / spread,
        ),
    }
    for hours in CHANNELS:
        top, bottom = pl.col(f"_top_{hours}"), pl.col(f"_bottom_{hours}")
        column = Column(
            f"place of the close in the {hours} h Donchian channel, -1 bottom to 1 top", "fraction, signed", _hours(hours)
        )
        out[f"donchian_{hours}h"] = (column, 2 * (c - bottom) / pl.when(top > bottom).then(top - bottom) - 1)
    return out


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


@cache
def _lines() -> list[pl.Expr]:
    """TA-Lib's lines that several indicators are made of."""
    import polars_talib as ta

    atr = ta.atr(pl.col("high"), pl.col("low"), pl.col("close"), timeperiod=14)
    bands = ta.bbands(pl.col("close"), timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    stoch = ta.stoch(pl.col("high"), pl.col("low"), pl.col("close"), fastk_period=14, slowk_period=3, slowd_period=3)
    return [pl.when(atr > 0).then(atr).alias("_atr"), bands.struct.unnest(), stoch.struct.unnest()]


@cache
def _indicators() -> list[pl.Expr]:
    """TA-Lib's indicators over the bars there are of one coin, rescaled; in the order of `_INDICATORS`."""
    import polars_talib as ta

    close, high, low, volume, atr = (pl.col(c) for c in ("close", "high", "low", "volume", "_atr"))
    upper, middle, lower = (pl.col(f"{b}band") for b in ("upper", "middle", "lower"))
    width = pl.when(upper - lower > 1e-9 * middle).then(upper - lower)
    exprs = [ta.rsi(close, timeperiod=n) / 50 - 1 for n in (6, 14, 28)]
    exprs += [ta.macd(close, 12, 26, 9).struct.field("macdhist") / atr]
    exprs += [ta.adx(high, low, close, timeperiod=14) / 100]
    exprs += [(ta.plus_di(high, low, close, timeperiod=14) - ta.minus_di(high, low, close, timeperiod=14)) / 100]
    exprs += [ta.cci(high, low, close, timeperiod=20) / 100]
    exprs += [pl.col("slowk") / 50 - 1, pl.col("slowd") / 50 - 1]
    exprs += [ta.willr(high, low, close, timeperiod=14) / 50 + 1]
    exprs += [2 * (close - middle) / width, (width / middle).log()]
    exprs += [(atr / close).log()]
    exprs += [(close - ta.ema(close, timeperiod=n)) / atr for n in (12, 24, 72)]
    exprs += [(close - ta.sma(close, timeperiod=168)) / atr]
    exprs += [ta.mfi(high, low, close, volume, timeperiod=14) / 50 - 1]
    exprs += [ta.cmf(high, low, close, volume, timeperiod=20)]
    exprs += [ta.aroonosc(high, low, timeperiod=25) / 100]
    return [e.alias(name) for e, name in zip(exprs, _INDICATORS, strict=True)]


@cache
def _clock() -> pl.DataFrame:
    """Sine and cosine of each phase at the 168 hours of a week."""
    week = pl.DataFrame({"_week": range(168)}, schema={"_week": pl.Int32})
    hour, day = pl.col("_week") % 24, pl.col("_week") // 24
    phases = {"hour": hour / 24, "half_day": hour / 12, "weekday": (day + hour / 24) / 7}
    made = {f"{name}_{kind}": getattr(2 * math.pi * phase, kind)() for name, phase in phases.items() for kind in ("sin", "cos")}
    return week.select(**made)


@cache
def _gridded() -> dict[str, tuple[Column, pl.Expr]]:
    return {**_returns(), **_volatility(), **_volume(), **_shape()}


COLUMNS: dict[str, Column] = {**{name: column for name, (column, _) in _gridded().items()}, **_CLOCK, **_INDICATORS}


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    return by_coin(closed(candles, "taker_buy_volume"), _of_coin, COLUMNS)


def _of_coin(rows: pl.DataFrame) -> pl.DataFrame:
    grid = complete(rows).with_columns(_base()).with_columns(_scales())
    gridded = grid.select("is_bar", *[expr.alias(name) for name, (_, expr) in _gridded().items()])
    hours = (rows["ts"].dt.weekday().cast(pl.Int32) - 1) * 24 + rows["ts"].dt.hour()
    return beside(at_bars(gridded), _clock()[hours], rows.with_columns(_lines()).select(_indicators()))


FAMILY = FeatureFamily("technical", {"candles": "curated/candles"}, MAX_LOOKBACK, COLUMNS, compute)
