"""Small made-up markets for the tests of trading and of the report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def candles(close_TN: np.ndarray, open_TN: np.ndarray | None = None, start: datetime = START) -> pl.DataFrame:
    """Rows of curated/candles (the columns a backtest reads); NaN closes are absent rows. Coins C0, C1, ..."""
    T, N = close_TN.shape
    opens = close_TN if open_TN is None else open_TN
    frames = [
        pl.DataFrame({"symbol": [f"C{n}"] * T, "ts": [start + t * HOUR for t in range(T)], "open": opens[:, n]}).with_columns(
            close=pl.Series(close_TN[:, n])
        )
        for n in range(N)
    ]
    rows = pl.concat(frames).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    return rows.filter(pl.col("close").is_not_nan())


def forecasts(p_TN: np.ndarray, horizon: str = "24h", start: datetime = START + HOUR) -> pl.DataFrame:
    """Rows of a forecast table: row t decided at `start` + t hours; both probabilities are `p_TN`."""
    T, N = p_TN.shape
    frames = [
        pl.DataFrame(
            {
                "symbol": [f"C{n}"] * T,
                "ts": [start + t * HOUR for t in range(T)],
                "horizon": [horizon] * T,
                "p_up": p_TN[:, n],
                "p_beats_median": p_TN[:, n],
            }
        )
        for n in range(N)
    ]
    return pl.concat(frames).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def funding(rate: float, symbols: tuple[str, ...], hours: int, start: datetime = START) -> pl.DataFrame:
    """A settlement every 8 hours at `rate`."""
    times = [start + t * HOUR for t in range(0, hours, 8)]
    return pl.concat(
        [pl.DataFrame({"symbol": [s] * len(times), "ts": times, "funding_rate": [rate] * len(times)}) for s in symbols]
    ).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def walk(seed: int, hours: int, coins: int, spread: float = 0.01) -> np.ndarray:
    """Geometric random walks from 100."""
    steps = np.random.default_rng(seed).normal(0, spread, (hours, coins))
    return 100 * np.exp(np.cumsum(steps, axis=0))
