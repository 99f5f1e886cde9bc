"""Technical analysis of each coin by itself, at each hourly close. Stationary forms only: nothing that carries the price level.

Returns, volatilities and volumes are taken on the complete hourly grid: a value whose window ends in a missing bar is null, a
rolling window must hold at least 80 % of its bars. TA-Lib's indicators run over the bars there are, as on any chart, because
TA-Lib turns everything after a missing value into not-a-number. Its recursive ones (EMA, RSI, ADX, ATR, MACD) remember their
start: the lookback is at least ten periods of each, which leaves less than 1e-6 of it.
"""

from __future__ import annotations

import math
from datetime import timedelta

import polars as pl

from crypto_assets.features._bars import TINY, bars, finite, hourly, log_return, rolling, variance_before, z_score
from crypto_assets.features._family import Column, FeatureFamily

LAGS = range(24)
SPANS = (2, 3, 4, 6, 8, 12, 24, 48, 72, 168)
"""Hours of the cumulative returns."""
SCALE_HOURS = 168
MAX_LOOKBACK = timedelta(days=31)


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


def _base() -> list[pl.Expr]:
    """What everything below is made of: returns, ranges, values, all on the complete grid."""
    high_low = (pl.col("high") / pl.col("low")).log()
    return [
        log_return().alias("_r"),
        (high_low.pow(2) / (4 * math.log(2))).alias("_parkinson"),
        pl.when(pl.col("volume") > 0).then(pl.col("volume")).log().alias("_log_volume"),
        (pl.col("close") * pl.col("volume")).alias("_value"),
        (2 * pl.col("taker_buy_volume") - pl.col("volume")).alias("_net_taker"),
    ]


def _returns() -> dict[str, tuple[Column, pl.Expr]]:
    out = {}
    for k in LAGS:
        meaning = f"log return of the bar that closed {k} h ago, in units of its trailing standard deviation ({SCALE_HOURS} h)"
        out[f"return_lag_{k}h"] = (
            Column(meaning, "sd", _hours(SCALE_HOURS + 1)),
            pl.col("_r").shift(k).over("symbol") / pl.col("_sd"),
        )
    for k in range(3):
        meaning = f"log return of the bar that closed {k} h ago over the volatility expected of it (RiskMetrics)"
        out[f"surprise_lag_{k}h"] = (Column(meaning, "sd", _hours(300 + k)), pl.col("_surprise").shift(k).over("symbol"))
    for h in SPANS:
        column = Column(f"log return over {h} h, in units of its standard deviation", "sd", _hours(SCALE_HOURS + h))
        out[f"return_{h}h"] = (column, log_return(h) / (pl.col("_sd") * math.sqrt(h)))
    return out


def _volatility() -> dict[str, tuple[Column, pl.Expr]]:
    out = {}
    r2, parkinson = pl.col("_r").pow(2), pl.col("_parkinson")
    for h in (1, 24, 168, 672):
        mean = r2 if h == 1 else rolling(r2, h)
        column = Column(f"log of the mean squared hourly return over {h} h", "log variance", _hours(h + 1))
        out[f"log_rv_{h}h"] = (column, (mean + TINY).log())
    for h in (1, 24, 168):
        mean = parkinson if h == 1 else rolling(parkinson, h)
        column = Column(f"log of Parkinson's (1980) range variance over {h} h", "log variance", _hours(h))
        out[f"log_range_var_{h}h"] = (column, (mean + TINY).log())
    expected = Column("log of the hourly variance expected of the bar that opens (RiskMetrics)", "log variance", _hours(300))
    out["log_ewma_var"] = (expected, (r2.ewm_mean(alpha=0.06, min_samples=24).over("symbol") + TINY).log())
    down = pl.when(pl.col("_r") < 0).then(r2).otherwise(r2 * 0)
    out["downside_share_24h"] = (
        Column("share of the realised variance of 24 h that came from falls", "fraction", _hours(25)),
        rolling(down, 24) / (rolling(r2, 24) + TINY),
    )
    out["efficiency_24h"] = (
        Column("net move over 24 h as a share of the path walked (Kaufman)", "fraction, signed", _hours(25)),
        rolling(pl.col("_r"), 24) / (rolling(pl.col("_r").abs(), 24) + TINY),
    )
    return out


def _volume() -> dict[str, tuple[Column, pl.Expr]]:
    volume, r, net = pl.col("volume"), pl.col("_r"), pl.col("_net_taker")
    shock = z_score(pl.col("_log_volume"), 168)
    signed = pl.when(r > 0).then(volume).when(r < 0).then(-volume).when(r == 0).then(0.0)
    illiquidity = (r.abs() / pl.when(pl.col("_value") > 0).then(pl.col("_value"))) * 1e9
    traded = pl.when(volume > 0).then(volume)
    return {
        "volume_z_24h": (Column("log volume against its last 24 h", "sd", _hours(24)), z_score(pl.col("_log_volume"), 24)),
        "volume_z_168h": (Column("log volume against its last 168 h", "sd", _hours(168)), shock),
        "volume_shock_return": (
            Column("volume_z_168h times return_lag_0h: a move on heavy volume", "sd²", _hours(169)),
            shock * r / pl.col("_sd"),
        ),
        "obv_24h": (
            Column("change of on-balance volume over 24 h as a share of the volume", "fraction, signed", _hours(25)),
            rolling(signed, 24) / pl.when(rolling(volume, 24) > 0).then(rolling(volume, 24)),
        ),
        "taker_imbalance_1h": (
            Column("taker buys less taker sells, share of volume", "fraction, signed", _hours(1)),
            net / traded,
        ),
        "taker_imbalance_24h": (
            Column("taker buys less taker sells over 24 h, share of volume", "fraction, signed", _hours(24)),
            rolling(net, 24) / pl.when(rolling(volume, 24) > 0).then(rolling(volume, 24)),
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
    for hours in (24, 168):
        top, bottom = rolling(h, hours, "max"), rolling(lo, hours, "min")
        column = Column(
            f"place of the close in the {hours} h Donchian channel, -1 bottom to 1 top", "fraction, signed", _hours(hours)
        )
        out[f"donchian_{hours}h"] = (column, 2 * (c - bottom) / pl.when(top > bottom).then(top - bottom) - 1)
    hour, day = pl.col("ts").dt.hour(), pl.col("ts").dt.weekday() - 1
    for name, phase, meaning in (
        ("hour", hour / 24, "hour of day"),
        ("half_day", hour / 12, "hour of the half day"),
        ("weekday", (day + hour / 24) / 7, "time of week"),
    ):
        out[f"{name}_sin"] = (Column(f"sine of the {meaning}, UTC", "", _hours(0)), (2 * math.pi * phase).sin())
        out[f"{name}_cos"] = (Column(f"cosine of the {meaning}, UTC", "", _hours(0)), (2 * math.pi * phase).cos())
    return out


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


def _indicators() -> list[pl.Expr]:
    """TA-Lib's indicators over the bars there are, rescaled; in the order of `_INDICATORS`."""
    import polars_talib as ta

    def over(expr: pl.Expr) -> pl.Expr:
        return expr.over("symbol")

    close, high, low = pl.col("close"), pl.col("high"), pl.col("low")
    atr = over(ta.atr(high, low, close, timeperiod=14))
    atr = pl.when(atr > 0).then(atr)
    bands = ta.bbands(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    upper, middle, lower = (over(bands.struct.field(f"{b}band")) for b in ("upper", "middle", "lower"))
    width = pl.when(upper - lower > 1e-9 * middle).then(upper - lower)
    stoch = ta.stoch(high, low, close, fastk_period=14, slowk_period=3, slowd_period=3)
    exprs = [over(ta.rsi(close, timeperiod=n)) / 50 - 1 for n in (6, 14, 28)]
    exprs += [over(ta.macd(close, 12, 26, 9).struct.field("macdhist")) / atr]
    exprs += [over(ta.adx(high, low, close, timeperiod=14)) / 100]
    exprs += [(over(ta.plus_di(high, low, close, timeperiod=14)) - over(ta.minus_di(high, low, close, timeperiod=14))) / 100]
    exprs += [over(ta.cci(high, low, close, timeperiod=20)) / 100]
    exprs += [over(stoch.struct.field("slowk")) / 50 - 1, over(stoch.struct.field("slowd")) / 50 - 1]
    exprs += [over(ta.willr(high, low, close, timeperiod=14)) / 50 + 1]
    exprs += [2 * (close - middle) / width, (width / middle).log()]
    exprs += [(atr / close).log()]
    exprs += [(close - over(ta.ema(close, timeperiod=n))) / atr for n in (12, 24, 72)]
    exprs += [(close - over(ta.sma(close, timeperiod=168))) / atr]
    exprs += [over(ta.mfi(high, low, close, pl.col("volume"), timeperiod=14)) / 50 - 1]
    exprs += [over(ta.cmf(high, low, close, pl.col("volume"), timeperiod=20))]
    exprs += [over(ta.aroonosc(high, low, timeperiod=25)) / 100]
    return [e.alias(name) for e, name in zip(exprs, _INDICATORS, strict=True)]


def _gridded() -> dict[str, tuple[Column, pl.Expr]]:
    return {**_returns(), **_volatility(), **_volume(), **_shape()}


COLUMNS: dict[str, Column] = {**{name: column for name, (column, _) in _gridded().items()}, **_INDICATORS}


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    rows = bars(candles, "taker_buy_volume")
    gridded = (
        hourly(rows)
        .with_columns(_base())
        .with_columns(
            _sd=(rolling(pl.col("_r").pow(2), SCALE_HOURS) + TINY).sqrt(),
            _surprise=pl.col("_r") / variance_before(pl.col("_r")).sqrt(),
        )
        .select("symbol", "ts", "is_bar", *[expr.alias(name) for name, (_, expr) in _gridded().items()])
        .filter("is_bar")
        .drop("is_bar")
    )
    indicators = rows.select("symbol", "ts", *_indicators())
    return finite(gridded.join(indicators, on=["symbol", "ts"], how="left"), list(COLUMNS))


FAMILY = FeatureFamily("technical", {"candles": "curated/candles"}, MAX_LOOKBACK, COLUMNS, compute)
