"""Fractal and chaos measures of each coin's last week of hourly returns: roughness, memory, entropy, recurrence.

Each is taken over the last 168 known returns, which may span at most 210 hours. White noise has a Hurst exponent of 0.5, a
Higuchi dimension near 1.5 of its path, entropies near 1. Methods and their papers: `_chaos.py`.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.features._bars import bars, finite, hourly, log_return
from crypto_assets.features._family import Column, FeatureFamily

WINDOW = 168
SPAN_HOURS = 210
"""Longest stretch of hours the window's returns may come from: four fifths of the bars are there."""
WHOLE = {"predicate_pushdown": False, "projection_pushdown": False, "slice_pushdown": False}
"""Nothing may be filtered or cut before the windows are measured."""
MEANINGS = {
    "hurst": ("Hurst exponent by rescaled range, unbiased for a window of 168 (Anis-Lloyd, then its pull to 0.5)", "exponent"),
    "dfa": ("scaling exponent of detrended fluctuations", "exponent"),
    "higuchi": ("Higuchi's fractal dimension of the log price path", "dimension"),
    "katz": ("Katz's fractal dimension of the log price path", "dimension"),
    "permutation_entropy": ("entropy of the order patterns of three returns, share of its maximum", "fraction"),
    "correlation_dimension": ("correlation dimension of the returns in three delays (Grassberger-Procaccia)", "dimension"),
    "sample_entropy": ("sample entropy of the returns (two values, 0.35 sd)", "nats"),
    "lyapunov": ("largest Lyapunov exponent (Rosenstein), per hour", "1/hour"),
    "recurrence_rate": ("share of pairs of hours that look alike (three returns within half a sd)", "fraction"),
    "determinism": ("share of recurrences in diagonal lines", "fraction"),
    "laminarity": ("share of recurrences in vertical lines", "fraction"),
    "diagonal_length": ("mean length of diagonal recurrence lines", "hours"),
    "diagonal_entropy": ("entropy of the lengths of diagonal recurrence lines", "nats"),
    "trapping_time": ("mean length of vertical recurrence lines", "hours"),
    "spectral_entropy": ("entropy of the periodogram of the returns, share of its maximum", "fraction"),
}
COLUMNS = {name: Column(meaning, unit, timedelta(hours=SPAN_HOURS + 1)) for name, (meaning, unit) in MEANINGS.items()}


def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
    """One row a bar: symbol, ts and `COLUMNS`, null until a whole window is known."""
    returns = hourly(bars(candles)).select("symbol", "ts", "is_bar", r=log_return())
    schema = pl.Schema({"symbol": pl.String(), "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(COLUMNS, pl.Float64())})
    measured = returns.map_batches(_measured, schema=schema, **WHOLE)
    return finite(measured, list(COLUMNS))


def _measured(returns: pl.DataFrame) -> pl.DataFrame:
    frames = [_of_coin(coin) for coin in returns.partition_by("symbol", maintain_order=True)]
    if not frames:
        return pl.DataFrame(schema={"symbol": pl.String, "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(COLUMNS, pl.Float64)})
    return pl.concat(frames)


def _of_coin(returns: pl.DataFrame) -> pl.DataFrame:
    """The rows of one coin; its returns come on the complete hourly grid, null where unknown."""
    from crypto_assets.features import _chaos

    r = returns["r"].to_numpy()
    known = np.flatnonzero(np.isfinite(r))
    ends = np.arange(WINDOW, len(known) + 1)
    ends = ends[known[ends - 1] - known[ends - WINDOW] < SPAN_HOURS]
    values = np.full((len(r), len(COLUMNS)), np.nan)
    if len(ends):
        x = r[known]
        rows = known[ends - 1]
        values[rows, :-1] = _chaos.rolling(x, ends, WINDOW)
        values[rows, -1] = _chaos.spectral_entropy(x, ends, WINDOW)
    columns = {name: values[:, k] for k, name in enumerate(COLUMNS)}
    return returns.select("symbol", "ts", "is_bar").with_columns(**columns).filter("is_bar").drop("is_bar")


FAMILY = FeatureFamily(
    name="fractal",
    inputs={"candles": "curated/candles"},
    lookback=timedelta(hours=SPAN_HOURS + 6),
    columns=COLUMNS,
    compute=compute,
)
