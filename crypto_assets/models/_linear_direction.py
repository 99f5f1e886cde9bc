"""The fit that `logistic` and `linear_lags` share: one ridge logistic per target, penalty and shrinkage from later data.

Two months of validation hold some twenty independent daily outcomes of a market whose coins move together: too few to tell
a penalty by. So training itself is walked forward first: fitted on its first half, judged on the next eighth, and so on, the
validation window last. Penalty and slope come from all those later parts together.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crypto_assets.dataset.panel import TARGETS
from crypto_assets.models import _calibration as calibration
from crypto_assets.models import _ridge_logistic as ridge
from crypto_assets.models._rows import Rows
from crypto_assets.models.tracking import Recorder

PENALTIES = np.array([3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0])
"""Per row; 0.01 with 500,000 rows is a normal prior of sd 0.014 on the effect of one standard deviation of a column."""
FIRST_SHARE = 0.5
PARTS = 4
PURGE_HOURS = 24


@dataclass(frozen=True)
class OutOfSample:
    """Logits of rows judged by a model that saw only earlier ones: `z_VLK` over penalties and targets, labels, times."""

    z_VLK: np.ndarray
    y_VK: np.ndarray
    t_V: np.ndarray


def fit_direction(x_RF: np.ndarray, y_RK: np.ndarray, rows: Rows, recorder: Recorder) -> dict[str, np.ndarray]:
    """Tensors `weights_FK`, `base_K` (logits), `slope_K`, from rows in training-then-validation order.

    Per target: the penalty of least out-of-sample log-loss, the slope on the same logits, then weights from all rows.
    """
    base_K = calibration.logit(calibration.base_rate(y_RK[rows.train]))
    later, path_FLK, gram_FF = walk_forward(x_RF, y_RK, rows)
    losses_LK = np.array(
        [[calibration.log_loss(z, y) for z, y in zip(z_VK.T, later.y_VK.T, strict=True)] for z_VK in later.z_VLK.swapaxes(0, 1)]
    )
    best_K = np.argmin(np.where(np.isfinite(losses_LK), losses_LK, 0.0), axis=0)
    z_VK = later.z_VLK[:, best_K, np.arange(len(TARGETS))]
    slope_K = calibration.shrink_all(z_VK, base_K, later.y_VK, later.t_V)
    weights_FK = np.zeros((x_RF.shape[1], len(TARGETS)))
    for k, m in enumerate(best_K):
        one = (slice(None), slice(m, m + 1), slice(k, k + 1))
        weights_FK[:, k] = ridge.fit_path(x_RF, y_RK[:, k : k + 1], PENALTIES[m : m + 1], gram_FF, path_FLK[one])[:, 0, 0]
        recorder.metrics(
            {
                f"penalty_{TARGETS[k]}": float(PENALTIES[m]),
                f"slope_{TARGETS[k]}": float(slope_K[k]),
                f"log_loss_{TARGETS[k]}": float(losses_LK[m, k]),
            }
        )
    return {"weights_FK": weights_FK, "base_K": base_K, "slope_K": slope_K}


def walk_forward(x_RF: np.ndarray, y_RK: np.ndarray, rows: Rows) -> tuple[OutOfSample, np.ndarray, np.ndarray]:
    """Out-of-sample logits of every penalty on the later parts, the last path of coefficients, and the Gram of all rows."""
    edges = [*_edges(rows), len(rows)]
    gram_FF = ridge.gram(x_RF[: edges[0]])
    z, path_FLK = [], np.zeros((x_RF.shape[1], len(PENALTIES), y_RK.shape[1]))
    for start, stop in pairwise(edges):
        purged = y_RK[:start].copy()
        purged[np.searchsorted(rows.t[:start], rows.t[start] - PURGE_HOURS, side="right") :] = np.nan
        path_FLK = ridge.fit_path(x_RF[:start], purged, PENALTIES, gram_FF, path_FLK)
        z.append(ridge.logits(x_RF[start:stop], path_FLK))
        gram_FF = gram_FF + ridge.gram(x_RF[start:stop])
    first = edges[0]
    return OutOfSample(np.concatenate(z), y_RK[first:], rows.t[first:]), path_FLK, gram_FF


def _edges(rows: Rows) -> list[int]:
    """Row at which each later part begins: equal spans of time of the training window, then the validation window."""
    t = rows.t[rows.train]
    span = t[-1] + 1 - t[0]
    shares = FIRST_SHARE + (1 - FIRST_SHARE) * np.arange(PARTS) / PARTS
    inner = np.searchsorted(t, t[0] + np.round(span * shares).astype(np.int64))
    return sorted({int(e) for e in inner if 0 < e < len(t)} | {rows.valid.start})


def predict_direction(x_RF: np.ndarray, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Calibrated probabilities `p_RK`."""
    z_RK = ridge.logits(x_RF, tensors["weights_FK"])
    return calibration.shrunk(z_RK, tensors["base_K"], tensors["slope_K"])
