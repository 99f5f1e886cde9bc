"""What the blockchains say: activity, value held, flows to and from exchanges, by coin; Bitcoin's also for every coin.

Every value is the newest day known at the decision time, at most five days old; changes compare what is known now with what was
known then. A metric a coin's provider does not carry is null.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import bars, change, clock, finite, hourly, z_score
from crypto_assets.features._family import Column, FeatureFamily

MAX_AGE = timedelta(days=5)
MONTH = 720
LOGS = {
    "AdrActCnt": "active_addresses",
    "TxCnt": "transactions",
    "HashRate": "hash_rate",
    "FeeTotNtv": "fees",
    "IssTotUSD": "issuance",
}
NAMES = {
    "AdrActCnt": "active addresses",
    "TxCnt": "transactions",
    "HashRate": "hash rate",
    "FeeTotNtv": "fees",
    "IssTotUSD": "the value of the coins issued",
}
METRICS = (*LOGS, "CapMVRVCur", "FlowInExNtv", "FlowOutExNtv", "SplyExNtv", "SplyCur")
LEADER = "BTC"
FOR_ALL = ("active_addresses_z_30d", "hash_rate_change_7d", "mvrv", "mvrv_change_7d", "exchange_flow", "exchange_flow_7d")
"""Bitcoin's columns that every coin gets, as `btc_...`."""


def _days(days: int) -> timedelta:
    return MAX_AGE + timedelta(days=days)


def _columns() -> dict[str, Column]:
    out = {}
    for metric, name in LOGS.items():
        words = NAMES[metric]
        out[f"{name}_change_1d"] = Column(f"log change of {words} in a day", "log", _days(1))
        out[f"{name}_change_7d"] = Column(f"log change of {words} in a week", "log", _days(7))
        out[f"{name}_z_30d"] = Column(f"log of {words} against the last 30 days", "sd", _days(30))
    out["mvrv"] = Column("log of market over realised capitalisation", "log", MAX_AGE)
    out["mvrv_change_7d"] = Column("its change in a week", "log", _days(7))
    out["exchange_flow"] = Column("net flow to exchanges in a day over what they hold", "fraction", MAX_AGE)
    out["exchange_flow_7d"] = Column("log change in a week of the supply that exchanges hold", "log", _days(7))
    own = dict(out)
    return out | {f"btc_{c}": Column(f"Bitcoin: {own[c].meaning}", own[c].unit, own[c].lookback) for c in FOR_ALL}


COLUMNS = _columns()
OWN = [c for c in COLUMNS if not c.startswith("btc_")]


def compute(candles: pl.LazyFrame, onchain: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    own = _of(hourly(bars(candles).select("symbol", "ts")), onchain)
    leader = onchain.filter(pl.col("symbol") == LEADER).with_columns(symbol=pl.lit("market"))
    shared = _of(clock(candles), leader).select("ts", *[pl.col(c).alias(f"btc_{c}") for c in FOR_ALL])
    rows = own.filter("is_bar").join(shared, on="ts", how="left")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _of(grid: pl.LazyFrame, onchain: pl.LazyFrame) -> pl.LazyFrame:
    """The own columns of every symbol of a complete hourly grid."""
    for metric in METRICS:
        values = onchain.filter(pl.col("metric") == metric).rename({"value": metric})
        grid = as_known(values, grid, max_age=MAX_AGE, columns=[metric])
    out: dict[str, pl.Expr] = {}
    for metric, name in LOGS.items():
        log = _log(pl.col(metric))
        out |= {f"{name}_change_{d}d": change(log, d) for d in (1, 7)} | {f"{name}_z_30d": z_score(log, MONTH)}
    held = pl.when(pl.col("SplyExNtv") > 0).then(pl.col("SplyExNtv"))
    out["mvrv"] = _log(pl.col("CapMVRVCur"))
    out["mvrv_change_7d"] = change(out["mvrv"], 7)
    out["exchange_flow"] = (pl.col("FlowInExNtv") - pl.col("FlowOutExNtv")) / held
    out["exchange_flow_7d"] = change(_log(held / pl.col("SplyCur")), 7)
    return grid.with_columns(**out)


def _log(expr: pl.Expr) -> pl.Expr:
    return pl.when(expr > 0).then(expr).log()


FAMILY = FeatureFamily(
    "onchain",
    {"candles": "curated/candles", "onchain": "raw/coinmetrics_onchain"},
    timedelta(days=37),
    COLUMNS,
    compute,
)
