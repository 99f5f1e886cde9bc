"""A small market with planted skill, as a panel: what the tests of the nets train on.

One feature leads the next return linearly, two others through their product alone, and the returns' variance clusters.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.time import Window

START = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("BTC", "ETH", "SOL")
COLUMNS = ("f.level", "f.a", "f.b", "f.noise", "f.empty")


def panel(hours: int = 900, skill: float = 0.5, seed: int = 3) -> Panel:
    """`hours` x three coins; the last column is null everywhere."""
    g = np.random.default_rng(seed)
    T, N = hours, len(SYMBOLS)
    x = g.normal(size=(T, N, len(COLUMNS))).astype(np.float32)
    x[..., 4] = np.nan
    sigma = 0.005 * np.exp(0.3 * np.sin(np.arange(T) / 40))[:, None]
    drive = skill * (x[..., 0] + x[..., 1] * x[..., 2])
    r = np.zeros((T, N))
    r[1:] = sigma[1:] * (drive[:-1] + g.normal(size=(T - 1, N)))
    return Panel(
        ts=np.datetime64("2024-01-01", "us") + np.arange(T) * np.timedelta64(1, "h"),
        symbols=SYMBOLS,
        columns=COLUMNS,
        x_TNF=x,
        r_TN=r,
        listed_TN=np.ones((T, N), dtype=bool),
        labels=labels(r),
    )


def labels(r: np.ndarray) -> dict[str, np.ndarray]:
    """The labels of a panel from its returns."""
    T, N = r.shape
    out = {}
    for hours in (1, 4, 24):
        sums = np.concatenate([np.zeros((1, N)), np.cumsum(r, axis=0)])
        out[f"ret_{hours}h"] = np.full((T, N), np.nan)
        out[f"ret_{hours}h"][: T - hours] = sums[1 + hours :] - sums[1 : T - hours + 1]
    squares = np.concatenate([np.zeros((1, N)), np.cumsum(r**2, axis=0)])
    out["rv_24h"] = np.full((T, N), np.nan)
    out["rv_24h"][: T - 24] = squares[25:] - squares[1 : T - 23]
    day = out["ret_24h"]
    median = np.median(day, axis=1, keepdims=True)
    out["above_median_24h"] = np.where(np.isnan(day) | (day == median), np.nan, (day > median).astype(float))
    return out


def fold(hours: int = 900) -> Fold:
    """Training, eight days of validation, the rest of `hours` to test, a day of purge between them."""
    end = START + timedelta(hours=hours)
    test = Window(end - timedelta(days=6), end)
    valid = Window(test.start - timedelta(days=9), test.start - timedelta(days=1))
    return Fold("planted", Window(START, valid.start - timedelta(days=1)), valid, test)
