"""Candles as seen from decision times: `ts` is the close, and the hourly grid is complete, with nulls where no bar was."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import polars as pl

from crypto_assets.features import _one_coin as one_coin
from crypto_assets.features._one_coin import TINY as TINY
from crypto_assets.market.errors import SchemaError

HOUR = pl.duration(hours=1)
GONE_H = 72
"""A coin without a bar for that long is not traded: what is said about it then does not count."""
PRICES = ("open", "high", "low", "close", "volume")


def bars(candles: pl.LazyFrame, *extra: str) -> pl.LazyFrame:
    """`symbol, ts` (the close), open, high, low, close, volume and `extra`; sorted by symbol and ts."""
    return closed(candles, *extra).sort("symbol", "ts")


def closed(candles: pl.LazyFrame, *extra: str) -> pl.LazyFrame:
    """The same in the order of the candles."""
    return candles.select("symbol", pl.col("ts") + HOUR, *PRICES, *extra)


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


def trading(hours: int) -> pl.Expr:
    """Whether a coin had a bar in the last `hours`, on a complete hourly grid. What is not made of bars (rates, texts) counts
    only there: so a read that begins while the coin is gone finds what a longer read finds.
    """
    return of_each(pl.when("is_bar").then(1.0), "total", hours, 1).is_not_null()


def clock(candles: pl.LazyFrame) -> pl.LazyFrame:
    """Every hour from the first to the last close of any coin: the grid of what is the same for all. Columns symbol, ts."""
    closes = candles.select(pl.lit("market").alias("symbol"), pl.col("ts") + HOUR).unique()
    return hourly(closes).drop("is_bar")


def log_return(hours: int = 1) -> pl.Expr:
    """ln(close / close `hours` before), on a complete hourly grid; null where either bar is missing."""
    return one_coin.log_return(hours).over("symbol")


def rolling(expr: pl.Expr, hours: int, kind: str = "mean") -> pl.Expr:
    """Rolling mean, deviation or total over `hours` rows of a complete hourly grid sorted by symbol, 80 % known.

    The same to the last bit wherever the grid begins (`_windows`).
    """
    return of_each(expr, kind, hours, one_coin.least(hours))


def of_each(expr: pl.Expr, kind: str, *arguments: float) -> pl.Expr:
    """The function `kind` of `_windows` with these arguments, a symbol at a time, of a frame sorted by symbol.

    Raises SchemaError where a symbol's rows are not together.
    """

    def compute(rows: pl.Series) -> pl.Series:
        from crypto_assets.features import _windows as windows

        x = np.ascontiguousarray(rows.struct.field("x").cast(pl.Float64).to_numpy())
        parts = [getattr(windows, kind)(x[first:last], *arguments) for first, last in _pieces(rows.struct.field("symbol"))]
        return pl.Series(np.concatenate([np.empty(0), *parts]), nan_to_null=True)

    return pl.struct(x=expr, symbol="symbol").map_batches(compute, return_dtype=pl.Float64)


def by_blocks(rows: pl.DataFrame, of: Callable[[pl.DataFrame], pl.DataFrame], size: int = 200_000) -> pl.DataFrame:
    """What `of` makes of the rows of whole coins, about `size` rows at a time, of a frame sorted by symbol.

    The columns on the way there then lie in memory for a block alone.
    """
    ends = [0]
    for _, last in _pieces(rows["symbol"]):
        if last - ends[-1] >= size or last == rows.height:
            ends.append(last)
    return pl.concat(of(rows[first:last]) for first, last in itertools.pairwise(ends)) if rows.height else of(rows)


def _pieces(symbols: pl.Series) -> list[tuple[int, int]]:
    """First row and end of each symbol."""
    firsts = (symbols != symbols.shift(1)).fill_null(True).arg_true().to_list() if len(symbols) else []
    if len(firsts) != symbols.n_unique():
        raise SchemaError("a rolling window needs the rows of each symbol together: sort the frame by symbol and ts")
    return list(itertools.pairwise([*firsts, len(symbols)]))


def change(expr: pl.Expr, days: int) -> pl.Expr:
    """What is known now less what was known `days` ago, on a complete hourly grid."""
    return expr - expr.shift(24 * days).over("symbol")


def z_score(expr: pl.Expr, hours: int) -> pl.Expr:
    """Distance from the rolling mean in rolling standard deviations; null where nothing moved."""
    spread = rolling(expr, hours, "deviation")
    return (expr - rolling(expr, hours)) / pl.when(spread > 1e-9).then(spread)


def regression(x: str, y: str, hours: int) -> tuple[pl.Expr, pl.Expr]:
    """Least squares slope of y on x and their correlation over `hours` rows of a complete hourly grid, where both are known."""
    both = pl.col(x).is_not_null() & pl.col(y).is_not_null()
    xs, ys = pl.when(both).then(pl.col(x)), pl.when(both).then(pl.col(y))
    mean_x, mean_y = rolling(xs, hours), rolling(ys, hours)
    covariance = rolling(xs * ys, hours) - mean_x * mean_y
    var_x, var_y = rolling(xs * xs, hours) - mean_x * mean_x, rolling(ys * ys, hours) - mean_y * mean_y
    safe = (var_x > TINY) & (var_y > TINY)
    return pl.when(safe).then(covariance / var_x), pl.when(safe).then(covariance / (var_x * var_y).sqrt())


def variance_before(r: pl.Expr) -> pl.Expr:
    """Exponentially weighted variance of hourly returns up to the bar before (RiskMetrics 1996, lambda 0.94)."""
    mean = of_each(r.pow(2), "decayed_mean", one_coin.EWMA_DECAY, one_coin.EWMA_LEAST)
    return mean.shift(1).over("symbol") + TINY


def finite(frame: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """Not-a-number and infinity (a division by zero, a warm-up) made null, as every table wants it."""
    value = pl.col(columns).cast(pl.Float64)
    return frame.with_columns(pl.when(value.is_finite()).then(value))
