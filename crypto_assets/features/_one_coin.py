"""One coin at a time: its bars on the complete hourly grid, and expressions over them.

The expressions of `_bars` are these over all coins at once. A family with many columns takes the coins apart once instead, with
`by_coin`, and pays no grouping an expression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta

import polars as pl
from polars import selectors as cs

FULL = 0.8
"""Share of a rolling window that must be known."""
TINY = 1e-10
"""Floor under a variance: an hourly move of a thousandth of a per cent."""


def by_coin(rows: pl.LazyFrame, of_coin: Callable[[pl.DataFrame], pl.DataFrame], columns: Iterable[str]) -> pl.LazyFrame:
    """`symbol, ts` of the rows, sorted, beside what `of_coin` makes of one coin's rows by ts: `columns`, a row for each.

    Not-a-number and infinity (a division by zero, a warm-up) become null.
    """
    schema = {"symbol": pl.String(), "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(columns, pl.Float64())}
    coins = [coin.sort("ts") for coin in rows.collect().partition_by("symbol")]
    coins.sort(key=lambda coin: coin["symbol"][0])
    made = [beside(coin.select("symbol", "ts"), of_coin(coin)).select(list(schema)) for coin in coins]
    frame = pl.concat([pl.DataFrame(schema=schema), *made])
    all_finite = frame.select(cs.float().is_finite().all()).row(0, named=True)
    value = pl.col([name for name, is_so in all_finite.items() if not is_so])
    return frame.with_columns(pl.when(value.is_finite()).then(value)).lazy()


def beside(*frames: pl.DataFrame) -> pl.DataFrame:
    """Frames of the same rows, side by side."""
    return pl.concat(frames, how="horizontal", strict=True)


def complete(coin: pl.DataFrame) -> pl.DataFrame:
    """One coin's rows, sorted by ts, on its complete hourly grid: `is_bar` false and nulls where a bar is missing."""
    first, last = coin["ts"][0], coin["ts"][-1]
    known = coin.with_columns(is_bar=pl.lit(True))
    if last - first == (coin.height - 1) * timedelta(hours=1):
        return known
    hours = pl.datetime_range(first, last, "1h", eager=True).alias("ts").to_frame()
    return hours.join(known, on="ts", how="left", maintain_order="left").with_columns(pl.col("is_bar").fill_null(False))


def at_bars(grid: pl.DataFrame) -> pl.DataFrame:
    """The rows of a complete grid that are bars."""
    return (grid if grid["is_bar"].all() else grid.filter("is_bar")).drop("is_bar")


def log_return(hours: int = 1) -> pl.Expr:
    """ln(close / close `hours` before), on a complete hourly grid; null where either bar is missing."""
    return (pl.col("close") / pl.col("close").shift(hours)).log()


def rolling(expr: pl.Expr, hours: int, kind: str = "mean") -> pl.Expr:
    """Rolling mean, std, sum, min or max over `hours` rows of a complete hourly grid, 80 % known."""
    function = getattr(expr, f"rolling_{kind}")
    return function(hours, min_samples=max(2, math.ceil(FULL * hours)))


def variance_before(r: pl.Expr) -> pl.Expr:
    """Exponentially weighted variance of hourly returns up to the bar before (RiskMetrics 1996, lambda 0.94)."""
    return r.pow(2).ewm_mean(alpha=0.06, min_samples=24).shift(1) + TINY
