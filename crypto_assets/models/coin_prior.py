"""One constant a coin: some coins simply rose, or beat the others, more often. What features add must be above this."""

from __future__ import annotations

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import TARGETS, Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _calibration as calibration
from crypto_assets.models import _rows
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder

OVERLAP = np.array([1.0, 4.0, 24.0, 24.0])
"""Hourly rows per independent label: a 24 h return shares 23 hours with the next row's."""
MAX_STRENGTH = 1e7
"""Prior rows when coins differ no more than chance: in effect the base rate."""


class CoinPrior:
    """Each coin's frequency, shrunk to the base rate by a Beta prior whose strength is estimated from all coins."""

    name = "coin_prior"
    outputs = frozenset({"p_up", "p_beats_median"})
    doc = "one constant a coin and target: its frequency shrunk to the base rate by an empirical-Bayes Beta prior"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Posterior means over training and validation. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        y_RK = rows.targets(panel)
        coins, known_RK = len(panel.symbols), np.isfinite(y_RK)
        shape = (len(TARGETS), coins)
        ones_KN, known_KN = np.zeros(shape), np.zeros(shape)
        for k in range(len(TARGETS)):
            ones_KN[k] = np.bincount(rows.n, weights=np.where(known_RK[:, k], y_RK[:, k], 0), minlength=coins)
            known_KN[k] = np.bincount(rows.n, weights=known_RK[:, k], minlength=coins)
        base_K = calibration.base_rate(y_RK)
        p_NK = np.stack([shrunk_rates(ones_KN[k] / o, known_KN[k] / o, base_K[k]) for k, o in enumerate(OVERLAP)], axis=1)
        recorder.metrics({f"spread_{name}": float(np.std(p_NK[:, k])) for k, name in enumerate(TARGETS)})
        return _rows.make_checkpoint(self.name, panel, fold, config={"overlap": OVERLAP.tolist()}, tensors={"p_NK": p_NK})

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Each coin's constants on its listed rows. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window)
        return _rows.direction_forecast(request, checkpoint.tensors["p_NK"][request.n])


def shrunk_rates(ones_N: np.ndarray, known_N: np.ndarray, base: float) -> np.ndarray:
    """Posterior means (ones + m base) / (known + m) under Beta(m base, m (1 - base)); `base` where nothing is known.

    The strength m comes from the method of moments (Casella, An introduction to empirical Bayes data analysis, 1985): the
    variance between coins is their weighted spread less what chance alone gives, v = tau^2; m = base (1 - base) / tau^2 - 1.
    """
    seen = known_N > 0
    if seen.sum() < 2:
        return np.full(len(known_N), base)
    rate, count = ones_N[seen] / known_N[seen], known_N[seen]
    chance = base * (1 - base)
    weight = count - count**2 / count.sum()
    between = (np.sum(count * (rate - rate.mean()) ** 2) - chance * (seen.sum() - 1)) / weight.sum()
    strength = MAX_STRENGTH if between <= 0 else float(np.clip(chance / between - 1, 1.0, MAX_STRENGTH))
    return (ones_N + strength * base) / (known_N + strength)


MODEL = CoinPrior()
