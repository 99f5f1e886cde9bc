"""The posterior of non-negative weights: the mode by Newton, exact Hessian there, samples of the Gaussian inside the bounds.

log p(w | data) = -eta sum_r loss(x_r w, y_r) - (w - m)' P (w - m) / 2 for w >= low, -infinity elsewhere.

Laplace's approximation takes the quadratic at the mode. Where a bound is active the mode lies on it and the slope there is not
zero; the quadratic then has its centre outside, and the approximation is that Gaussian restricted to w >= low: a member that
the data speak against has its mass piled up at 0, which an unrestricted Gaussian (or one in log weights) cannot say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.fusion.families import Family

Array = np.ndarray

STEPS = 50
TRIES = 20
SWEEPS = 150
"""Gibbs sweeps before the samples are taken: chains start at the mode; copies of one member mix slowest."""


@dataclass(frozen=True)
class Prior:
    """Normal with `mean` and `precision` (d x d), restricted to `w >= low` (d)."""

    mean: Array
    precision: Array
    low: Array


@dataclass(frozen=True)
class Posterior:
    """`mode` (d); `centre` and `precision` of the Gaussian that is restricted to `w >= low`."""

    mode: Array
    centre: Array
    precision: Array
    low: Array


def nonnegative(precision: Array, centre: Array, low: Array) -> Array:
    """Argmin (w - centre)' P (w - centre) / 2 over w >= low, exactly: a non-negative least squares problem."""
    from scipy.optimize import nnls

    root = np.linalg.cholesky(precision).T
    return low + nnls(root, root @ (centre - low))[0]


def fit(x_RD: Array, y_R: Array, family: Family, prior: Prior, *, temper: float, start: Array | None = None) -> Posterior:
    """The posterior of the weights of `x_RD` for the outcomes `y_R`, each row counting as `temper` rows.

    Without rows it is the prior. `start` saves steps. Newton with step halving on a convex objective.
    """
    w = np.maximum(prior.mean if start is None else start, prior.low)
    value = _objective(w, x_RD, y_R, family, prior, temper)
    for _ in range(STEPS):
        slope, precision = _derivatives(w, x_RD, y_R, family, prior, temper)
        towards = nonnegative(precision, w - np.linalg.solve(precision, slope), prior.low) - w
        step = 1.0
        while (next_value := _objective(w + step * towards, x_RD, y_R, family, prior, temper)) > value and step > 1e-6:
            step /= 2
        moved = step * towards
        if next_value > value or np.abs(moved).max() < 1e-9:
            break
        w, value = w + moved, next_value
    slope, precision = _derivatives(w, x_RD, y_R, family, prior, temper)
    return Posterior(w, w - np.linalg.solve(precision, slope), precision, prior.low)


def sample(posterior: Posterior, count: int, rng: np.random.Generator, sweeps: int = SWEEPS) -> Array:
    """`count` draws `[count, d]` of the restricted Gaussian: by rejection where that is quick, else by Gibbs sampling.

    They are moved a little, so that their mean is that of many more draws than are kept: few then serve as well.
    """
    root = np.linalg.cholesky(np.linalg.inv(posterior.precision))
    free = posterior.centre + rng.standard_normal((TRIES * count, len(root))) @ root.T
    inside = free[(free >= posterior.low).all(axis=1)]
    if len(inside) >= 2 * count:
        drawn, mean = inside[:count], inside.mean(axis=0)
    else:
        drawn, mean = _gibbs(posterior, count, rng, sweeps)
    return np.maximum(drawn + mean - drawn.mean(axis=0), posterior.low)


def _gibbs(posterior: Posterior, count: int, rng: np.random.Generator, sweeps: int) -> tuple[Array, Array]:
    """One draw each of `count` chains side by side, from the mode on, and the mean of their second half.

    A conditional is a normal cut off at its bound.
    """
    from scipy.special import ndtr, ndtri

    P, low = posterior.precision, posterior.low
    width = 1 / np.sqrt(np.diag(P))
    w, means = np.repeat(posterior.mode[None], count, axis=0), []
    for uniform in rng.random((sweeps, len(width), count)):
        for i, u in enumerate(uniform):
            mean = w[:, i] - (w - posterior.centre) @ P[i] * width[i] ** 2
            least = (low[i] - mean) / width[i]
            drawn = -ndtri(np.maximum(u * ndtr(-least), 1e-300))
            w[:, i] = np.maximum(mean + width[i] * np.maximum(drawn, least), low[i])
        means.append(w.mean(axis=0))
    return w, np.mean(means[sweeps // 2 :], axis=0)


def temper(x_RD: Array, slope_R: Array, curvature_R: Array, block_R: Array, guess: float) -> float:
    """How many independent rows one row is worth, for rows that come in dependent blocks.

    The magnitude adjustment of a composite likelihood (Pauli, Racugno and Ventura 2011): d / sum of diag(H^-1 J), with H the
    curvature and J the variance of the score clustered by block, here without the cross terms, which few blocks cannot
    estimate. `guess` counts like `TRUST` blocks beside the estimate (a geometric mean). Also takes up dispersion: a gamma
    likelihood whose outcomes scatter less than an exponential's is worth more than 1.
    """
    if not len(x_RD):
        return guess
    labels, block = np.unique(block_R, return_inverse=True)
    g = x_RD * slope_R[:, None]
    scores = np.stack([np.bincount(block, weights=column, minlength=len(labels)) for column in g.T], axis=1)
    clustered = np.sum((scores - scores.mean(axis=0)) ** 2, axis=0)
    curvature = np.sum(x_RD**2 * curvature_R[:, None], axis=0)
    known = curvature > 0
    if not known.any():
        return guess
    ratio = float(np.mean(clustered[known] / curvature[known]))
    if ratio <= 0:
        return guess
    return float(np.exp((TRUST * np.log(guess) - len(labels) * np.log(ratio)) / (TRUST + len(labels))))


TRUST = 20


def _objective(w: Array, x: Array, y: Array, family: Family, prior: Prior, temper: float) -> float:
    d = w - prior.mean
    return temper * float(np.sum(family.loss(x @ w, y))) + 0.5 * float(d @ prior.precision @ d)


def _derivatives(w: Array, x: Array, y: Array, family: Family, prior: Prior, temper: float) -> tuple[Array, Array]:
    z = x @ w
    slope = temper * x.T @ family.slope(z, y) + prior.precision @ (w - prior.mean)
    return slope, temper * (x.T * family.curvature(z, y)) @ x + prior.precision
