"""What the validation slice fits after training: how far to trust each answer. Few numbers, each bounded.

Shapes: N coins, T decision times, 4 direction targets, 3 horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

SLOPE_MAX = 1.25
VARIANCE_BOUND = 4.0


@dataclass(frozen=True)
class Calibration:
    """`base_4` training base rates as logits; `slope_4` of the distance from them, 0 = the base rate, 1 = as the net said.

    `mean_slope_3` shrinks the mean of the return, `variance_3` scales its variance, `realised` the realised variance, whose
    logarithm is what was learned (the mean of a lognormal lies above the exponential of its log-mean).
    """

    base_4: np.ndarray
    slope_4: np.ndarray
    mean_slope_3: np.ndarray
    variance_3: np.ndarray
    realised: float

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {
            "base": self.base_4,
            "slope": self.slope_4,
            "mean_slope": self.mean_slope_3,
            "variance": self.variance_3,
            "realised": np.array([self.realised]),
        }

    @classmethod
    def restore(cls, t: dict[str, np.ndarray]) -> Calibration:
        """The inverse of `tensors`."""
        return cls(t["base"], t["slope"], t["mean_slope"], t["variance"], float(t["realised"][0]))


def slope(logit: np.ndarray, base: float, truth: np.ndarray) -> float:
    """Slope in [0, 1.25] of the distance from `base` with the least log-loss; 1 without labels.

    The loss is convex in the slope. Temperature scaling (Guo et al. 2017) with the base rate as its centre in place of 0.
    """
    known = np.isfinite(truth) & np.isfinite(logit)
    if not known.any():
        return 1.0
    z, sign = logit[known] - base, 2 * truth[known] - 1

    def loss(s: float) -> float:
        return float(np.logaddexp(0.0, -sign * (base + s * z)).mean())

    best = float(minimize_scalar(loss, bounds=(0.0, SLOPE_MAX), method="bounded", options={"xatol": 1e-4}).x)
    return min((0.0, best, SLOPE_MAX), key=loss)


def mean_slope(mean: np.ndarray, truth: np.ndarray) -> float:
    """Slope in [0, 1] of the mean with the least squared error; 0 without labels."""
    known = np.isfinite(truth) & np.isfinite(mean)
    power = float((mean[known] ** 2).sum())
    return float(np.clip((mean[known] * truth[known]).sum() / power, 0.0, 1.0)) if power > 0 else 0.0


def variance_scale(mean: np.ndarray, log_var: np.ndarray, truth: np.ndarray) -> float:
    """What makes standardised errors have variance one, in [1/4, 4]; 1 without labels."""
    known = np.isfinite(truth)
    if not known.any():
        return 1.0
    ratio = float(((truth[known] - mean[known]) ** 2 * np.exp(-log_var[known])).mean())
    return float(np.clip(ratio, 1 / VARIANCE_BOUND, VARIANCE_BOUND))


def realised_scale(residual: np.ndarray) -> float:
    """Mean of realised over forecast variance, the constant that minimises QLIKE, in [1/4, 4]; 1 without labels.

    `residual`: log realised variance less its forecast.
    """
    known = residual[np.isfinite(residual)]
    return float(np.clip(np.exp(known).mean(), 1 / VARIANCE_BOUND, VARIANCE_BOUND)) if len(known) else 1.0
