"""Resting orders by distance from the price, for the family `microstructure`: imbalance, slope, depth against its past."""

from __future__ import annotations

import math
from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._daily import first_prints, rolling_by, side_by_side
from crypto_assets.features._family import Column

MAX_AGE = timedelta(hours=40)
"""A day's snapshots come at 10:00 of the next: the last is then 11 hours old, and 34 before the next day's come."""
BANDS = {"bid_near": -1.0, "ask_near": 1.0, "bid_far": -5.0, "ask_far": 5.0}
"""Column -> band: what rests within that many per cent below or above the price."""
FAR_OVER_NEAR = math.log(5)
LEAST = 100
"""Fewest hours in a mean and standard deviation of a week."""
WEEK, DAY = timedelta(days=7), timedelta(days=1)

COLUMNS = {
    "imbalance_1pct": Column("bids less asks within 1 % of the price, of both", "-1 to 1", MAX_AGE),
    "imbalance_5pct": Column("bids less asks within 5 % of the price, of both", "-1 to 1", MAX_AGE),
    "imbalance_1pct_24h": Column("mean of imbalance_1pct over the last 24 snapshots' hours", "-1 to 1", MAX_AGE + DAY),
    "bid_slope": Column("slope of log bids on log distance from 1 to 5 %", "", MAX_AGE),
    "ask_slope": Column("slope of log asks on log distance from 1 to 5 %", "", MAX_AGE),
    "depth_change_24h": Column("log change over 24 h of what rests within 1 %", "log", MAX_AGE + DAY),
    "depth_z_168h": Column("log of what rests within 1 % against its last 168 h", "sd", MAX_AGE + WEEK),
    "depth_age": Column("time since the hour of the snapshot began", "hours", MAX_AGE),
}


def depth_columns(depth: pl.LazyFrame, grid: pl.DataFrame) -> pl.DataFrame:
    """COLUMNS at each row of a grid of symbol and ts, in its order. A snapshot that lacks one of the bands does not count."""
    rows = depth.with_columns(value="notional_usd").filter(pl.col("value") > 0)
    prints = first_prints(side_by_side(rows, ["symbol"], "band_pct", BANDS), ["symbol"])
    near, far = _imbalance("near"), _imbalance("far")
    total = (pl.col("bid_near") + pl.col("ask_near")).log()
    mean, spread = rolling_by(pl.col("_total"), WEEK, LEAST, ["symbol"])
    yesterday = prints.select("symbol", pl.col("ts") + DAY, _before=total)
    found = (
        prints.with_columns(imbalance_1pct=near, imbalance_5pct=far, _total=total)
        .with_columns(
            imbalance_1pct_24h=rolling_by(pl.col("imbalance_1pct"), DAY, 18, ["symbol"])[0],
            bid_slope=(pl.col("bid_far") / pl.col("bid_near")).log() / FAR_OVER_NEAR,
            ask_slope=(pl.col("ask_far") / pl.col("ask_near")).log() / FAR_OVER_NEAR,
            depth_z_168h=(pl.col("_total") - mean) / pl.when(spread > 1e-9).then(spread),
        )
        .join(yesterday, on=["symbol", "ts"], how="left")
        .with_columns(depth_change_24h=pl.col("_total") - pl.col("_before"))
    )
    columns = [c for c in COLUMNS if c != "depth_age"]
    return as_known(found, grid.lazy(), max_age=MAX_AGE, columns=columns, age_hours="depth_age").select(list(COLUMNS)).collect()


def _imbalance(where: str) -> pl.Expr:
    bid, ask = pl.col(f"bid_{where}"), pl.col(f"ask_{where}")
    return (bid - ask) / (bid + ask)
