"""Each coin against the others and against Bitcoin, at each hourly close.

The market is the equal-weight mean of the coins that have a return at that hour; a rank is 0 in the middle, -0.5 and 0.5 at the
ends. Both need at least three coins. Without Bitcoin among the coins its columns are null.
"""

from __future__ import annotations

import math
from datetime import timedelta

import polars as pl

from crypto_assets.features import _rotation as more
from crypto_assets.features._bars import TINY, bars, finite, hourly, log_return, regression, rolling, variance_before
from crypto_assets.features._family import Column, FeatureFamily

LEADER = "BTC"
LAGS = range(6)
SPANS = (4, 24, 168)
RANKED = (1, 4, 24, 72, 168, 672)
REGIME_SPANS = (72, 168)
BETA_HOURS = 168
FEWEST = 3


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


def _columns() -> dict[str, Column]:
    out = {}
    week = _hours(BETA_HOURS)
    for k in LAGS:
        lag = _hours(BETA_HOURS + k + 1)
        out[f"btc_return_lag_{k}h"] = Column(
            f"Bitcoin's return of the bar closed {k} h ago, in its standard deviations", "sd", lag
        )
        out[f"market_return_lag_{k}h"] = Column(f"mean scaled return of all coins, {k} h ago", "sd", lag)
        out[f"residual_lag_{k}h"] = Column(
            f"return less beta times the market's, {k} h ago, in own standard deviations", "sd", lag
        )
    for h in SPANS:
        span = _hours(BETA_HOURS + h + 1)
        out[f"btc_return_{h}h"] = Column(f"Bitcoin's return over {h} h, in its standard deviations", "sd", span)
        out[f"market_return_{h}h"] = Column(f"mean scaled return of all coins over {h} h", "sd", span)
        out[f"residual_{h}h"] = Column(f"sum of the residuals over {h} h, in standard deviations", "sd", span)
    for h in RANKED:
        out[f"rank_return_{h}h"] = Column(f"rank of the return over {h} h among the coins", "-0.5 to 0.5", _hours(h + 1))
    for h in (24, 168, 672):
        out[f"rank_volatility_{h}h"] = Column(f"rank of the realised variance over {h} h", "-0.5 to 0.5", _hours(h + 1))
    for h in (24, 168):
        out[f"relative_log_rv_{h}h"] = Column(
            f"log realised variance over {h} h less its mean over the coins", "log", _hours(h + 1)
        )
    out["rank_value_168h"] = Column("rank of the value traded over 168 h", "-0.5 to 0.5", week)
    out["rank_volume_shock"] = Column("rank of the last hour's volume against the coin's mean of 168 h", "-0.5 to 0.5", week)
    out["rank_beta"] = Column("rank of beta_168h", "-0.5 to 0.5", week)
    for h in REGIME_SPANS:
        span = _hours(h + 300)
        out[f"market_trend_{h}h"] = Column(f"mean over {h} h of the market's surprise times the one before", "sd²", span)
        out[f"relative_trend_{h}h"] = Column(
            "the same of each coin's surprise less the market's, mean of all coins", "sd²", span
        )
        out[f"trend_return_{h}h"] = Column(
            f"relative_trend_{h}h times the coin's own last surprise: momentum or reversal", "sd³", span
        )
    out["btc_surprise"] = Column("Bitcoin's last return over the volatility expected of it (RiskMetrics)", "sd", _hours(300))
    out["market_surprise"] = Column("mean of the coins' last returns over the volatility expected of each", "sd", _hours(300))
    out["beta_168h"] = Column("slope of the coin's hourly returns on the market's", "", week)
    out["btc_beta_168h"] = Column("slope of the coin's hourly returns on Bitcoin's", "", week)
    out["btc_correlation_168h"] = Column("correlation of the coin's hourly returns with Bitcoin's", "", week)
    out["breadth_1h"] = Column("share of coins that rose, less a half", "fraction", _hours(2))
    out["breadth_24h"] = Column("share of coins that rose over 24 h, less a half", "fraction", _hours(25))
    out["dispersion_1h"] = Column("log of the spread (standard deviation over the coins) of 1 h returns", "log", _hours(2))
    out["dispersion_24h"] = Column("log of the spread of 24 h returns", "log", _hours(25))
    out["market_log_rv_24h"] = Column("log of the market's realised variance over 24 h", "log", _hours(25))
    return out


COLUMNS = _columns() | more.COLUMNS


def _coins(candles: pl.LazyFrame) -> pl.LazyFrame:
    """Each coin's own numbers on the complete hourly grid."""
    r2 = pl.col("_r").pow(2)
    value = pl.col("close") * pl.col("volume")
    mean_volume = rolling(pl.col("volume"), 168)
    return (
        hourly(bars(candles))
        .with_columns(_r=log_return(), **{f"_r{h}": log_return(h) for h in RANKED if h > 1})
        .with_columns(
            _sd=(rolling(r2, BETA_HOURS) + TINY).sqrt(),
            _rv24=rolling(r2, 24),
            _rv168=rolling(r2, 168),
            _rv672=rolling(r2, 672),
            _surprise=pl.col("_r") / variance_before(pl.col("_r")).sqrt(),
            _value=rolling(value, 168),
            _shock=pl.col("volume") / pl.when(mean_volume > 0).then(mean_volume),
        )
        .with_columns(
            _scaled=pl.col("_r") / pl.col("_sd"),
            _before=pl.col("_surprise").shift(1).over("symbol"),
        )
    )


def _across() -> list[pl.Expr]:
    """What one hour says over all coins that have a bar."""
    r, scaled, surprise, day = (pl.col(c) for c in ("_r", "_scaled", "_surprise", "_r24"))
    leader = pl.col("symbol") == LEADER
    # what each coin did beyond the market, this hour and the hour before
    relative, before = surprise - surprise.mean(), pl.col("_before") - pl.col("_before").mean()
    market = {
        "_market": r.mean(),
        "_market_scaled": scaled.mean(),
        "market_surprise": surprise.mean(),
        "_relative_product": (relative * before).mean(),
        "breadth_1h": (r > 0).mean() - 0.5,
        "breadth_24h": (day > 0).mean() - 0.5,
        "dispersion_1h": (r.std() + TINY).log(),
        "dispersion_24h": (day.std() + TINY).log(),
    }
    leading = {"_btc": r, "_btc_scaled": scaled, "btc_surprise": surprise}
    return [
        *[pl.when(r.count() >= FEWEST).then(expr).alias(name) for name, expr in market.items()],
        *[expr.filter(leader).first().alias(name) for name, expr in leading.items()],
    ]


def _market(coins: pl.DataFrame) -> pl.LazyFrame:
    """The market and Bitcoin at each hour, on its own complete grid, with lags and sums.

    Grouped eagerly and in row order: the order of a sum shows in its last digit, and the lazy optimiser does not keep it.
    """
    hours = coins.group_by("ts", maintain_order=True).agg(_across())
    series = {"market": pl.col("_market_scaled"), "btc": pl.col("_btc_scaled")}
    lags = {f"{n}_return_lag_{k}h": s.shift(k).over("symbol") for n, s in series.items() for k in LAGS}
    sums = {f"{n}_return_{h}h": rolling(s, h, "total") / math.sqrt(h) for n, s in series.items() for h in SPANS}
    variance = (rolling(pl.col("_market").pow(2), 24) + TINY).log()
    grid = hourly(hours.lazy().with_columns(symbol=pl.lit("market")))
    product = pl.col("market_surprise") * pl.col("market_surprise").shift(1).over("symbol")
    sums |= {f"market_trend_{h}h": rolling(product, h) for h in REGIME_SPANS}
    sums |= {f"relative_trend_{h}h": rolling(pl.col("_relative_product"), h) for h in REGIME_SPANS}
    return grid.with_columns(**lags, **sums, market_log_rv_24h=variance).drop("symbol", "is_bar")


def _rank(expr: pl.Expr) -> pl.Expr:
    """Rank among the coins at the same hour, -0.5 to 0.5; null with fewer than three."""
    known = expr.count().over("ts")
    return pl.when(known >= FEWEST).then((expr.rank("average").over("ts") - 0.5) / known - 0.5)


def compute(candles: pl.LazyFrame, onchain: pl.LazyFrame, coingecko: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    coins = _coins(candles).collect()
    beta, _ = regression("_market", "_r", BETA_HOURS)
    btc_beta, btc_correlation = regression("_btc", "_r", BETA_HOURS)
    rows = (
        coins.lazy()
        .join(_market(coins), on="ts", how="left")
        .join(more.rotation(coins, onchain, coingecko), on=["symbol", "ts"], how="left")
        .sort("symbol", "ts")
        .with_columns(beta_168h=beta, btc_beta_168h=btc_beta, btc_correlation_168h=btc_correlation)
        .with_columns(_residual=pl.col("_r") - pl.col("beta_168h") * pl.col("_market"))
    )
    residual = pl.col("_residual")
    own = {f"residual_lag_{k}h": residual.shift(k).over("symbol") / pl.col("_sd") for k in LAGS}
    own |= {f"residual_{h}h": rolling(residual, h, "total") / (pl.col("_sd") * math.sqrt(h)) for h in SPANS}
    own |= {f"trend_return_{h}h": pl.col(f"relative_trend_{h}h") * pl.col("_surprise") for h in REGIME_SPANS}
    rows = rows.with_columns(**own).filter("is_bar")
    ranks = {f"rank_return_{h}h": _rank(pl.col(f"_r{h}" if h > 1 else "_r")) for h in RANKED}
    ranks |= {f"rank_volatility_{h}h": _rank(pl.col(f"_rv{h}")) for h in (24, 168, 672)}
    ranks |= {
        "rank_value_168h": _rank(pl.col("_value")),
        "rank_volume_shock": _rank(pl.col("_shock")),
        "rank_beta": _rank(pl.col("beta_168h")),
    }
    logs = {h: (pl.col(f"_rv{h}") + TINY).log() for h in (24, 168)}
    relative = {f"relative_log_rv_{h}h": log - log.mean().over("ts") for h, log in logs.items()}
    return finite(rows.with_columns(**ranks, **relative).select("symbol", "ts", *COLUMNS), list(COLUMNS))


FAMILY = FeatureFamily(
    "cross_asset",
    {"candles": "curated/candles", "onchain": "raw/coinmetrics_onchain", "coingecko": "raw/coingecko_market"},
    more.LOOKBACK,
    COLUMNS,
    compute,
)
