"""The world outside: the US 10-year yield and the VIX, the same for every coin, as published: weekends carry Friday on."""

from __future__ import annotations

import polars as pl

from crypto_assets.features._bars import bars, clock, finite
from crypto_assets.features._daily import LOOKBACK, MAX_AGE, PAST, SLACK, WEEK, known_moves
from crypto_assets.features._family import Column, FeatureFamily

COLUMNS = {
    "ten_year": Column("US 10-year Treasury yield", "per cent", MAX_AGE),
    "ten_year_step": Column("its change on the last trading day", "percentage points", MAX_AGE + SLACK),
    "ten_year_change_7d": Column("its change in a week", "percentage points", MAX_AGE + WEEK + SLACK),
    "ten_year_z_90d": Column("it against its last 90 days", "sd", MAX_AGE + PAST),
    "vix": Column("log of the VIX close", "log", MAX_AGE),
    "vix_step": Column("its change on the last trading day", "log", MAX_AGE + SLACK),
    "vix_change_7d": Column("its change in a week", "log", MAX_AGE + WEEK + SLACK),
    "vix_z_90d": Column("it against its last 90 days", "sd", MAX_AGE + PAST),
}


def compute(candles: pl.LazyFrame, treasury: pl.LazyFrame, vix: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    hours = known_moves(treasury, clock(candles), by=(), value="yield_pct", name="ten_year")
    logs = vix.filter(pl.col("close") > 0).with_columns(log=pl.col("close").log())
    hours = known_moves(logs, hours, by=(), value="log", name="vix").drop("symbol")
    rows = bars(candles).select("symbol", "ts").join(hours, on="ts", how="left")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


FAMILY = FeatureFamily(
    "macro",
    {"candles": "curated/candles", "treasury": "raw/treasury_10y", "vix": "raw/cboe_vix"},
    LOOKBACK,
    COLUMNS,
    compute,
)
