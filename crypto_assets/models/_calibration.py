"""Base rates, and the one shrinkage of a model's logits towards them that every probabilistic baseline goes through."""

from __future__ import annotations

import numpy as np

CEILING = 1.25
"""A validation slope above 1 says the model is too timid; two months of it are believed this far."""
BLOCK_HOURS = (24, 24, 168, 168)
"""Rows of one block count as dependent, by target (1h, 4h, 24h, 24h_relative): coins of a day, and overlapping labels."""


def logit(p: np.ndarray) -> np.ndarray:
    """ln(p / (1 - p))."""
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def log_loss(z: np.ndarray, y: np.ndarray) -> float:
    """Mean log-loss of logits `z` for binary `y`; rows with NaN `y` are left out; NaN when none is left."""
    known = np.isfinite(y)
    if not known.any():
        return float("nan")
    z, y = z[known].astype(np.float64), y[known].astype(np.float64)
    return float(np.mean(np.logaddexp(0, z) - y * z))


def base_rate(y_RK: np.ndarray) -> np.ndarray:
    """Share of ones per column, NaN left out: (ones + 1/2) / (known + 1), the mean under Jeffreys' prior, never 0 or 1."""
    known = np.isfinite(y_RK)
    ones = np.where(known, y_RK, 0).sum(axis=0, dtype=np.float64)
    return (ones + 0.5) / (known.sum(axis=0) + 1.0)


def shrinkage(z: np.ndarray, base: float | np.ndarray, y: np.ndarray, block: np.ndarray) -> float:
    """Slope s in [0, 1.25] of `base + s (z - base)`, fitted on validation rows; 0 means the base rate.

    `z` logits; `base` the training base rate's logit, or one logit a row to start from; `y` binary or NaN; `block` integers:
    rows of one block are dependent.
    The maximum-likelihood slope s, clipped, is shrunk by its evidence, s max(0, 1 - 1/t^2), with t = s / se and se clustered
    by block: the posterior mean under a normal prior whose variance is estimated from the same slope (empirical Bayes;
    Efron & Morris 1973). The loss is convex in s, so no validation loss is above the base rate's.
    Temperature scaling: Guo et al., On Calibration of Modern Neural Networks (2017).
    """
    slope, variance = likeliest(z, base, y, block)
    return float(min(slope, CEILING) * max(0.0, 1 - variance / slope**2)) if slope > 0 else 0.0


def likeliest(z: np.ndarray, base: float | np.ndarray, y: np.ndarray, block: np.ndarray) -> tuple[float, float]:
    """The maximum-likelihood slope of `shrinkage` and its variance, clustered by block; (0, infinity) without evidence."""
    known = np.isfinite(y)
    start = np.broadcast_to(base, z.shape)[known]
    d, y = (z[known] - start).astype(np.float64), y[known].astype(np.float64)
    if not known.any() or not np.any(d):
        return 0.0, float("inf")
    slope, curvature = _slope(d, start, y)
    if curvature <= 0:
        return 0.0, float("inf")
    score = np.bincount(np.unique(block[known], return_inverse=True)[1], weights=d * (y - sigmoid(start + slope * d)))
    blocks = len(score)
    return slope, float(np.sum(score**2) * blocks / max(blocks - 1, 1) / curvature**2)


def _slope(d: np.ndarray, base: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Newton's maximum-likelihood slope (kept within [-4, 4]) and the curvature there."""
    slope, curvature = 0.0, 0.0
    for _ in range(50):
        p = sigmoid(base + slope * d)
        curvature = float(np.sum(d * d * p * (1 - p)))
        if curvature <= 0:
            break
        step = float(np.sum(d * (y - p))) / curvature
        slope, before = float(np.clip(slope + step, -4, 4)), slope
        if abs(slope - before) < 1e-10:
            break
    return slope, curvature


def shrink_all(z_RK: np.ndarray, base_K: np.ndarray, y_RK: np.ndarray, t_R: np.ndarray) -> np.ndarray:
    """`slope_K` by `shrinkage`, target by target; `t_R` is each row's position on the hourly time axis."""
    slopes = [shrinkage(z_RK[:, k], float(base_K[k]), y_RK[:, k], t_R // BLOCK_HOURS[k]) for k in range(z_RK.shape[1])]
    return np.array(slopes)


def shrunk(z_RK: np.ndarray, base_K: np.ndarray, slope_K: np.ndarray) -> np.ndarray:
    """Probabilities `sigmoid(base + slope (z - base))`, float64."""
    return sigmoid(base_K + slope_K * (z_RK.astype(np.float64) - base_K))
