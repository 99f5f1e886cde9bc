"""Daily series as they were first published: level, last step, week's change and distance from their own past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.features._as_known import as_known, in_order
from crypto_assets.features._family import Column
from crypto_assets.features._totals import means

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
LEVEL, STEP, CHANGE, SCORE = "level", "step", "change_7d", "z_90d"


@dataclass(frozen=True)
class Series:
    """A daily series and which of its forms are features: `name` for the level, `name_step`, `name_change_7d`, `name_z_90d`."""

    name: str
    words: str
    """What is measured, to follow "change of"."""
    keep: tuple[str, ...] = (STEP, CHANGE, SCORE)
    unit: str = "log"
    max_age: timedelta = MAX_AGE
    """Oldest day that still counts: the publication lag and some days without news."""
    spacing: timedelta = SLACK
    """Longest time between two values."""
    made_of: timedelta = timedelta(0)
    """How far back one value reaches."""

    def column(self, form: str) -> str:
        """The column of a form."""
        return self.name if form == LEVEL else f"{self.name}_{form}"

    def columns(self, of: str = "") -> dict[str, Column]:
        """The kept columns with their meaning, which begins with `of`."""
        log = "log " if self.unit == "log" else ""
        age = self.max_age + self.made_of
        step = "in the last month" if self.spacing > WEEK else "on the last day"
        known = {
            LEVEL: Column(f"{of}{log and 'log of '}{self.words}", self.unit, age),
            STEP: Column(f"{of}{log}change of {self.words} {step}", self.unit, age + self.spacing),
            CHANGE: Column(f"{of}{log}change of {self.words} in a week", self.unit, age + WEEK + SLACK),
            SCORE: Column(f"{of}{log and 'log of '}{self.words} against the last 90 days", "sd", age + PAST),
        }
        return {self.column(form): known[form] for form in self.keep}


def logs(value: pl.Expr) -> pl.Expr:
    """Natural logarithm; null for zero and less."""
    return pl.when(value > 0).then(value.log())


def first_prints(rows: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Each `ts` once, as it was first published, without those that came after a later one; sorted by `keys` and `ts`."""
    return in_order(rows, list(keys)).unique([*keys, "ts"], keep="first", maintain_order=True).sort([*keys, "ts"])


def side_by_side(rows: pl.LazyFrame, keys: Sequence[str], by: str, names: Mapping[str, Any]) -> pl.LazyFrame:
    """`keys`, ts, available_at and a column a name: the `value` of the rows whose `by` is what the name stands for.

    Each value as it was first published; a row where all are there, known when the last of them was.
    """
    prints = (
        rows.filter(pl.col(by).is_in(list(names.values())), pl.col("value").is_finite())
        .sort([*keys, "ts", by, "available_at", *(["source"] if "source" in rows.collect_schema().names() else [])])
        .unique([*keys, "ts", by], keep="first", maintain_order=True)
    )
    values = [pl.col("value").filter(pl.col(by) == wanted).first().alias(name) for name, wanted in names.items()]
    wide = prints.group_by([*keys, "ts"], maintain_order=True).agg(pl.col("available_at").max(), *values)
    return wide.drop_nulls(list(names))


def mean_of_week(rows: pl.LazyFrame, keys: Sequence[str], count: pl.Expr) -> pl.LazyFrame:
    """A daily count without its days of the week: log of 1 + its mean of seven days, five of them known, in `value`."""
    prints = first_prints(rows.with_columns(value=count.cast(pl.Float64)), keys)
    return prints.with_columns(value=rolling_by(pl.col("value"), WEEK, 5, keys)[0].log1p())


def rolling_by(value: pl.Expr, span: timedelta, least: int, keys: Sequence[str]) -> tuple[pl.Expr, pl.Expr]:
    """Mean and standard deviation of the values of the last `span`, of a frame sorted by `keys` and ts; null with too few.

    The same to the last bit wherever the series begin (`_windows`).
    """

    def compute(rows: pl.Series) -> pl.Series:
        from crypto_assets.features import _windows as windows

        frame = rows.struct.unnest()
        number = pl.int_range(pl.len())
        first = frame.select((pl.when(_begins(keys)).then(number)).forward_fill()).to_series() if keys else [0] * len(rows)
        x = np.ascontiguousarray(frame["x"].cast(pl.Float64).to_numpy())
        at = frame["ts"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
        found = windows.by_time(at, x, np.array(first, np.int64), span // timedelta(microseconds=1), least)
        return pl.DataFrame(dict(zip(("mean", "spread"), found, strict=True)), nan_to_null=True).to_struct()

    returns = pl.Struct({"mean": pl.Float64, "spread": pl.Float64})
    both = pl.struct(*keys, "ts", x=value).map_batches(compute, return_dtype=returns)
    return both.struct.field("mean"), both.struct.field("spread")


def _begins(keys: Sequence[str]) -> pl.Expr:
    """Whether a row is the first of its keys."""
    return pl.any_horizontal((pl.col(k) != pl.col(k).shift(1)).fill_null(True) for k in keys)


def known(rows: pl.LazyFrame, grid: pl.DataFrame, series: Series, by: Sequence[str] = ()) -> pl.DataFrame:
    """The columns of a series as known at each row of `grid`, in its order: sorted by `by` and `ts`.

    `rows` has ts, available_at, `by` and `value`; rows whose value is null or not finite do not count.
    """
    moves = known_moves(rows, grid.lazy(), by=by, value="value", name=series.name, max_age=series.max_age)
    return moves.select(list(series.columns())).collect()


def across(rows: pl.LazyFrame, hours: pl.DataFrame, series: Series, member: str, by: Sequence[str] = ()) -> pl.DataFrame:
    """`by`, ts and the columns of a series: at each hour the mean over the members of each one's own level and moves.

    So a member that comes or goes moves no change.
    """
    keys = [*by, member]
    members = rows.select(keys).unique().collect().sort(keys)
    grid = members.join(hours.select("ts"), how="cross", maintain_order="left_right").sort([*keys, "ts"])
    found = pl.concat([grid, known(rows, grid, series, keys)], how="horizontal")
    return means(found, [*by, "ts"], list(series.columns()))


def known_moves(
    series: pl.LazyFrame, grid: pl.LazyFrame, *, by: Sequence[str], value: str, name: str, max_age: timedelta = MAX_AGE
) -> pl.LazyFrame:
    """`grid` with `<name>`, `<name>_step`, `<name>_change_7d` and `<name>_z_90d` of one daily series, as known at each `ts`.

    `series` has ts, available_at, `by` and `value`. The step is the difference from the day published before (over a weekend:
    Friday's from Thursday's), the change that from a week earlier, the score the distance from the mean of 90 days in standard
    deviations. Like is compared with like: each day counts as it was first published, and a day that came after a later one
    does not count. Null where less is known, or where the newest day is more than `max_age` old.
    """
    keys = list(by)
    columns = {c: f"{name}{c}" for c in ("", "_step", "_change_7d", "_z_90d")}
    prints = (
        first_prints(series, keys)
        .filter(pl.col(value).is_finite())
        .select(*keys, "ts", "available_at", pl.col(value).alias(name))
    )
    level = pl.col(name)

    def each(expr: pl.Expr) -> pl.Expr:
        return expr.over(keys) if keys else expr

    mean, spread = rolling_by(level, PAST, LEAST, keys)
    before = prints.select(*keys, (pl.col("ts") + WEEK).alias("_then"), level.alias("_before"))
    moves = prints.join_asof(
        before, left_on="ts", right_on="_then", by=keys or None, strategy="backward", tolerance=SLACK, check_sortedness=False
    ).with_columns(
        each(level.diff()).alias(columns["_step"]),
        (level - pl.col("_before")).alias(columns["_change_7d"]),
        ((level - mean) / pl.when(spread > 1e-9).then(spread)).alias(columns["_z_90d"]),
    )
    return as_known(moves, grid, by=keys, max_age=max_age, columns=list(columns.values()))
