"""Daily series as they were first published: level, last step, week's change and distance from their own past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known, in_order

MAX_AGE = timedelta(days=6)
"""A long weekend, a holiday and the publication lag."""
PAST = timedelta(days=90)
LEAST = 20
"""Fewest days in a mean and standard deviation."""
LOOKBACK = timedelta(days=100)
"""`PAST`, `MAX_AGE`, and the days before the first of them that a change compares with."""
WEEK = timedelta(days=7)
SLACK = timedelta(days=4)
"""How much older than a week the other end of a week's change may be where days are missing."""


def known_moves(series: pl.LazyFrame, grid: pl.LazyFrame, *, by: Sequence[str], value: str, name: str) -> pl.LazyFrame:
    """`grid` with `<name>`, `<name>_step`, `<name>_change_7d` and `<name>_z_90d` of one daily series, as known at each `ts`.

    `series` has ts, available_at, `by` and `value`. The step is the difference from the day published before (over a weekend:
    Friday's from Thursday's), the change that from a week earlier, the score the distance from the mean of 90 days in standard
    deviations. Like is compared with like: each day counts as it was first published, and a day that came after a later one
    does not count. Null where less is known, or where the newest day is more than `MAX_AGE` old.
    """
    keys = list(by)
    columns = {c: f"{name}{c}" for c in ("", "_step", "_change_7d", "_z_90d")}
    past = "90d"
    prints = (
        in_order(series, keys)
        .unique([*keys, "ts"], keep="first", maintain_order=True)
        .filter(pl.col(value).is_finite())
        .sort([*keys, "ts"])
        .select(*keys, "ts", "available_at", pl.col(value).alias(name))
    )
    level = pl.col(name)

    def each(expr: pl.Expr) -> pl.Expr:
        return expr.over(keys) if keys else expr

    mean = each(level.rolling_mean_by("ts", window_size=past, min_samples=LEAST))
    spread = each(level.rolling_std_by("ts", window_size=past, min_samples=LEAST))
    before = prints.select(*keys, (pl.col("ts") + WEEK).alias("_then"), level.alias("_before"))
    moves = prints.join_asof(
        before, left_on="ts", right_on="_then", by=keys or None, strategy="backward", tolerance=SLACK, check_sortedness=False
    ).with_columns(
        each(level.diff()).alias(columns["_step"]),
        (level - pl.col("_before")).alias(columns["_change_7d"]),
        ((level - mean) / pl.when(spread > 1e-9).then(spread)).alias(columns["_z_90d"]),
    )
    return as_known(moves, grid, by=keys, max_age=MAX_AGE, columns=list(columns.values()))
