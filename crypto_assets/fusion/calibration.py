"""Calibration of the combined logit: as it is, a temperature, or an isotonic curve, by a proper score on later rows.

It is given predictors that were made by weights fitted on earlier rows (`stacking.learn`), so it corrects what the stacker does
out of sample. The three are fitted on the first half of them and compared by log-loss on the second; one other than "as it is"
must be better by `WORTH` tempered nats there, and is then fitted on all. Temperature: Guo et al., On Calibration of Modern
Neural Networks (2017). Isotonic: Zadrozny and Elkan (2002), here interpolated between the middles of its steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from crypto_assets.fusion.families import FAMILIES, expit
from crypto_assets.fusion.stacking import WORTH

Array = np.ndarray

KINDS = ("none", "temperature", "isotonic")
LEAST_ROWS = 500
"""Fewer are not split in halves."""
STEP_ROWS = 200
"""An isotonic step of fewer tempered rows than a fifth of this would be noise; rows are binned to at least this many first."""


@dataclass(frozen=True)
class Calibrator:
    """`kind`, and what it needs: the `slope` of the logit, or the knots of a curve from logit to logit."""

    kind: str = "none"
    slope: float = 1.0
    knots_2K: Array | None = None

    def logit(self, z: Array) -> Array:
        """The calibrated logit, monotone in `z`."""
        if self.kind == "temperature":
            return self.slope * z
        if self.knots_2K is not None:
            return np.interp(z, self.knots_2K[0], self.knots_2K[1])
        return z


def choose(z_R: Array, y_R: Array, worth: float) -> tuple[Calibrator, dict[str, float]]:
    """The calibrator for rows in time order, and by kind the mean log-loss on the later half (none for few rows)."""
    if len(y_R) < 2 * LEAST_ROWS:
        return Calibrator(), {}
    half = len(y_R) // 2
    loss = FAMILIES["bernoulli"].loss
    found = {kind: fit(kind, z_R[:half], y_R[:half], worth) for kind in KINDS}
    later = {kind: float(np.mean(loss(c.logit(z_R[half:]), y_R[half:]))) for kind, c in found.items()}
    best = min(later, key=later.__getitem__)
    if worth * (len(y_R) - half) * (later["none"] - later[best]) < WORTH:
        best = "none"
    return fit(best, z_R, y_R, worth), later


def fit(kind: str, z_R: Array, y_R: Array, worth: float) -> Calibrator:
    """One calibrator of a kind. Raises ValueError for another kind."""
    if kind == "none":
        return Calibrator()
    if kind == "temperature":
        return Calibrator(kind, _slope(z_R, y_R, worth))
    if kind == "isotonic":
        return _isotonic(z_R, y_R, worth)
    raise ValueError(f"unknown calibration {kind!r}: one of {', '.join(KINDS)}")


def _slope(z_R: Array, y_R: Array, worth: float) -> float:
    """Maximum a posteriori slope under a normal prior around 1 with standard deviation 1/4, never negative."""
    slope = 1.0
    for _ in range(30):
        p = expit(slope * z_R)
        gradient = worth * float(np.sum(z_R * (p - y_R))) + 16 * (slope - 1)
        curvature = worth * float(np.sum(z_R**2 * p * (1 - p))) + 16
        slope -= gradient / curvature
    return max(slope, 0.0)


def _isotonic(z_R: Array, y_R: Array, worth: float) -> Calibrator:
    """Pooled adjacent violators over equal-mass bins; a step's share is shrunk to its mean forecast by half a pseudo row."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(z_R, kind="stable")
    bins = np.array_split(order, max(2, min(200, len(order) // STEP_ROWS)))
    n = np.array([len(b) for b in bins]) * worth
    z = np.array([z_R[b].mean() for b in bins])
    share = (np.array([y_R[b].mean() for b in bins]) * n + 0.5 * expit(z)) / (n + 0.5)
    steps = isotonic_regression(share, weights=n)
    edges = steps.blocks
    middles = np.array([np.average(z[a:b], weights=n[a:b]) for a, b in pairwise(edges)])
    heights = np.array([steps.x[a] for a in edges[:-1]])
    return Calibrator("isotonic", knots_2K=np.stack([middles, np.log(heights / (1 - heights))]))
