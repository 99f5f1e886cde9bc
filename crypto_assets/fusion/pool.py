"""The log opinion pool: the average of the members' logits, normalised.

Genest and Zidek, Combining Probability Distributions, Statistical Science 1(1), 1986: the geometric mean of the members'
densities. For a yes or no that is the mean of the logits; for log-normal variances the mean of the log variances. It is the
plain stand-in for Bayesian stacking: equal weights, nothing fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crypto_assets.market.errors import SettingsError
from crypto_assets.models._base import Forecast

EDGE = 1e-9
"""Probabilities are kept this far from 0 and 1, so that one certain member does not silence the others."""


def pool(forecasts: Sequence[Forecast], weights: Sequence[float] | None = None) -> Forecast:
    """The members' weighted average, element by element; equal weights by default, scaled to sum to 1.

    A member that says nothing (NaN) about an element is left out of it, and the other weights there are scaled up; where nobody
    says anything the pool is NaN. Means and log variances of returns are averaged as they are. Raises SettingsError for no
    members, members about other hours or coins, or weights that are not one non-negative number a member with a positive sum.
    """
    if not forecasts:
        raise SettingsError("a pool needs at least one forecast")
    first = forecasts[0]
    for other in forecasts[1:]:
        if other.symbols != first.symbols or not np.array_equal(other.ts, first.ts):
            raise SettingsError("the members of a pool must be about the same hours and coins: align them first")
    w = _weights(len(forecasts), weights)
    return Forecast(
        first.ts,
        first.symbols,
        _expit(_mean([_logit(f.p_up_HTN) for f in forecasts], w)),
        _mean([f.mean_HTN for f in forecasts], w),
        _mean([f.log_var_HTN for f in forecasts], w),
        _expit(_mean([_logit(f.p_beats_median_TN) for f in forecasts], w)),
        np.exp(_mean([np.log(np.maximum(f.realised_var_TN, np.finfo(float).tiny)) for f in forecasts], w)),
    )


def _weights(count: int, weights: Sequence[float] | None) -> np.ndarray:
    given = np.ones(count) if weights is None else np.asarray(weights, dtype=float)
    if given.shape != (count,) or not np.isfinite(given).all() or (given < 0).any() or given.sum() <= 0:
        raise SettingsError(f"weights must be {count} numbers, none negative, with a positive sum; were {weights!r}")
    return given / given.sum()


def _mean(members: Sequence[np.ndarray], w: np.ndarray) -> np.ndarray:
    """Weighted mean over the members that are not NaN; NaN where all are."""
    total, mass = np.zeros_like(members[0]), np.zeros_like(members[0])
    for weight, member in zip(w, members, strict=True):
        speaks = ~np.isnan(member)
        total += np.where(speaks, weight * member, 0.0)
        mass += weight * speaks
    return np.divide(total, mass, out=np.full_like(total, np.nan), where=mass > 0)


def _logit(p: np.ndarray) -> np.ndarray:
    inside = np.clip(p, EDGE, 1 - EDGE)
    return np.log(inside) - np.log1p(-inside)


def _expit(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
