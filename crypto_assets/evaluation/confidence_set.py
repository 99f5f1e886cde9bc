"""The model confidence set: which of many models may be the best, at a level that holds for all comparisons together.

Hansen, Lunde and Nason, The Model Confidence Set, Econometrica 79(2), 2011, with the range statistic and a circular block
bootstrap over days, since coins move together and hours follow each other.
"""

from __future__ import annotations

import numpy as np

from crypto_assets.evaluation.statistics import block_rows

Array = np.ndarray

BLOCK_DAYS = 5
DRAWS = 1000
LEAST_BLOCKS = 2


def daily_losses(losses: Array, ts: Array) -> Array:
    """Loss of each model and day `[days, M]`, scaled so that the mean over days is the mean over rows.

    `losses` `[rows, M]`, `ts` datetime64 of each row; days with more rows weigh more, as they do in the mean.
    """
    _, day = np.unique(ts.astype("datetime64[D]"), return_inverse=True)
    days = int(day.max()) + 1 if len(day) else 0
    sums = [np.bincount(day, column, days) for column in losses.T]
    return np.column_stack(sums) * days / max(len(losses), 1) if sums else np.empty((days, 0))


def model_confidence_set(
    losses: Array, *, block: int = BLOCK_DAYS, draws: int = DRAWS, seed: int = 0, rows: Array | None = None
) -> Array:
    """p-value of each model `[M]`: it belongs to the 95 % confidence set where this is at least 0.05.

    `losses` `[T, M]` in time order, without NaN; `block`: periods drawn together; `rows` `[draws, T]`: the drawn periods, by
    default drawn here. The worst model is removed while the largest standardised difference among those left is more than
    luck; its p-value is that of the test that removed it, or of an earlier one if larger. The last has 1. Equal models stay
    together. NaN with fewer than two blocks.
    """
    T, M = losses.shape
    if LEAST_BLOCKS * block > T and rows is None:
        return np.full(M, np.nan)
    drawn = block_rows(T, block, draws, np.random.default_rng(seed)) if rows is None else rows
    count = np.stack([np.bincount(row, minlength=T) for row in drawn]) / drawn.shape[1]
    means, redrawn = losses.mean(axis=0), count @ losses
    gap = means[:, None] - means
    noise = redrawn[:, :, None] - redrawn[:, None, :] - gap
    scale = np.sqrt((noise**2).mean(axis=0))
    scale[scale < 1e-12 * max(float(np.abs(means).max(initial=0.0)), 1e-300)] = np.inf
    return _eliminate(gap / scale, noise / scale)


def _eliminate(gap: Array, noise: Array) -> Array:
    """The sequence of tests: `gap` `[M, M]` observed, `noise` `[draws, M, M]` under the null, both standardised."""
    left = list(range(len(gap)))
    found = np.ones(len(gap))
    so_far = 0.0
    while len(left) > 1:
        among = np.ix_(left, left)
        observed = gap[among]
        simulated = noise[:, left][:, :, left].max(axis=(1, 2))
        worst = left[int(observed.max(axis=1).argmax())]
        so_far = max(so_far, float((observed.max() < simulated).mean()))
        if observed.max() <= 0:
            break
        found[worst] = so_far
        left.remove(worst)
    return found
