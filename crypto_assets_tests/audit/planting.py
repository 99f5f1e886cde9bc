"""How families are planted: a compute by decorator, its one column called `x`, its bars as seen from their closes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl

from crypto_assets.features import FeatureFamily

CANDLES = {"candles": "curated/candles"}
HOUR = pl.duration(hours=1)
close = pl.col("close")


def planter(into: dict[str, FeatureFamily]) -> Callable:
    def plant(inputs: dict[str, str] | None = None, days: float = 5) -> Callable:
        def keep(compute: Callable) -> Callable:
            name = compute.__name__
            tables = {**CANDLES, **(inputs or {})}
            into[name] = FeatureFamily(name, tables, timedelta(days=days), {"x": "planted"}, compute)
            return compute

        return keep

    return plant


def bars(candles: pl.LazyFrame) -> pl.LazyFrame:
    """Sorted, `ts` the close of the bar."""
    return candles.sort("symbol", "ts").with_columns(pl.col("ts") + HOUR)


def x(frame: pl.LazyFrame, expr: pl.Expr | str = "x") -> pl.LazyFrame:
    """symbol, ts, x."""
    value = pl.col(expr) if isinstance(expr, str) else expr
    return frame.select("symbol", "ts", x=value.cast(pl.Float64))


def per_coin(frame: pl.LazyFrame, function: Callable[[pl.DataFrame], pl.Series]) -> pl.LazyFrame:
    """`x` of each coin's rows by a numpy function."""
    parts = [part.with_columns(x=function(part)) for part in frame.collect().partition_by("symbol", maintain_order=True)]
    return pl.concat(parts).lazy() if parts else frame.with_columns(x=pl.lit(None, dtype=pl.Float64))
