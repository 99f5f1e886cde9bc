"""Decentralised finance: value locked, yields, stablecoins, exchange volume, pools and votes, of the coin's own chain or
protocol and in all.

The providers restate their past: each day counts as it was first published.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features import _defi_more as more
from crypto_assets.features._bars import bars, clock, finite
from crypto_assets.features._daily import MAX_AGE, PAST, SLACK, WEEK, known_moves
from crypto_assets.features._family import Column, FeatureFamily

TOTAL = "Total"
LOOKBACK = timedelta(days=110)
"""90 days of means of a week, and the oldest day that counts."""

COLUMNS = {
    "chain_step": Column("log change on the last day of the value locked on the coin's chain", "log", MAX_AGE + SLACK),
    "chain_change_7d": Column("log change in a week of the value locked on the coin's chain", "log", MAX_AGE + WEEK + SLACK),
    "chain_z_90d": Column("log of that value against its last 90 days", "sd", MAX_AGE + PAST),
    "chain_share_change_7d": Column(
        "log change in a week of the chain's share of all value locked", "log", MAX_AGE + WEEK + SLACK
    ),
    "total_step": Column("log change on the last day of all value locked", "log", MAX_AGE + SLACK),
    "total_change_7d": Column("log change in a week of all value locked", "log", MAX_AGE + WEEK + SLACK),
    "total_z_90d": Column("log of all value locked against its last 90 days", "sd", MAX_AGE + PAST),
    **more.COLUMNS,
}


def compute(candles: pl.LazyFrame, market: pl.LazyFrame, tvl: pl.LazyFrame, **tables: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar.

    `market` are the candles of all coins, for their hours. Coins without a chain of their own have nulls in `chain_...`.
    """
    logs = tvl.filter(pl.col("tvl_usd") > 0).with_columns(log=pl.col("tvl_usd").log())
    total = known_moves(logs.filter(pl.col("chain") == TOTAL), clock(market), by=(), value="log", name="total")
    coin_of = {chain: coin for coin, chain in more.CHAINS.items()}
    own = logs.filter(pl.col("chain").is_in(list(coin_of))).with_columns(symbol=pl.col("chain").replace(coin_of))
    coins = known_moves(own, bars(candles).select("symbol", "ts"), by=["symbol"], value="log", name="chain")
    rows = coins.join(total.drop("symbol"), on="ts", how="left")
    rows = rows.with_columns(chain_share_change_7d=pl.col("chain_change_7d") - pl.col("total_change_7d"))
    grid, hours = bars(candles).select("symbol", "ts").collect(), clock(market).select("ts").collect()
    rows = rows.join(more.of_coins(grid, hours, tables).lazy(), on=["symbol", "ts"], how="left")
    rows = rows.join(more.of_all(hours, tables).lazy(), on="ts", how="left")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


FAMILY = FeatureFamily(
    "defi",
    {
        "candles": "curated/candles",
        "market": "curated/candles",
        "tvl": "raw/defillama_tvl",
        "yields": "raw/defillama_yields",
        "protocols": "raw/defillama_protocols",
        "stablecoins": "raw/defillama_stablecoins",
        "dex": "raw/defillama_dex_volume",
        "governance": "raw/snapshot_governance",
        "pools": "raw/dexscreener_pools",
    },
    LOOKBACK,
    COLUMNS,
    compute,
    grid="candles",
    lookbacks={"candles": timedelta(days=1), "market": timedelta(days=10)},
    by_coin=("candles",),
)
