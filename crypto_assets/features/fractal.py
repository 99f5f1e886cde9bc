"""Fractal and chaos measures of each coin's last week of hourly returns: roughness, memory, entropy, recurrence.

Each is taken over the last 168 known returns, which may span at most 210 hours. White noise has a Hurst exponent of 0.5, a
Higuchi dimension near 1.5 of its path, entropies near 1. Methods and their papers: `_chaos.py`.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.features._bars import closed
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._one_coin import by_coin, complete, log_return

WINDOW = 168
SPAN_HOURS = 210
"""Longest stretch of hours the window's returns may come from: four fifths of the bars are there."""
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
    return by_coin(closed(candles), _of_coin, COLUMNS)


def _of_coin(rows: pl.DataFrame) -> dict[str, np.ndarray]:
    from crypto_assets.features import _chaos

    returns = complete(rows).select("is_bar", r=log_return())
    r = returns["r"].to_numpy()
    known = np.flatnonzero(np.isfinite(r))
    ends = np.arange(WINDOW, len(known) + 1)
    ends = ends[known[ends - 1] - known[ends - WINDOW] < SPAN_HOURS]
    values = np.full((len(r), len(COLUMNS)), np.nan)
    if len(ends):
        x = r[known]
        at = known[ends - 1]
        values[at, :-1] = _chaos.rolling(x, ends, WINDOW)
        values[at, -1] = _chaos.spectral_entropy(x, ends, WINDOW)
    at_bars = values[returns["is_bar"].to_numpy()]
    return {name: np.ascontiguousarray(at_bars[:, k]) for k, name in enumerate(COLUMNS)}


FAMILY = FeatureFamily(
    name="fractal",
    inputs={"candles": "curated/candles"},
    lookback=timedelta(hours=SPAN_HOURS + 6),
    columns=COLUMNS,
    compute=compute,
    by_coin=("candles",),
)
