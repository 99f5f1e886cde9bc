"""What a combination is fitted by: three losses, convex in the linear predictor, with exact first and second derivatives.

`bernoulli`: log-loss of a logit. `gamma`: QLIKE of a log variance, RV/f - ln(RV/f) - 1 (Patton 2011). `gaussian`: half the
squared error of a standardised mean. All element by element; the sum of any of them over rows is convex in the coefficients,
so a maximum a posteriori is unique and Newton finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Part = Callable[[Array, Array], Array]
MOST = 30.0
"""exp is not taken of more: a variance e^30 times the forecast is no variance."""


@dataclass(frozen=True)
class Family:
    """`loss`, its slope and its curvature in the predictor; each takes (predictor, outcome)."""

    name: str
    loss: Part
    slope: Part
    curvature: Part


def expit(z: Array) -> Array:
    """1 / (1 + exp(-z)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * z))


def _excess(h: Array, y: Array) -> Array:
    """RV / f for a log variance `h` and the log of the outcome `y`."""
    return np.exp(np.minimum(y - h, MOST))


FAMILIES = {
    "bernoulli": Family(
        "bernoulli",
        lambda z, y: np.logaddexp(0, z) - y * z,
        lambda z, y: expit(z) - y,
        lambda z, y: expit(z) * expit(-z),
    ),
    "gamma": Family("gamma", lambda h, y: _excess(h, y) - (y - h) - 1, lambda h, y: 1 - _excess(h, y), _excess),
    "gaussian": Family("gaussian", lambda m, y: 0.5 * (y - m) ** 2, lambda m, y: m - y, lambda m, y: np.ones_like(m)),
}
"""By name. For `gamma` the outcome is ln RV."""
