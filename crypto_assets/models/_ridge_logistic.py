"""L2-penalised logistic regression for many penalties and targets at once, in float32, on rows that fit in memory.

Minimises, per target k and penalty l, mean log-loss + l/2 |b|^2 (intercept free) by Newton steps with the fixed bound
X'X/4 of the Hessian (Boehning & Lindsay, Monotonicity of quadratic-approximation algorithms, 1988): it descends at every
step, and where nothing is predictable beyond a few percent (p near 1/2) the bound is the Hessian, so a handful of steps
converge. The Gram matrix is made once for all targets and penalties, and every pass is two matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.models._rows import BLOCK

MAX_STEPS = 60
TOLERANCE = 0.01
"""Largest last step, in standard errors of a coefficient of a unit-variance column (2 / sqrt(rows))."""


def gram(x_RF: np.ndarray) -> np.ndarray:
    """`X'X` in float64, summed over blocks of float32 products."""
    total = np.zeros((x_RF.shape[1], x_RF.shape[1]))
    for at in range(0, len(x_RF), BLOCK):
        block = x_RF[at : at + BLOCK]
        total += block.T @ block
    return total


def fit_path(
    x_RF: np.ndarray, y_RK: np.ndarray, penalties_L: np.ndarray, gram_FF: np.ndarray, start_FLK: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients `b_FLK`, float64. Column 0 of `x_RF` is the intercept: ones, not penalised. NaN in `y_RK` is left out.

    A target without one known label gets zeros.
    """
    K, L = y_RK.shape[1], len(penalties_L)
    known_K = np.isfinite(y_RK).sum(axis=0)
    ridge_LK = np.outer(penalties_L, known_K)
    step_of = _Newton.of(gram_FF / 4, 1e-9 * len(x_RF))
    b_FLK = np.zeros((x_RF.shape[1], L, K)) if start_FLK is None else start_FLK.copy()
    for _ in range(MAX_STEPS):
        downhill_FLK = _gradient(x_RF, y_RK, b_FLK)
        downhill_FLK[1:] -= ridge_LK * b_FLK[1:]
        step_FLK = step_of(downhill_FLK, ridge_LK) * (known_K > 0)
        b_FLK += step_FLK
        if np.abs(step_FLK).max() < TOLERANCE * 2 / np.sqrt(len(x_RF)):
            break
    return b_FLK


@dataclass(frozen=True)
class _Newton:
    """Solves (H + r D) s = g for any number of r, D = 1 but for the intercept, from one eigendecomposition.

    The intercept is eliminated first (its row and column have no r), which leaves `S + r` with S = vectors values vectors'.
    """

    corner: float
    edge_E: np.ndarray
    values_E: np.ndarray
    vectors_EE: np.ndarray

    @classmethod
    def of(cls, hessian_FF: np.ndarray, jitter: float) -> _Newton:
        corner, edge_E = hessian_FF[0, 0] + jitter, hessian_FF[1:, 0]
        values_E, vectors_EE = np.linalg.eigh(hessian_FF[1:, 1:] - np.outer(edge_E, edge_E) / corner)
        return cls(corner, edge_E, np.maximum(values_E, 0) + jitter, vectors_EE)

    def __call__(self, downhill_FLK: np.ndarray, ridge_LK: np.ndarray) -> np.ndarray:
        first_LK, shape = downhill_FLK[0], downhill_FLK[1:].shape
        rest_ELK = downhill_FLK[1:] - self.edge_E[:, None, None] * first_LK / self.corner
        turned_ELK = (self.vectors_EE.T @ rest_ELK.reshape(len(rest_ELK), -1)).reshape(shape)
        turned_ELK /= self.values_E[:, None, None] + ridge_LK
        step_ELK = (self.vectors_EE @ turned_ELK.reshape(len(rest_ELK), -1)).reshape(shape)
        step_1LK = (first_LK - np.tensordot(self.edge_E, step_ELK, axes=1))[None] / self.corner
        return np.concatenate([step_1LK, step_ELK])


def _gradient(x_RF: np.ndarray, y_RK: np.ndarray, b_FLK: np.ndarray) -> np.ndarray:
    """Sum over known rows of x (y - p), `[F, L, K]`."""
    F, L, K = b_FLK.shape
    weights = b_FLK.reshape(F, L * K).astype(np.float32)
    total = np.zeros((F, L * K))
    for at in range(0, len(x_RF), BLOCK):
        block, y_BK = x_RF[at : at + BLOCK], y_RK[at : at + BLOCK]
        error = (block @ weights).reshape(-1, L, K)
        np.negative(error, out=error)
        np.exp(np.minimum(error, 80, out=error), out=error)
        error += 1
        np.reciprocal(error, out=error)
        np.subtract(y_BK[:, None, :], error, out=error)
        np.nan_to_num(error, copy=False)
        total += block.T @ error.reshape(-1, L * K)
    return total.reshape(F, L, K)


def logits(x_RF: np.ndarray, b_F_: np.ndarray) -> np.ndarray:
    """`x @ b` in float64 of float32 products; `b` is `[F, ...]`."""
    flat = b_F_.reshape(len(b_F_), -1).astype(np.float32)
    return (x_RF @ flat).astype(np.float64).reshape(len(x_RF), *b_F_.shape[1:])
