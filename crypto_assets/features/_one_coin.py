"""One coin at a time: its bars on the complete hourly grid, and expressions over them.

The expressions of `_bars` are these over all coins at once. A family with many columns takes the coins apart once instead, with
`by_coin`, and pays no grouping an expression.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import numpy as np
import polars as pl

Array = np.ndarray
FULL = 0.8
"""Share of a rolling window that must be known."""
TINY = 1e-10
"""Floor under a variance: an hourly move of a thousandth of a per cent."""
HOUR_US = 3_600_000_000
GONE = timedelta(days=7)
EWMA_DECAY = 0.94
"""Of RiskMetrics (1996)."""
EWMA_LEAST = 24
"""Fewest returns in it."""


def by_coin(rows: pl.LazyFrame, of_coin: Callable[[pl.DataFrame], Mapping[str, Array]], columns: Iterable[str]) -> pl.LazyFrame:
    """`symbol, ts` of the rows, sorted, beside what `of_coin` makes of one coin's rows by ts: `columns`, a value for each row.

    A coin that was gone for more than a week begins anew: what lies before does not count. Not-a-number and infinity (a
    division by zero, a warm-up) become null.
    """
    names = list(columns)
    schema = {"symbol": pl.String(), "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(names, pl.Float64())}
    coins = [coin.sort("ts") for coin in rows.collect().partition_by("symbol")]
    coins.sort(key=lambda coin: coin["symbol"][0])
    made = []
    for piece in (piece for coin in coins for piece in _uninterrupted(coin)):
        values = of_coin(piece)
        made.append(pl.DataFrame([piece["symbol"], piece["ts"], *(known(name, values[name]) for name in names)]))
    return pl.concat([pl.DataFrame(schema=schema), *made]).lazy()


def _uninterrupted(coin: pl.DataFrame) -> list[pl.DataFrame]:
    """One coin's rows, cut where it was gone for more than `GONE`."""
    cuts = [0, *(coin["ts"].diff() > GONE).arg_true(), coin.height]
    return [coin[first:last] for first, last in itertools.pairwise(cuts)]


def known(name: str, values: Array) -> pl.Series:
    """A column with null for what is not finite."""
    infinite = np.isinf(values)
    return pl.Series(name, np.where(infinite, np.nan, values) if infinite.any() else values, nan_to_null=True)


def before(x: Array, rows: int) -> Array:
    """The value `rows` before; NaN where there is none."""
    out = np.full(len(x), np.nan)
    out[rows:] = x[: max(0, len(x) - rows)]
    return out


def numbers(frame: pl.DataFrame, *columns: str) -> dict[str, Array]:
    """Columns as contiguous float64 arrays, NaN for null."""
    return {c: np.ascontiguousarray(frame[c].cast(pl.Float64).to_numpy()) for c in columns}


def complete(coin: pl.DataFrame) -> pl.DataFrame:
    """One coin's rows, sorted by ts, on its complete hourly grid: `is_bar` false and nulls where a bar is missing."""
    first, last = coin["ts"][0], coin["ts"][-1]
    known = coin.with_columns(is_bar=pl.lit(True))
    if last - first == (coin.height - 1) * timedelta(hours=1):
        return known
    hours = pl.datetime_range(first, last, "1h", eager=True).alias("ts").to_frame()
    return hours.join(known, on="ts", how="left", maintain_order="left").with_columns(pl.col("is_bar").fill_null(False))


def log_return(hours: int = 1) -> pl.Expr:
    """ln(close / close `hours` before), on a complete hourly grid; null where either bar is missing."""
    return (pl.col("close") / pl.col("close").shift(hours)).log()


def least(hours: int) -> int:
    """How many of the hours of a rolling window must be known."""
    return max(2, math.ceil(FULL * hours))
