"""The compiled recursions: autoregressions, returns with GARCH variance, the Hamilton filter, the variance forecast.

Arrays are `[hour, coin]` float64, row k belonging to the bar that opens at hour k; states are carried over the borders of
blocks in place.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from crypto_assets.sandbox.planting import FACTOR_SHARE, GARCH_ALPHA, GARCH_BETA, GARCH_OMEGA, REGIME_STAY


@njit(cache=True)
def autoregress(innovations: np.ndarray, rho: float, state: np.ndarray) -> np.ndarray:
    """x_k = rho x_{k-1} + sqrt(1 - rho^2) innovation_k: unit variance. `state[coin]` is x before the first row, updated."""
    out = np.empty_like(innovations)
    scale = math.sqrt(1.0 - rho * rho)
    for k in range(innovations.shape[0]):
        for i in range(innovations.shape[1]):
            state[i] = rho * state[i] + scale * innovations[k, i]
            out[k, i] = state[i]
    return out


@njit(cache=True)
def regime_path(uniform: np.ndarray, stay: float, start: float) -> np.ndarray:
    """The hidden regime z = +-1 of each hour; `start` is z before the first."""
    out = np.empty(uniform.shape[0])
    z = start
    for k in range(uniform.shape[0]):
        if uniform[k] > stay:
            z = -z
        out[k] = z
    return out


@njit(cache=True)
def returns_path(exogenous, latent, shocks, regime, halted, lead, a3, second_moment, last_e, variance):
    """Standardised returns of each bar.

    e = exogenous + lead e' + a3 z e' + latent + shocks; a halted bar has e = 0 and keeps its variance. Variance follows
    h' = omega + alpha h e^2 / E[e^2] + beta h, of unit mean. `last_e[coin]` and `variance[coin]` (of the next bar) are updated.
    Returns e, the variance of each bar (known when it opens), and the part of the mean that is known without regime and noise.
    """
    hours, coins = shocks.shape
    e = np.zeros((hours, coins))
    h = np.empty((hours, coins))
    known = np.empty((hours, coins))
    for k in range(hours):
        for i in range(coins):
            mean = exogenous[k, i]
            for j in range(coins):
                if lead[i, j] != 0.0:
                    mean += lead[i, j] * last_e[j]
            known[k, i] = mean
            h[k, i] = variance[i]
            if not halted[k, i]:
                e[k, i] = mean + a3 * regime[k] * last_e[i] + latent[k, i] + shocks[k, i]
        for i in range(coins):
            last_e[i] = e[k, i]
            if not halted[k, i]:
                pull = GARCH_ALPHA * e[k, i] * e[k, i] / second_moment[i] + GARCH_BETA
                variance[i] = GARCH_OMEGA + variance[i] * pull
    return e, h, known


@njit(cache=True)
def hamilton(e, known, extra_variance, halted, a3, state, last_e):
    """P(z_k = +1 | everything before bar k) from the coins' joint one-factor density (Hamilton 1989).

    Sigma = diag(1 - c + extra) + c 11'; its inverse is that of Sherman and Morrison, so a step costs O(coins), and the
    log-likelihood ratio of the regimes is 2 a3 e'^T Sigma^-1 (e - known). Halted coins say nothing and are left out.
    `state[0]` is the probability for the first row and `last_e[coin]` the return before it, both updated.
    """
    hours, coins = e.shape
    out = np.empty(hours)
    c = FACTOR_SHARE
    p = state[0]
    for k in range(hours):
        out[k] = p
        ones, xs, ls, cross = 0.0, 0.0, 0.0, 0.0
        for i in range(coins):
            if not halted[k, i]:
                w = 1.0 / (1.0 - c + extra_variance[k, i])
                x = e[k, i] - known[k, i]
                ones += w
                xs += w * x
                ls += w * last_e[i]
                cross += w * x * last_e[i]
        ratio = 2.0 * a3 * (cross - c / (1.0 + c * ones) * xs * ls)
        odds = p / (1.0 - p) * math.exp(ratio)
        posterior = odds / (1.0 + odds)
        p = REGIME_STAY * posterior + (1.0 - REGIME_STAY) * (1.0 - posterior)
        for i in range(coins):
            last_e[i] = e[k, i]
    state[0] = p
    return out


@njit(cache=True)
def hamilton_alone(e, known, extra_variance, halted, a3, state, last_e):
    """As `hamilton`, for each coin from its own returns alone: out `[hour, coin]`, `state[coin]`."""
    hours, coins = e.shape
    out = np.empty((hours, coins))
    for k in range(hours):
        for i in range(coins):
            p = state[i]
            out[k, i] = p
            ratio = 0.0
            if not halted[k, i]:
                ratio = 2.0 * a3 * last_e[i] * (e[k, i] - known[k, i]) / (1.0 + extra_variance[k, i])
            odds = p / (1.0 - p) * math.exp(ratio)
            posterior = odds / (1.0 + odds)
            state[i] = REGIME_STAY * posterior + (1.0 - REGIME_STAY) * (1.0 - posterior)
            last_e[i] = e[k, i]
    return out


@njit(cache=True)
def smooth(values: np.ndarray, keep: float) -> np.ndarray:
    """Exponentially weighted mean x_k = keep x_{k-1} + (1 - keep) value_k, starting at the first value."""
    out = np.empty_like(values)
    level = values[0]
    for k in range(values.shape[0]):
        level = keep * level + (1.0 - keep) * values[k]
        out[k] = level
    return out


@njit(cache=True)
def variance_ahead(h, moments, second_moment):
    """Sum over the next bars j of E[h_j e_j^2], from `h[hour, coin]` of the first and `moments[hour, j, coin]` = E[e_j^2]."""
    hours, ahead, coins = moments.shape
    out = np.zeros((hours, coins))
    for k in range(hours):
        for i in range(coins):
            expected = h[k, i]
            for j in range(ahead):
                q = moments[k, j, i]
                out[k, i] += expected * q
                expected = GARCH_OMEGA + expected * (GARCH_ALPHA * q / second_moment[i] + GARCH_BETA)
    return out
