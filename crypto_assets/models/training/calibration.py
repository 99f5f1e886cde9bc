"""What the validation slice fits after training: how far to trust each answer. Few numbers, each bounded.

Shapes: N coins, T decision times, 4 direction targets, 3 horizons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto_assets.models._calibration import shrink_all, shrunk
from crypto_assets.models.training.heads import Heads, Targets

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

    @classmethod
    def fit(cls, heads_NT: Heads, truth_NT: Targets, base_4: np.ndarray, first: int) -> Calibration:
        """Fit on answers and truth `[N, T, ...]`; `first` is the place of their first hour on the time axis."""
        logits, mean, log_var, log_rv = (h.double().cpu().numpy() for h in heads_NT)
        ups, returns, realised = (y.double().cpu().numpy() for y in truth_NT)
        hours = np.broadcast_to(first + np.arange(logits.shape[1]), logits.shape[:2])
        shrink = np.array([mean_slope(mean[..., h], returns[..., h]) for h in range(3)])
        residuals = [(returns[..., h] - shrink[h] * mean[..., h]) * np.exp(-0.5 * log_var[..., h]) for h in range(3)]
        return cls(
            base_4=base_4,
            slope_4=shrink_all(logits.reshape(-1, 4), base_4, ups.reshape(-1, 4), hours.ravel()),
            mean_slope_3=shrink,
            variance_3=np.array([mean_square(e) for e in residuals]),
            realised=mean_square(np.exp(0.5 * (realised - log_rv))),
        )

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of the four direction targets, `[..., 4]`."""
        return shrunk(logits, self.base_4, self.slope_4)

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
