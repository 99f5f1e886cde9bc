"""Candles as seen from decision times: `ts` is the close, and the hourly grid is complete, with nulls where no bar was."""

from __future__ import annotations

import polars as pl

HOUR = pl.duration(hours=1)
PRICES = ("open", "high", "low", "close", "volume")


def bars(candles: pl.LazyFrame, *extra: str) -> pl.LazyFrame:
    """`symbol, ts` (the close), open, high, low, close, volume and `extra`; sorted by symbol and ts."""
    columns = [pl.col(c) for c in (*PRICES, *extra)]
    return candles.select("symbol", pl.col("ts") + HOUR, *columns).sort("symbol", "ts")


def hourly(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Each symbol's rows on its complete hourly grid, first to last, with `is_bar` false and nulls where a bar is missing.

    A shift by k rows is then a shift by k hours, so a return over a missing bar's close is null, never a return over
    another length of time.
    """
    span = frame.group_by("symbol").agg(pl.col("ts").min().alias("_first"), pl.col("ts").max().alias("_last"))
    grid = span.select("symbol", pl.datetime_ranges("_first", "_last", interval="1h").alias("ts")).explode("ts")
    return (
        grid.join(frame.with_columns(is_bar=pl.lit(True)), on=["symbol", "ts"], how="left")
        .with_columns(pl.col("is_bar").fill_null(False))
        .sort("symbol", "ts")
    )


def log_return(hours: int = 1) -> pl.Expr:
    """ln(close / close `hours` before), on a complete hourly grid; null where either bar is missing."""
    return (pl.col("close") / pl.col("close").shift(hours).over("symbol")).log()


def finite(frame: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """Not-a-number and infinity (a division by zero, a warm-up) made null, as every table wants it."""
    value = pl.col(columns).cast(pl.Float64)
    return frame.with_columns(pl.when(value.is_finite()).then(value))
