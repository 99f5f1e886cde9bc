"""Value locked in decentralised finance: of the coin's own chain, and in all.

The provider restates its past; a restated day counts only from the moment it was seen.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import bars, change, clock, finite, hourly, z_score
from crypto_assets.features._family import Column, FeatureFamily

CHAINS = {"ETH": "Ethereum", "SOL": "Solana", "POL": "Polygon", "ADA": "Cardano"}
"""Coin -> chain whose native coin it is."""
TOTAL = "Total"
MAX_AGE = timedelta(days=5)
MONTH = 720


def _days(days: int) -> timedelta:
    return MAX_AGE + timedelta(days=days)


COLUMNS = {
    "chain_tvl_change_1d": Column("log change in a day of the value locked on the coin's chain", "log", _days(1)),
    "chain_tvl_change_7d": Column("log change in a week of the value locked on the coin's chain", "log", _days(7)),
    "chain_tvl_z_30d": Column("log of that value against its last 30 days", "sd", _days(30)),
    "chain_share_change_7d": Column("log change in a week of the chain's share of all value locked", "log", _days(7)),
    "total_tvl_change_1d": Column("log change in a day of all value locked", "log", _days(1)),
    "total_tvl_change_7d": Column("log change in a week of all value locked", "log", _days(7)),
    "total_tvl_z_30d": Column("log of all value locked against its last 30 days", "sd", _days(30)),
}


def compute(candles: pl.LazyFrame, tvl: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar. Coins without a chain of their own have nulls in `chain_...`."""
    log = pl.when(pl.col("tvl_usd") > 0).then(pl.col("tvl_usd")).log()
    tvl = tvl.with_columns(pl.col("chain").str.to_titlecase())  # imported history writes "ethereum"
    total = as_known(tvl.filter(pl.col("chain") == TOTAL), clock(candles), by=(), max_age=MAX_AGE, columns=["tvl_usd"])
    total = total.select("ts", log.alias("_total"), *_moves("total", log))
    of_coin = {chain: coin for coin, chain in CHAINS.items()}
    own = tvl.filter(pl.col("chain").is_in(list(of_coin))).with_columns(symbol=pl.col("chain").replace(of_coin))
    grid = hourly(bars(candles).select("symbol", "ts"))
    coins = as_known(own, grid, max_age=MAX_AGE, columns=["tvl_usd"]).with_columns(*_moves("chain", log))
    rows = coins.join(total, on="ts", how="left").sort("symbol", "ts")
    rows = rows.with_columns(chain_share_change_7d=change(log - pl.col("_total"), 7)).filter("is_bar")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _moves(name: str, log: pl.Expr) -> list[pl.Expr]:
    moves = [change(log, d).alias(f"{name}_tvl_change_{d}d") for d in (1, 7)]
    return [*moves, z_score(log, MONTH).alias(f"{name}_tvl_z_30d")]


FAMILY = FeatureFamily("defi", {"candles": "curated/candles", "tvl": "raw/defillama_tvl"}, timedelta(days=37), COLUMNS, compute)
