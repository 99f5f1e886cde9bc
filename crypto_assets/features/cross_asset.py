"""Each coin against the others and against Bitcoin, at each hourly close.

The market is the equal-weight mean of the coins that have a return at that hour; a rank is 0 in the middle, -0.5 and 0.5 at the
ends. Both need at least three coins. Without Bitcoin among the coins its columns are null.
"""

from __future__ import annotations

import math
from datetime import timedelta

import polars as pl

from crypto_assets.features import _rotation as more
from crypto_assets.features._bars import TINY, bars, by_blocks, finite, hourly, log_return, regression, rolling, variance_before
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._totals import COUNT, mean, totals

LEADER = "BTC"
LAGS = range(6)
SPANS = (4, 24, 168)
RANKED = (1, 4, 24, 72, 168, 672)
REGIME_SPANS = (72, 168)
BETA_HOURS = 168
FEWEST = 3
BARS = timedelta(days=38)
"""The trend of a week of surprises, each against 512 h of returns, and a week without a bar."""
DAILY = timedelta(days=55)
"""Of the capitalisations: the same, the week of their change and the oldest day that counts."""


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


SHARED = tuple(
    c
    for c in COLUMNS
    if c.startswith(("btc_return", "btc_surprise", "market_", "relative_trend", "breadth", "dispersion")) or c in more.SHARED
)
"""Columns that are the same for every coin."""
RANKABLE = ("_r", *(f"_r{h}" for h in RANKED if h > 1), "_rv24", "_rv168", "_rv672", "_value", "_shock")


def _coins(prices: pl.DataFrame) -> pl.DataFrame:
    """Each coin's own numbers on the complete hourly grid."""
    r2 = pl.col("_r").pow(2)
    value = pl.col("close") * pl.col("volume")
    mean_volume = rolling(pl.col("volume"), 168)
    grid = hourly(prices.lazy()).with_columns(_r=log_return(), **{f"_r{h}": log_return(h) for h in RANKED if h > 1})
    rows = grid.with_columns(
        _sd=(rolling(r2, BETA_HOURS) + TINY).sqrt(),
        _rv24=rolling(r2, 24),
        _rv168=rolling(r2, 168),
        _rv672=rolling(r2, 672),
        _surprise=pl.col("_r") / variance_before(pl.col("_r")).sqrt(),
        _value=rolling(value, 168),
        _shock=pl.col("volume") / pl.when(mean_volume > 0).then(mean_volume),
    ).with_columns(
        _scaled=pl.col("_r") / pl.col("_sd"),
        _before=pl.when(pl.col("_r").is_not_null()).then(pl.col("_surprise").shift(1).over("symbol")),
    )
    return rows.drop("open", "high", "low", "volume").collect()


def _across(coins: pl.DataFrame) -> pl.DataFrame:
    """What one hour says over all coins that have a bar."""
    names = ("_r", "_scaled", "_surprise", "_before", "_r24")
    shares = {"_rose": (pl.col("_r") > 0).cast(pl.Float64), "_rose_24h": (pl.col("_r24") > 0).cast(pl.Float64)}
    sums = totals(coins, ["ts"], {n: pl.col(n) for n in names} | shares)
    middle = sums.select("ts", **{f"{n}_mean": mean(n) for n in names})
    rows = coins.select("ts", *names).join(middle, on="ts", how="left", maintain_order="left")
    # what each coin did beyond the market, this hour and the hour before
    beyond = {n: pl.col(n) - pl.col(f"{n}_mean") for n in names}
    squares = {"_spread": beyond["_r"].pow(2), "_spread_24h": beyond["_r24"].pow(2)}
    second = totals(rows, ["ts"], squares | {"_product": beyond["_surprise"] * beyond["_before"]}).drop("ts")
    market = {
        "_market": mean("_r"),
        "_market_scaled": mean("_scaled"),
        "market_surprise": mean("_surprise"),
        "_relative_product": mean("_product"),
        "breadth_1h": mean("_rose") - 0.5,
        "breadth_24h": mean("_rose_24h") - 0.5,
        "dispersion_1h": (_deviation("_spread") + TINY).log(),
        "dispersion_24h": (_deviation("_spread_24h") + TINY).log(),
    }
    leader = coins.filter(pl.col("symbol") == LEADER)
    leader = leader.select("ts", _btc="_r", _btc_scaled="_scaled", btc_surprise="_surprise")
    enough = pl.col(f"{COUNT}_r") >= FEWEST
    hours = pl.concat([sums, second], how="horizontal")
    hours = hours.select("ts", *[pl.when(enough).then(expr).alias(name) for name, expr in market.items()])
    return hours.join(leader, on="ts", how="left", maintain_order="left")


def _deviation(squares: str) -> pl.Expr:
    """Standard deviation from a sum of squared deviations of `totals`."""
    n = pl.col(f"{COUNT}{squares}")
    return pl.when(n > 1).then((pl.col(squares) / (n - 1)).sqrt())


def _market(coins: pl.DataFrame) -> pl.DataFrame:
    """The market and Bitcoin at each hour, on its own complete grid, with lags and sums."""
    hours = _across(coins)
    series = {"market": pl.col("_market_scaled"), "btc": pl.col("_btc_scaled")}
    lags = {f"{n}_return_lag_{k}h": s.shift(k).over("symbol") for n, s in series.items() for k in LAGS}
    sums = {f"{n}_return_{h}h": rolling(s, h, "total") / math.sqrt(h) for n, s in series.items() for h in SPANS}
    variance = (rolling(pl.col("_market").pow(2), 24) + TINY).log()
    grid = hourly(hours.lazy().with_columns(symbol=pl.lit("market")))
    product = pl.col("market_surprise") * pl.col("market_surprise").shift(1).over("symbol")
    sums |= {f"market_trend_{h}h": rolling(product, h) for h in REGIME_SPANS}
    sums |= {f"relative_trend_{h}h": rolling(pl.col("_relative_product"), h) for h in REGIME_SPANS}
    return grid.with_columns(**lags, **sums, market_log_rv_24h=variance).drop("symbol", "is_bar").collect()


def _rank(expr: pl.Expr) -> pl.Expr:
    """Rank among the coins at the same hour, -0.5 to 0.5; null with fewer than three."""
    known = expr.count().over("ts")
    return pl.when(known >= FEWEST).then((expr.rank("average").over("ts") - 0.5) / known - 0.5)


def _against(rows: pl.DataFrame) -> pl.DataFrame:
    """Each coin against the market and Bitcoin, at its bars."""
    beta, _ = regression("_market", "_r", BETA_HOURS)
    btc_beta, btc_correlation = regression("_btc", "_r", BETA_HOURS)
    rows = rows.with_columns(beta_168h=beta, btc_beta_168h=btc_beta, btc_correlation_168h=btc_correlation)
    rows = rows.with_columns(_residual=pl.col("_r") - pl.col("beta_168h") * pl.col("_market"))
    residual = pl.col("_residual")
    own = {f"residual_lag_{k}h": residual.shift(k).over("symbol") / pl.col("_sd") for k in LAGS}
    own |= {f"residual_{h}h": rolling(residual, h, "total") / (pl.col("_sd") * math.sqrt(h)) for h in SPANS}
    own |= {f"trend_return_{h}h": pl.col(f"relative_trend_{h}h") * pl.col("_surprise") for h in REGIME_SPANS}
    kept = [c for c in rows.columns if c in COLUMNS and c not in SHARED]
    return rows.with_columns(**own).filter("is_bar").select("symbol", "ts", *RANKABLE, *kept, *own)


def _among(rows: pl.DataFrame) -> pl.DataFrame:
    """Ranks and distances among the coins that have a bar at the same hour."""
    ranks = {f"rank_return_{h}h": _rank(pl.col(f"_r{h}" if h > 1 else "_r")) for h in RANKED}
    ranks |= {f"rank_volatility_{h}h": _rank(pl.col(f"_rv{h}")) for h in (24, 168, 672)}
    ranks |= {
        "rank_value_168h": _rank(pl.col("_value")),
        "rank_volume_shock": _rank(pl.col("_shock")),
        "rank_beta": _rank(pl.col("beta_168h")),
    }
    logs = {f"relative_log_rv_{h}h": (pl.col(f"_rv{h}") + TINY).log() for h in (24, 168)}
    level = totals(rows, ["ts"], logs).select("ts", **{f"{n}_mean": mean(n) for n in logs})
    rows = rows.join(level, on="ts", how="left", maintain_order="left")
    return rows.select(**ranks, **{n: log - pl.col(f"{n}_mean") for n, log in logs.items()})


def compute(candles: pl.LazyFrame, closes: pl.LazyFrame, onchain: pl.LazyFrame, coingecko: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar. `closes` are candles that reach further back.

    What is the same for every coin joins last and lazily, so that it is laid out for the rows that are wanted alone.
    """
    coins = by_blocks(bars(candles).collect(), _coins)
    own, of_hours = more.rotation(coins, closes, onchain, coingecko)
    market = _market(coins)
    needed = market.select("ts", "_market", "_btc", *[f"relative_trend_{h}h" for h in REGIME_SPANS])
    rows = pl.concat([coins, own], how="horizontal").join(needed, on="ts", how="left", maintain_order="left")
    del coins, own
    rows = by_blocks(rows, _against)
    rows = pl.concat([rows.drop(RANKABLE), _among(rows)], how="horizontal")
    shared = market.join(of_hours, on="ts", how="left", maintain_order="left").select("ts", *SHARED)
    whole = rows.lazy().join(shared.lazy(), on="ts", how="left", maintain_order="left")
    return finite(whole.select("symbol", "ts", *COLUMNS), list(COLUMNS))


FAMILY = FeatureFamily(
    "cross_asset",
    {
        "candles": "curated/candles",
        "closes": "curated/candles",
        "onchain": "raw/coinmetrics_onchain",
        "coingecko": "raw/coingecko_market",
    },
    more.LOOKBACK,
    COLUMNS,
    compute,
    lookbacks={"candles": BARS, "onchain": DAILY, "coingecko": DAILY},
)
