"""The world outside: the US 10-year yield and the VIX, the same for every coin, as published: weekends carry Friday on."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import bars, change, clock, finite, z_score
from crypto_assets.features._family import Column, FeatureFamily

MAX_AGE = timedelta(days=6)
"""A long weekend and a day's publication lag."""
MONTH = 720


def _days(days: int) -> timedelta:
    return MAX_AGE + timedelta(days=days)


COLUMNS = {
    "ten_year": Column("US 10-year Treasury yield", "per cent", MAX_AGE),
    "ten_year_change_1d": Column("its change in a day", "percentage points", _days(1)),
    "ten_year_change_7d": Column("its change in a week", "percentage points", _days(7)),
    "ten_year_z_30d": Column("it against its last 30 days", "sd", _days(30)),
    "vix": Column("log of the VIX close", "log", MAX_AGE),
    "vix_change_1d": Column("its change in a day", "log", _days(1)),
    "vix_change_7d": Column("its change in a week", "log", _days(7)),
    "vix_z_30d": Column("it against its last 30 days", "sd", _days(30)),
}


def compute(candles: pl.LazyFrame, treasury: pl.LazyFrame, vix: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    hours = as_known(treasury, clock(candles), by=(), max_age=MAX_AGE, columns=["yield_pct"])
    hours = as_known(vix, hours, by=(), max_age=MAX_AGE, columns=["close"])
    series = {"ten_year": pl.col("yield_pct"), "vix": pl.col("close").log()}
    moves: dict[str, pl.Expr] = {}
    for name, level in series.items():
        moves |= {name: level, f"{name}_z_30d": z_score(level, MONTH)}
        moves |= {f"{name}_change_{d}d": change(level, d) for d in (1, 7)}
    shared = hours.select("ts", **moves)
    rows = bars(candles).select("symbol", "ts").join(shared, on="ts", how="left")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


FAMILY = FeatureFamily(
    "macro",
    {"candles": "curated/candles", "treasury": "raw/treasury_10y", "vix": "raw/cboe_vix"},
    timedelta(days=37),
    COLUMNS,
    compute,
)
