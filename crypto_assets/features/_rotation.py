"""Where the money is: Bitcoin's share, the season of other coins, sectors, co-movement by capitalisation, for `cross_asset`.

The average correlation is Cboe's formula for implied correlation with realised variances: the variance of the
capitalisation-weighted market says what the mean correlation of its coins is.
"""

from __future__ import annotations

import math
from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import TINY, by_blocks, regression, rolling
from crypto_assets.features._daily import MAX_AGE
from crypto_assets.features._family import Column
from crypto_assets.features._totals import COUNT, mean, means, totals
from crypto_assets.market.sectors import SECTORS

LEADER = "BTC"
FEWEST = 3
WEEK_H = 168
DAYS = (1, 7)
SEASON = timedelta(days=90)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
LOOKBACK = SEASON + WEEK + 2 * DAY

COLUMNS = {
    "btc_dominance": Column(
        "Bitcoin's share of the capitalisation of the day's coins, as last published", "fraction", MAX_AGE + DAY
    ),
    **{
        f"btc_dominance_change_{d}d": Column(
            f"its change over {d} d, among the coins known at both times", "fraction", MAX_AGE + timedelta(days=d + 1)
        )
        for d in DAYS
    },
    "altcoin_season": Column(
        "share of the other coins that rose more than Bitcoin in 90 days to the last midnight, less a half",
        "fraction",
        SEASON + 2 * DAY,
    ),
    "altcoin_season_change_7d": Column("its change over 7 d", "fraction", SEASON + WEEK + 2 * DAY),
    **{
        f"sector_return_{h}h": Column(
            f"mean scaled return of the coin's sector less the market's, sum of {h} h", "sd", timedelta(hours=WEEK_H + h + 1)
        )
        for h in (24, WEEK_H)
    },
    "own_less_sector_24h": Column(
        "scaled return less the mean of the coin's sector, sum of 24 h", "sd", timedelta(hours=WEEK_H + 25)
    ),
    "cap_correlation_168h": Column(
        "correlation of the coin's hourly returns with the others', weighted by capitalisation",
        "",
        MAX_AGE + timedelta(hours=WEEK_H),
    ),
    "average_correlation_168h": Column(
        "mean correlation of the week's coins, weighted by capitalisation (Cboe's formula)",
        "",
        MAX_AGE + timedelta(hours=WEEK_H + 1),
    ),
    "btc_lead_correlation_168h": Column(
        "correlation of the coin's hourly returns with Bitcoin's of the hour before", "", timedelta(hours=WEEK_H + 2)
    ),
}

OWN = (
    *("sector_return_24h", "sector_return_168h", "own_less_sector_24h"),
    *("cap_correlation_168h", "btc_lead_correlation_168h"),
)
SHARED = tuple(c for c in COLUMNS if c not in OWN)
"""Those of a coin, and those that are the same for every coin."""


def rotation(
    coins: pl.DataFrame, closes: pl.LazyFrame, onchain: pl.LazyFrame, coingecko: pl.LazyFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """OWN at each row of `coins` (symbol, ts, close, `_r`, `_scaled` on complete hourly grids, sorted); ts and SHARED by hour.

    `closes` are candles that reach back `LOOKBACK`; only each day's last one counts. Capitalisations are Coin Metrics', and
    CoinGecko's for a coin that Coin Metrics has not.
    """
    rows = coins.select("symbol", "ts", "close", "_r", "_scaled")
    # a coin counts as long as it had a bar within the day: whether it will have one again is not known
    every = _every_hour(rows.select("symbol", "ts", "close"))
    every = every.with_columns(_cap=_caps(every, onchain, coingecko)).select("symbol", "ts", _cap=_of_the_day("_cap"))
    rows = rows.join(every, on=["symbol", "ts"], how="left", maintain_order="left")
    sums = _weighted(rows).join(_dominance(every), on="ts", how="left", maintain_order="left")
    rows = rows.with_columns(_sector_of=pl.col("symbol").replace_strict(SECTORS, default=None, return_dtype=pl.String))
    sectors = means(rows, ["_sector_of", "ts"], ["_scaled"]).rename({"_scaled": "_sector"})
    rows = rows.join(sectors, on=["_sector_of", "ts"], how="left", maintain_order="left")
    market = sums.select("ts", "_caps", "_cap_returns", "_market", "_btc")
    rows = rows.join(market, on="ts", how="left", maintain_order="left")
    hours = sums.with_columns(_day=pl.col("ts").dt.truncate("1d")).join(_season(closes), on="_day", how="left")
    return by_blocks(rows, _columns), hours.select("ts", *SHARED)


def _columns(rows: pl.DataFrame) -> pl.DataFrame:
    """The rolling columns on each coin's grid."""
    weight = pl.when(pl.col("_r").is_not_null()).then(pl.col("_cap"))
    rest = pl.col("_caps") - weight
    others = pl.when(rest > 0).then((pl.col("_cap_returns") - weight * pl.col("_r")) / rest)
    relative, own = pl.col("_sector") - pl.col("_market"), pl.col("_scaled") - pl.col("_sector")
    rows = rows.with_columns(_others=others, _before=pl.col("_btc").shift(1).over("symbol"))
    return rows.select(
        **{f"sector_return_{h}h": rolling(relative, h, "total") / math.sqrt(h) for h in (24, WEEK_H)},
        own_less_sector_24h=rolling(own, 24, "total") / math.sqrt(24),
        cap_correlation_168h=regression("_others", "_r", WEEK_H)[1],
        btc_lead_correlation_168h=regression("_before", "_r", WEEK_H)[1],
    )


def _caps(rows: pl.DataFrame, onchain: pl.LazyFrame, coingecko: pl.LazyFrame) -> pl.Series:
    """The capitalisation last published of each row's coin, in USD."""
    grid = rows.lazy().select("symbol", "ts")
    caps = onchain.filter(pl.col("metric") == "CapMrktCurUSD", pl.col("value") > 0)
    grid = as_known(caps, grid, max_age=MAX_AGE, columns=["value"])
    grid = as_known(coingecko.filter(pl.col("market_cap_usd") > 0), grid, max_age=MAX_AGE, columns=["market_cap_usd"])
    return grid.select(pl.coalesce("value", "market_cap_usd")).collect().to_series()


def _dominance(rows: pl.DataFrame) -> pl.DataFrame:
    """ts, Bitcoin's share and its changes, each among the coins known now and then."""
    before = {d: pl.col(f"_cap_{d}") for d in DAYS}
    earlier = rows.with_columns(pl.col("_cap").shift(24 * d).over("symbol").alias(f"_cap_{d}") for d in DAYS)
    values = {"now": pl.col("_cap")}
    for d in DAYS:
        both = pl.col("_cap").is_not_null() & before[d].is_not_null()
        values |= {f"now_{d}": pl.when(both).then(pl.col("_cap")), f"then_{d}": pl.when(both).then(before[d])}
    sums = totals(earlier, ["ts"], values)
    leader = earlier.filter(pl.col("symbol") == LEADER).select("ts", **{f"leader_{n}": value for n, value in values.items()})
    sums = sums.join(leader, on="ts", how="left", maintain_order="left")

    def share(name: str) -> pl.Expr:
        return pl.when(pl.col(f"{COUNT}{name}") >= FEWEST).then(pl.col(f"leader_{name}") / pl.col(name))

    changes = {f"btc_dominance_change_{d}d": share(f"now_{d}") - share(f"then_{d}") for d in DAYS}
    return sums.select("ts", btc_dominance=share("now"), **changes)


def _weighted(rows: pl.DataFrame) -> pl.DataFrame:
    """ts, sums over the coins whose capitalisation and return are known, the market's and Bitcoin's return, the correlation.

    With x a coin's part of the weighted return, 0 at an hour without a bar of it, the variance of the sum less the sum of the
    variances is what the pairs add: for every coin of the week, whether it has a bar now or not.
    """
    weight = pl.when(pl.col("_r").is_not_null()).then(pl.col("_cap"))
    values = {"_caps": weight, "_cap_returns": weight * pl.col("_r"), "_scaled": pl.col("_scaled")}
    sums = totals(rows, ["ts"], values).select(
        "ts",
        pl.when(pl.col("_caps") > 0).then(pl.col("_caps")).alias("_caps"),
        "_cap_returns",
        _market=pl.when(pl.col(f"{COUNT}_scaled") >= FEWEST).then(mean("_scaled")),
    )
    leader = rows.filter(pl.col("symbol") == LEADER).select("ts", _btc="_r")
    sums = sums.join(leader, on="ts", how="left", maintain_order="left")
    parts = _every_hour(rows.select("symbol", "ts", _part=weight * pl.col("_r")))
    parts = parts.join(sums.select("ts", "_caps"), on="ts", how="left", maintain_order="left")
    parts = parts.select("symbol", "ts", _x=(pl.col("_part") / pl.col("_caps")).fill_null(0.0))
    parts = by_blocks(parts, lambda block: block.with_columns(_var=_variance("_x")))
    values = {"_x": pl.col("_x"), "_own": pl.col("_var"), "_sd": pl.col("_var").sqrt()}
    hours = totals(parts, ["ts"], values).rename({f"{COUNT}_own": "_coins"}).sort("ts").with_columns(symbol=pl.lit("market"))
    pairs = pl.col("_sd").pow(2) - pl.col("_own")
    enough = (pl.col("_coins") >= FEWEST) & (pairs > TINY)
    hours = hours.with_columns(average_correlation_168h=pl.when(enough).then((_variance("_x") - pl.col("_own")) / pairs))
    return sums.join(hours.select("ts", "average_correlation_168h"), on="ts", how="left", maintain_order="left").sort("ts")


def _every_hour(rows: pl.DataFrame) -> pl.DataFrame:
    """Every coin at every hour from the first to the last of all, null where it has no row."""
    ends = rows.select(first=pl.col("ts").min(), last=pl.col("ts").max()).drop_nulls()
    hours = ends.select(ts=pl.datetime_ranges("first", "last", "1h")).explode("ts")
    grid = rows.select("symbol").unique(maintain_order=True).join(hours, how="cross", maintain_order="left_right")
    return grid.join(rows, on=["symbol", "ts"], how="left", maintain_order="left")


def _of_the_day(column: str) -> pl.Expr:
    """Null where the coin has had no bar for a day."""
    seen = pl.when(pl.col("close").is_not_null()).then(pl.col("ts")).forward_fill().over("symbol")
    return pl.when(pl.col("ts") - seen < DAY).then(pl.col(column))


def _variance(column: str) -> pl.Expr:
    """Variance over a week; null where nothing moved."""
    variance = rolling(pl.col(column).pow(2), WEEK_H) - rolling(pl.col(column), WEEK_H).pow(2)
    return pl.when(variance > TINY * 1e-3).then(variance)


def _season(candles: pl.LazyFrame) -> pl.DataFrame:
    """`_day`, the altcoin season of the closes at that midnight, and its change in a week."""
    bars = candles.select("symbol", pl.col("ts") + pl.duration(hours=1), "close")
    closes = bars.filter(pl.col("ts") == pl.col("ts").dt.truncate("1d"), pl.col("close").is_not_null()).collect()
    before = closes.select("symbol", pl.col("ts") + SEASON, _before="close")
    rose = closes.join(before, on=["symbol", "ts"], how="inner").with_columns(rose=pl.col("close") / pl.col("_before"))
    leader = rose.filter(pl.col("symbol") == LEADER).select("ts", _leader="rose")
    others = rose.filter(pl.col("symbol") != LEADER).join(leader, on="ts", how="inner")
    better = pl.col("rose") > pl.col("_leader")
    days = others.group_by("ts").agg(altcoin_season=pl.when(pl.len() >= FEWEST).then(better.mean() - 0.5))
    week = days.select(pl.col("ts") + WEEK, _then="altcoin_season")
    change = pl.col("altcoin_season") - pl.col("_then")
    return days.join(week, on="ts", how="left").select(
        pl.col("ts").alias("_day"), "altcoin_season", altcoin_season_change_7d=change
    )
