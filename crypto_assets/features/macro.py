"""The world outside, the same for every coin, as published: the US 10-year yield, the VIX, the dollar, gold, silver, oil and
the World Bank's commodity indices. Weekends carry Friday on.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._bars import bars, clock, finite
from crypto_assets.features._daily import MAX_AGE, PAST, SLACK, STEP, WEEK, Series, known, known_moves, logs
from crypto_assets.features._family import Column, FeatureFamily

WEEKLY = timedelta(days=14)
"""Oil comes on Thursdays, up to the Monday before."""
MONTHLY = timedelta(days=45)
FURTHER = (
    (Series("dollar", "the dollar index (from the ECB's rates)"), "ecb", logs(pl.col("dxy_ecb"))),
    (Series("gold", "the price of gold"), "metals", logs(pl.col("gold_usd"))),
    (Series("gold_silver", "the price of gold in silver"), "metals", logs(pl.col("gold_usd") / pl.col("silver_usd"))),
    (Series("oil", "the price of WTI crude oil", max_age=WEEKLY), "oil", logs(pl.col("price_usd"))),
)
INDICES = {
    "Energy": Series("energy", "the index of energy prices", (STEP,), max_age=MONTHLY, spacing=MONTHLY),
    "Non-energy": Series("commodities", "the index of other commodities", (STEP,), max_age=MONTHLY, spacing=MONTHLY),
}
"""Of the World Bank, a value a month."""

COLUMNS = {
    "ten_year": Column("US 10-year Treasury yield", "per cent", MAX_AGE),
    "ten_year_step": Column("its change on the last trading day", "percentage points", MAX_AGE + SLACK),
    "ten_year_change_7d": Column("its change in a week", "percentage points", MAX_AGE + WEEK + SLACK),
    "ten_year_z_90d": Column("it against its last 90 days", "sd", MAX_AGE + PAST),
    "vix": Column("log of the VIX close", "log", MAX_AGE),
    "vix_step": Column("its change on the last trading day", "log", MAX_AGE + SLACK),
    "vix_change_7d": Column("its change in a week", "log", MAX_AGE + WEEK + SLACK),
    "vix_z_90d": Column("it against its last 90 days", "sd", MAX_AGE + PAST),
    **{n: c for series, _, _ in FURTHER for n, c in series.columns().items()},
    **{n: c for series in INDICES.values() for n, c in series.columns().items()},
}


def compute(candles: pl.LazyFrame, treasury: pl.LazyFrame, vix: pl.LazyFrame, **further: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    hours = known_moves(treasury, clock(candles), by=(), value="yield_pct", name="ten_year")
    positive = vix.filter(pl.col("close") > 0).with_columns(log=pl.col("close").log())
    hours = known_moves(positive, hours, by=(), value="log", name="vix").drop("symbol")
    rows = bars(candles).select("symbol", "ts").join(hours, on="ts", how="left")
    rows = rows.join(_further(clock(candles).select("ts").collect(), further).lazy(), on="ts", how="left")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _further(hours: pl.DataFrame, tables: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    wti = {**tables, "oil": tables["oil"].filter(pl.col("grade") == "WTI")}
    parts = [known(wti[table].with_columns(value=expr), hours, series) for series, table, expr in FURTHER]
    months = tables["worldbank"].with_columns(logs(pl.col("value")))
    parts += [known(months.filter(pl.col("series") == name), hours, series) for name, series in INDICES.items()]
    return pl.concat([hours, *parts], how="horizontal")


FAMILY = FeatureFamily(
    "macro",
    {
        "candles": "curated/candles",
        "treasury": "raw/treasury_10y",
        "vix": "raw/cboe_vix",
        "ecb": "raw/ecb_fixings",
        "metals": "raw/lbma_metals",
        "oil": "raw/eia_oil",
        "worldbank": "raw/worldbank_commodities",
    },
    timedelta(days=110),
    COLUMNS,
    compute,
    grid="candles",
    lookbacks={"candles": timedelta(days=1)},
    by_coin=("candles",),
)
