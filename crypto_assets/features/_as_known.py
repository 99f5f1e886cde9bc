"""The one as-of join: what a table said, and whether it still counts, at each decision time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from crypto_assets.market.errors import SchemaError

HOUR_US = 3_600_000_000


def as_known(
    table: pl.LazyFrame,
    grid: pl.LazyFrame,
    *,
    by: Sequence[str] = ("symbol",),
    max_age: timedelta,
    columns: Sequence[str],
    age_hours: str | None = None,
) -> pl.LazyFrame:
    """`grid` with `columns` of `table` as they were known at each `ts` of the grid.

    Of the rows with `available_at <= grid ts` the one with the newest `ts` is taken, and of its versions the one published
    last: an old row that arrives late never displaces a newer one, and a correction holds from its own `available_at`. The
    values are null where nothing was known, or where the row describes a moment more than `max_age` before the grid's `ts`.

    `table` has `ts`, `available_at`, `by` and `columns`, all versions of its rows; of two rows of one `by`, `ts` and
    `available_at` the last by `source` (where there is one) counts. `grid` has `ts` and `by`; the result has its columns and
    rows, sorted by `by` and `ts`, then `columns`, then `age_hours` (hours between the row's `ts` and the grid's) if it is
    named. `by=()` joins a table that has one series to every row.

    Raises SchemaError when a column is missing.
    """
    keys, wanted = list(by), list(columns)
    _require(table, ["ts", "available_at", *keys, *wanted], "the table")
    _require(grid, ["ts", *keys], "the grid")
    joined = grid.sort([*keys, "ts"]).join_asof(  # of rows that became known together it takes the last
        in_order(table, keys).select(*keys, "available_at", pl.col("ts").alias("_described"), *wanted),
        left_on="ts",
        right_on="available_at",
        by=keys or None,
        strategy="backward",
        check_sortedness=False,
    )
    age = pl.col("ts") - pl.col("_described")
    values = [pl.when(age <= max_age).then(pl.col(c)).alias(c) for c in wanted]
    if age_hours is not None:
        hours = age.dt.total_microseconds() / HOUR_US
        values.append(pl.when(age <= max_age).then(hours).alias(age_hours))
    return joined.with_columns(values).drop("_described", "available_at", strict=False)


def in_order(table: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
    """The rows that were the newest of their `keys` when they became known, sorted by `keys`, `available_at` and `ts`."""
    source = ["source"] if "source" in table.collect_schema().names() else []
    newest = pl.col("ts").cum_max()
    newest = newest.over(keys) if keys else newest
    return table.sort([*keys, "available_at", "ts", *source]).filter(pl.col("ts") == newest)


def _require(frame: pl.LazyFrame, columns: list[str], what: str) -> None:
    names = frame.collect_schema().names()
    missing = [c for c in columns if c not in names]
    if missing:
        raise SchemaError(f"as_known: {what} lacks the columns {missing}; it has {names}")
