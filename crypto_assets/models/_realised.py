"""Realised variance: trailing sums that tolerate a few missing hours, the QLIKE loss, and the factor that makes it unbiased."""

from __future__ import annotations

import numpy as np

TINY = 1e-10
"""Least variance of a day that is ever forecast: a daily move of a thousandth of a percent."""


def trailing_mean_square(r_TN: np.ndarray, hours: int, least: int) -> np.ndarray:
    """Mean squared return of the last `hours` hours, `[T, N]`; over the known ones, NaN when fewer than `least` are.

    Summed lag by lag, so that a value depends on its own hours alone, to the last bit, wherever the panel starts.
    """
    known = np.isfinite(r_TN)
    square = np.where(known, r_TN, 0.0) ** 2
    total, count = np.zeros_like(square), np.zeros(square.shape, dtype=np.int32)
    for lag in range(min(hours, len(square))):
        total[lag:] += square[: len(square) - lag]
        count[lag:] += known[: len(square) - lag]
    with np.errstate(all="ignore"):
        return np.where(count >= max(least, 1), total / count, np.nan)


def qlike(realised: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """RV/f - ln(RV/f) - 1, elementwise (Patton 2011); infinite where the realised variance is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = realised / forecast
        return ratio - np.log(ratio) - 1


def unbiased_factor(realised: np.ndarray, forecast: np.ndarray) -> float:
    """The constant c that minimises mean QLIKE of `c * forecast`: the mean of RV/f. NaN pairs left out; 1 without any."""
    ratio = realised / forecast
    ratio = ratio[np.isfinite(ratio)]
    return float(ratio.mean()) if len(ratio) else 1.0
