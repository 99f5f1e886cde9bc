"""What the blockchains say: activity, value held, flows to and from exchanges, holders, by coin; Bitcoin's and Ethereum's also
for every coin.

Every value is the newest day known at the decision time, as first published. A metric a coin's provider does not carry is null.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features import _onchain_more as more
from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import bars, clock, finite
from crypto_assets.features._daily import MAX_AGE, PAST, SLACK, WEEK, known_moves
from crypto_assets.features._family import Column, FeatureFamily

LOGS = {
    "AdrActCnt": ("active_addresses", "active addresses"),
    "TxCnt": ("transactions", "transactions"),
    "HashRate": ("hash_rate", "the hash rate"),
    "FeeTotNtv": ("fees", "the fees paid"),
    "IssTotUSD": ("issuance", "the value of the coins issued"),
    "CapMVRVCur": ("mvrv", "market over realised capitalisation"),
    "SplyExNtv": ("exchange_supply", "the supply exchanges hold"),
}
LEVELS = ("mvrv",)
"""Names whose level says something by itself; of the others only the moves count."""
FLOWS = ("FlowInExNtv", "FlowOutExNtv", "SplyExNtv")
LEADER = "BTC"
FOR_ALL = (
    "active_addresses_z_90d",
    "hash_rate_change_7d",
    "mvrv",
    "mvrv_change_7d",
    "exchange_supply_change_7d",
    "exchange_flow",
)
"""Bitcoin's columns that every coin gets, as `btc_...`."""


def _columns() -> dict[str, Column]:
    out = {}
    for name, words in LOGS.values():
        if name in LEVELS:
            out[name] = Column(f"log of {words}", "log", MAX_AGE)
        out[f"{name}_step"] = Column(f"log change of {words} on the last day", "log", MAX_AGE + SLACK)
        out[f"{name}_change_7d"] = Column(f"log change of {words} in a week", "log", MAX_AGE + WEEK + SLACK)
        out[f"{name}_z_90d"] = Column(f"log of {words} against the last 90 days", "sd", MAX_AGE + PAST)
    out["exchange_flow"] = Column("net flow to exchanges in a day over what they hold", "fraction", MAX_AGE)
    own = dict(out)
    return out | {f"btc_{c}": Column(f"Bitcoin: {own[c].meaning}", own[c].unit, own[c].lookback) for c in FOR_ALL}


COLUMNS = _columns() | more.COLUMNS
LOOKBACK = timedelta(days=390)
"""The Puell multiple's year, its week's change and the oldest day that counts."""


def compute(candles: pl.LazyFrame, onchain: pl.LazyFrame, **others: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    grid, hours = bars(candles).select("symbol", "ts").collect(), clock(candles).select("ts").collect()
    tables = {"onchain": onchain, **others}
    own = _of(bars(candles).select("symbol", "ts"), onchain)
    leader = onchain.filter(pl.col("symbol") == LEADER).with_columns(symbol=pl.lit("market"))
    shared = _of(clock(candles), leader).select("ts", *[pl.col(c).alias(f"btc_{c}") for c in FOR_ALL])
    rows = own.join(shared, on="ts", how="left")
    rows = rows.join(more.of_coins(grid, tables).lazy(), on=["symbol", "ts"], how="left")
    rows = rows.join(more.of_chains(hours, tables).lazy(), on="ts", how="left")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _of(grid: pl.LazyFrame, onchain: pl.LazyFrame) -> pl.LazyFrame:
    """The own columns of every symbol of a grid."""
    value = pl.col("value")
    for metric, (name, _) in LOGS.items():
        series = onchain.filter((pl.col("metric") == metric) & (value > 0)).with_columns(value.log())
        grid = known_moves(series, grid, by=["symbol"], value="value", name=name)
    for metric in FLOWS:
        series = onchain.filter(pl.col("metric") == metric).rename({"value": metric})
        grid = as_known(series, grid, max_age=MAX_AGE, columns=[metric])
    held = pl.when(pl.col("SplyExNtv") > 0).then(pl.col("SplyExNtv"))
    return grid.with_columns(exchange_flow=(pl.col("FlowInExNtv") - pl.col("FlowOutExNtv")) / held)


FAMILY = FeatureFamily(
    "onchain",
    {
        "candles": "curated/candles",
        "onchain": "raw/coinmetrics_onchain",
        "blockchain_com": "raw/blockchain_com_charts",
        "mempool": "raw/mempool_mining",
        "bgeometrics": "raw/bgeometrics_onchain",
        "blockscout": "raw/blockscout_stats",
        "glassnode": "raw/glassnode_metrics",
        "santiment": "raw/santiment_metrics",
    },
    LOOKBACK,
    COLUMNS,
    compute,
    grid="candles",
    lookbacks={"candles": timedelta(days=1)},
    by_coin=("candles",),
)
