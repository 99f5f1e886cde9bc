"""Lead-lag weights and the second moments of the returns they imply: what GARCH and the variance forecast need."""

from __future__ import annotations

import numpy as np

from crypto_assets.sandbox.kernels import variance_ahead
from crypto_assets.sandbox.planting import (
    BLOCK_HOURS,
    COINS,
    CORE,
    FACTOR_SHARE,
    FUNDING_AR,
    FUNDING_HOURS,
    LATENT_TEXT_SD,
    LEVEL_AR,
    LEVELS,
    REGIME_STAY,
    Planted,
    level_variance,
)
from crypto_assets.sandbox.randomness import Randomness

N = len(COINS)
EDGE = (0.12, 0.18)
"""Range of the size of an edge's weight."""


def lead_weights(planted: Planted, randomness: Randomness) -> np.ndarray:
    """L `[coin, leading coin]`: BTC to all others, or the hidden graph.

    In the graph each coin follows one default coin and runs against another. Because all shocks share a factor, two edges of
    one sign would show in the coin's own last return and in the market's; opposite ones cancel there, and only who knows the
    graph can forecast.
    """
    lead = np.zeros((N, N))
    if planted.graph:
        rng = randomness.generator("graph")
        for i in range(N):
            others = [j for j in range(CORE) if j != i]
            ahead, against = rng.choice(others, 2, replace=False)
            lead[i, ahead], lead[i, against] = rng.uniform(*EDGE), -rng.uniform(*EDGE)
    lead[1:, 0] += planted.a[1]
    return lead


def exogenous_variance(planted: Planted) -> float:
    """E of the squared mean that sentiment, funding and the daily drivers give, at the stationary law."""
    a1, _, _, a4 = planted.a
    return (a1**2 + a4**2) * (level_variance() + LATENT_TEXT_SD**2) + sum(b * b for b in planted.b)


def second_moments(planted: Planted, lead: np.ndarray) -> np.ndarray:
    """E[e_i^2] of each coin: the fixed point of the Markov-switching Lyapunov equation of e = (a3 z I + L) e' + noise.

    Cross-products of the drivers with earlier returns are left out; they are of the order of 1e-4.
    """
    noise = FACTOR_SHARE * np.ones((N, N)) + (1 - FACTOR_SHARE + exogenous_variance(planted)) * np.eye(N)
    transition = {z: lead + z * planted.a[2] * np.eye(N) for z in (1, -1)}
    q = {z: 0.5 * noise for z in (1, -1)}
    for _ in range(200):
        p = {z: transition[z] @ q[z] @ transition[z].T + 0.5 * noise for z in (1, -1)}
        q = {z: REGIME_STAY * p[z] + (1 - REGIME_STAY) * p[-z] for z in (1, -1)}
    return np.diag(q[1] + q[-1]).copy()


def expected_variance(planted: Planted, second_moment: np.ndarray, rows: dict[str, np.ndarray], ahead: int = 24) -> np.ndarray:
    """Expected sum of the next `ahead` values of h e^2, `[hour, coin]`; times s^2 it is the expected realised variance.

    The first hour's E[e^2] is exact given what is published; later ones use the decay of the level and of funding, hold the
    daily drivers, and take lead-lag and regime at their stationary size. `rows` are the arrays of `Path` for these hours.
    """
    out = np.empty_like(rows["variance"])
    for start in range(0, len(out), BLOCK_HOURS):
        cut = {k: rows[k][start : start + BLOCK_HOURS] for k in _NEEDED}
        moments = _moments(planted, second_moment, cut, ahead)
        out[start : start + BLOCK_HOURS] = variance_ahead(np.ascontiguousarray(cut["variance"]), moments, second_moment)
    return out


_NEEDED = ("variance", "known", "extra_variance", "last_e", "p_regime", "funding", "level", "exogenous", "sentiment", "hour")


def _moments(planted: Planted, second_moment: np.ndarray, rows: dict[str, np.ndarray], ahead: int) -> np.ndarray:
    a1, _, a3, a4 = planted.a
    hours = len(rows["hour"])
    moments = np.empty((hours, ahead, N))
    tilt = a3 * rows["last_e"]
    swing = 2.0 * rows["p_regime"][:, None] - 1.0
    moments[:, 0] = 1.0 + rows["extra_variance"] + rows["known"] ** 2 + tilt**2 + 2.0 * rows["known"] * tilt * swing
    inner = second_moment - 1.0 - exogenous_variance(planted)
    daily = (rows["exogenous"] - rows["sentiment"]) ** 2
    level, funding = LEVELS[rows["level"]], rows["funding"]
    stationary = level_variance()
    for j in range(1, ahead):
        settlements = ((rows["hour"] + j) // FUNDING_HOURS - rows["hour"] // FUNDING_HOURS)[:, None]
        decay = FUNDING_AR**settlements
        loading = a1**2 + 2 * a1 * a4 * decay * funding + a4**2 * (1 + decay**2 * (funding**2 - 1))
        squared = stationary + LEVEL_AR ** (2 * j) * (level**2 - stationary)
        moments[:, j] = 1.0 + inner + daily + loading * (squared + LATENT_TEXT_SD**2)
    return moments
