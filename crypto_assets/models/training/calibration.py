"""What is fitted after training: how far to trust each answer. Few numbers, each bounded.

How much of a direction, of its depth and of a mean to believe is asked of the validation slice alone. Levels of variance are
asked of the last year of training and validation together: two months of them are ruled by a few days (on sixteen coins the
factor of one validation slice missed that of the month after it by a third, and cost a tenth of the QLIKE).

Shapes: N coins, T decision times, 4 direction targets, 3 horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.models._calibration import BLOCK_HOURS, CEILING, likeliest, shrinkage, sigmoid
from crypto_assets.models.training.heads import Heads, Targets

VARIANCE_BOUND = 4.0
SLOPE_SPREAD = 0.25
"""Standard deviation of a slope around 1 before validation is seen. Two months hold nine independent weeks of a 24 h target:
on sixteen coins their own opinion of a slope, -0.1 with an error of 0.5, once cost 27e-4 nats in the quarter after them."""


@dataclass(frozen=True)
class Calibration:
    """`base_4` training base rates as logits; how far the issued logit goes from them.

    `depth_4`: share of what the layers add to the linear path, 0 to 1, nothing until validation gives evidence of more, because
    depth is quick to memorise. `slope_4`: of the distance from the base rate, 0 = the base rate, 1 = as the net said, and
    validation moves it only so far (`SLOPE_SPREAD`), because the linear path has been shrunk by all later parts of training.
    `mean_slope_3` shrinks the mean of the return, `variance_3` scales its variance, `realised` the realised variance, whose
    logarithm is what was learned (the mean of a lognormal lies above the exponential of its log-mean).
    """

    base_4: np.ndarray
    depth_4: np.ndarray
    slope_4: np.ndarray
    mean_slope_3: np.ndarray
    variance_3: np.ndarray
    realised: float

    @classmethod
    def fit(cls, heads_NT: Heads, truth_NT: Targets, base_4: np.ndarray, valid: slice) -> Calibration:
        """Fit on answers and truth `[N, T, ...]` that end with the validation slice, which is `valid` of their T hours."""
        logits, mean, log_var, log_rv, linear = (h.double().cpu().numpy() for h in heads_NT)
        ups, returns, realised = (y.double().cpu().numpy() for y in truth_NT)
        depth_4, slope_4 = trust(logits[:, valid], linear[:, valid], ups[:, valid], base_4)
        shrink = np.array([mean_slope(mean[:, valid, h], returns[:, valid, h]) for h in range(3)])
        residuals = [(returns[..., h] - shrink[h] * mean[..., h]) * np.exp(-0.5 * log_var[..., h]) for h in range(3)]
        return cls(
            base_4=base_4,
            depth_4=depth_4,
            slope_4=slope_4,
            mean_slope_3=shrink,
            variance_3=np.array([mean_square(e) for e in residuals]),
            realised=mean_square(np.exp(0.5 * (realised - log_rv))),
        )

    def probabilities(self, logits: np.ndarray, linear: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of the four direction targets, `[..., 4]`."""
        return sigmoid(issued(logits, linear, self.base_4, self.depth_4, self.slope_4))

    def tensors(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        return {
            "base": self.base_4,
            "depth": self.depth_4,
            "slope": self.slope_4,
            "mean_slope": self.mean_slope_3,
            "variance": self.variance_3,
            "realised": np.array([self.realised]),
        }

    @classmethod
    def restore(cls, t: dict[str, np.ndarray]) -> Calibration:
        """The inverse of `tensors`."""
        return cls(t["base"], t["depth"], t["slope"], t["mean_slope"], t["variance"], float(t["realised"][0]))


def issued(logits: np.ndarray, linear: np.ndarray, base_4: np.ndarray, depth_4: np.ndarray, slope_4: np.ndarray) -> np.ndarray:
    """The logits that are issued, `[..., 4]`."""
    return base_4 + slope_4 * (linear - base_4 + depth_4 * (logits - linear))


def trust(
    logits_NT4: np.ndarray, linear_NT4: np.ndarray, ups_NT4: np.ndarray, base_4: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`depth_4` and `slope_4` of `issued`, from consecutive hours: first what depth adds, then the whole."""
    hours = np.broadcast_to(np.arange(logits_NT4.shape[1]), logits_NT4.shape[:2]).ravel()
    depth, slope = np.zeros(4), np.zeros(4)
    for k in range(4):
        z, linear, up = (a[..., k].ravel() for a in (logits_NT4, linear_NT4, ups_NT4))
        block = hours // BLOCK_HOURS[k]
        depth[k] = min(1.0, shrinkage(z, linear, up, block))
        slope[k] = departure(linear + depth[k] * (z - linear), float(base_4[k]), up, block)
    return depth, slope


def departure(z: np.ndarray, base: float, up: np.ndarray, block: np.ndarray) -> float:
    """Slope in [0, 1.25] of `base + s (z - base)`: the posterior mean under a normal prior around 1. 0 without labels.

    The likelihood is the normal one of the maximum-likelihood slope with its error clustered by block.
    """
    if not np.isfinite(up).any():
        return 0.0
    slope, variance = likeliest(z, base, up, block)
    return float(np.clip(1 + (slope - 1) * SLOPE_SPREAD**2 / (SLOPE_SPREAD**2 + variance), 0.0, CEILING))


def mean_slope(mean: np.ndarray, truth: np.ndarray) -> float:
    """Slope in [0, 1] of the mean with the least squared error; 0 without labels."""
    known = np.isfinite(truth)
    power = float((mean[known] ** 2).sum())
    return float(np.clip((mean[known] * truth[known]).sum() / power, 0.0, 1.0)) if power > 0 else 0.0


def mean_square(errors: np.ndarray) -> float:
    """Mean of the squares, kept in [1/4, 4]; 1 without any.

    Of standardised errors: the factor that makes a variance right. Of root ratios of realised to forecast variance: the
    constant that minimises QLIKE (Patton 2011).
    """
    known = errors[np.isfinite(errors)]
    return float(np.clip((known**2).mean(), 1 / VARIANCE_BOUND, VARIANCE_BOUND)) if len(known) else 1.0
