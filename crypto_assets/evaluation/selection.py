"""What is left of a result after it was chosen as the best of many: Sharpe ratios corrected for the number of trials, and the
probability that the choice was overfitted.

Pure functions of returns `[T]` or `[T, N]`, one row a period (days here, hours overlap), without NaN. Sharpe ratios are of one
period, not annualised.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from crypto_assets.market.errors import SettingsError

Array = np.ndarray

LEAST_PERIODS = 3
MOST_BLOCKS = 16
"""Blocks of the symmetric cross-validation, as in the paper: C(16, 8) = 12,870 halvings."""
LEAST_IN_BLOCK = 4


class Overfitting(NamedTuple):
    """The best of one half of the time, looked up in the other half, over all halvings.

    `pbo`: share in which it lies below the median there; `loss`: share in which it lost money; `logits` of its relative rank.
    """

    pbo: float
    loss: float
    logits: Array


def period_sharpe(r: Array) -> float:
    """Mean over standard deviation of one period's return; NaN without variation."""
    spread = r.std(ddof=1) if len(r) > 1 and np.ptp(r) > 0 else 0.0
    return float(r.mean() / spread) if spread > 0 else float("nan")


def probabilistic_sharpe(r: Array, benchmark: float = 0.0) -> float:
    """P(the true Sharpe ratio exceeds `benchmark`), both a period, given length, skewness and kurtosis of the returns.

    Φ((SR - SR*) √(T-1) / √(1 - γ3 SR + (γ4 - 1)/4 SR²)): Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier,
    Journal of Risk 15(2), 2012. NaN for fewer than three periods or no variation.
    """
    from scipy.special import ndtr
    from scipy.stats import kurtosis, skew

    sr = period_sharpe(r)
    if len(r) < LEAST_PERIODS or not np.isfinite(sr):
        return float("nan")
    variance = 1 - float(skew(r)) * sr + (float(kurtosis(r, fisher=False)) - 1) / 4 * sr**2
    return float(ndtr((sr - benchmark) * np.sqrt((len(r) - 1) / variance))) if variance > 0 else float("nan")


def expected_max_sharpe(trials: int, spread: float) -> float:
    """Expected largest Sharpe ratio of `trials` without skill whose ratios have standard deviation `spread`.

    spread ((1-γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N e))), γ Euler's constant: Bailey and Lopez de Prado, The Deflated Sharpe Ratio,
    Journal of Portfolio Management 40(5), 2014. Raises SettingsError for fewer than one trial.
    """
    from scipy.special import ndtri

    if trials < 1:
        raise SettingsError(f"the number of trials must be at least 1, was {trials}: count them in the ledger")
    if trials == 1:
        return 0.0
    g = np.euler_gamma
    return float(spread * ((1 - g) * ndtri(1 - 1 / trials) + g * ndtri(1 - 1 / (trials * np.e))))


def deflated_sharpe(r: Array, trials: int, spread: float) -> float:
    """P(the true Sharpe ratio exceeds what the best of `trials` would show by luck alone); `spread` as above, a period.

    Trials resemble each other, so their count overstates the independent ones and the result is on the careful side.
    """
    return probabilistic_sharpe(r, expected_max_sharpe(trials, spread))


def overfitting(returns: Array, blocks: int = MOST_BLOCKS) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation, over `returns` `[T, N]`.

    Time is cut into `blocks` (even) of equal length; in each halving the best Sharpe ratio of one half is ranked in the other,
    ω = rank / (N + 1). A column without variation has ratio 0. Bailey, Borwein, Lopez de Prado, Zhu, The Probability of
    Backtest Overfitting, Journal of Computational Finance 20(4), 2017. Raises SettingsError for fewer than two columns, an odd
    number of blocks, or fewer periods than blocks.
    """
    T, N = returns.shape
    if N < 2 or blocks < 2 or blocks % 2 or blocks > T:
        raise SettingsError(
            f"overfitting needs two accounts or more and an even number of blocks with a period each, found {N} accounts, "
            f"{blocks} blocks and {T} periods: compare more accounts, or take fewer blocks"
        )
    block = np.repeat(np.arange(blocks), [len(part) for part in np.array_split(np.arange(T), blocks)])
    mask = np.zeros((len(halvings := list(combinations(range(blocks), blocks // 2))), blocks))
    np.put_along_axis(mask, np.array(halvings), 1, axis=1)
    sums = np.stack([[np.bincount(block, c, blocks) for c in part.T] for part in (returns, returns**2)])
    count = np.bincount(block, minlength=blocks).astype(np.float64)
    inside = _half_sharpe(mask, count, sums)
    outside = _half_sharpe(1 - mask, count, sums)
    best = inside.argmax(axis=1)[:, None]
    chosen = np.take_along_axis(outside, best, axis=1)
    rank = (outside < chosen).sum(axis=1) + ((outside == chosen).sum(axis=1) + 1) / 2
    logits = np.log(rank / (N + 1 - rank))
    return Overfitting(float(np.mean(logits < 0)), float(np.mean(chosen < 0)), logits)


def _half_sharpe(mask: Array, count: Array, sums: Array) -> Array:
    """Sharpe ratio of each column over the blocks of each row of `mask`, `[halvings, N]`, from sums by block."""
    n = (mask @ count)[:, None]
    total, squares = mask @ sums[0].T, mask @ sums[1].T
    variance = (squares - total**2 / n) / (n - 1)
    floor = 1e-12 * np.maximum(squares / n, np.finfo(float).tiny)
    return np.where(variance > floor, total / n / np.sqrt(np.maximum(variance, floor)), 0.0)


def blocks_for(periods: int) -> int:
    """The even number of blocks, at most sixteen, that leaves each at least four periods; 0 when there are too few."""
    return min(MOST_BLOCKS, periods // LEAST_IN_BLOCK // 2 * 2)
