"""What the models are asked: returns and variance after each decision time. The only table that looks ahead."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._bars import hourly, of_each
from crypto_assets.lake import Derivation, Field, Table
from crypto_assets.market.time import HORIZONS, HOUR

AHEAD = max(HORIZONS.values())


class Targets(Table):
    """One row a coin and decision time; null where the future is not (or not yet) known. Known 24 h later."""

    name = "labels/targets"

    symbol: str
    ret_1h: float | None = Field(unit="log return", meaning="ln(close at ts + 1 h / close at ts)")
    ret_4h: float | None = Field(unit="log return", meaning="ln(close at ts + 4 h / close at ts)")
    ret_24h: float | None = Field(unit="log return", meaning="ln(close at ts + 24 h / close at ts)")
    above_median_24h: float | None = Field(
        ge=0, le=1, meaning="1 if ret_24h is strictly above its median over the coins listed at ts, 0 below, null at it"
    )
    rv_24h: float | None = Field(ge=0, unit="squared log return", meaning="sum of the next 24 squared hourly log returns")


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """Targets at each bar's close.

    A return is null unless both closes exist; the variance is null unless all 24 hourly returns do. The median is taken over
    the coins whose return is known; alone, a coin is the median and its label is null.
    """
    closes = candles.select("symbol", (pl.col("ts") + pl.duration(hours=1)).alias("ts"), "close")
    rows = closes
    for name, hours in HORIZONS.items():
        ahead = closes.select("symbol", pl.col("ts") - pl.duration(hours=hours), pl.col("close").alias("_ahead"))
        rows = rows.join(ahead, on=["symbol", "ts"], how="left")
        rows = rows.with_columns((pl.col("_ahead") / pl.col("close")).log().alias(f"ret_{name}")).drop("_ahead")
    rows = rows.join(_variance(rows.select("symbol", "ts", "ret_1h")), on=["symbol", "ts"], how="left")
    ret = pl.col("ret_24h")
    median = ret.median().over("ts")
    return rows.select(
        "symbol",
        "ts",
        (pl.col("ts") + pl.duration(hours=AHEAD)).alias("available_at"),
        *(f"ret_{name}" for name in HORIZONS),
        pl.when(ret != median).then((ret > median).cast(pl.Float64)).alias("above_median_24h"),
        "rv_24h",
    )


def _variance(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rv_24h` at each ts: the squared `ret_1h` of ts and the 23 hours after it, where all 24 are known."""
    grid = hourly(rows)
    total = of_each(pl.col("ret_1h").pow(2), "total", AHEAD, AHEAD)
    return grid.select("symbol", "ts", rv_24h=total.shift(1 - AHEAD).over("symbol"))


DERIVATION = Derivation(
    Targets,
    {"candles": "curated/candles"},
    compute,
    lookback=2 * HOUR,
    lookahead=timedelta(hours=AHEAD + 1),
    doc="Log returns 1, 4 and 24 h ahead, whether the coin beats the median, and the next day's realised variance.",
)
