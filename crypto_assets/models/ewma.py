"""RiskMetrics: an exponentially weighted mean of squared returns."""

from __future__ import annotations

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _har, _rows
from crypto_assets.models import _realised as realised
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder

DAILY_DECAY = 0.94
"""J.P. Morgan/Reuters, RiskMetrics Technical Document (1996)."""
HOURLY_DECAY = DAILY_DECAY ** (1 / 24)


class Ewma:
    """v(t) = 0.94^(1/24) v(t-1) + (1 - 0.94^(1/24)) r(t)^2, times 24; an unknown hour leaves v as it was."""

    name = "ewma"
    outputs = frozenset({"realised_var"})
    doc = "RiskMetrics: exponentially weighted squared hourly returns with the daily decay 0.94, scaled to 24 hours"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Keeps each coin's training mean, from which the recursion starts."""
        mean_N = _har.coin_means(panel, _rows.Rows.of(panel, fold))
        return _rows.make_checkpoint(self.name, panel, fold, config={"hourly_decay": HOURLY_DECAY}, tensors={"mean_N": mean_N})

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Realised variance on listed rows of `window`, the recursion run from the panel's start.

        Raises CheckpointError for other features or coins.
        """
        request = _rows.Request.of(checkpoint, self.name, panel, window)
        s = panel.slice(window)
        variance_TN = recursion(panel.r_TN[: s.stop], checkpoint.tensors["mean_N"], checkpoint.config["hourly_decay"])[s]
        variance_R = np.maximum(_har.DAY_HOURS * variance_TN[request.t, request.n], realised.TINY)
        return _rows.variance_forecast(request, variance_R)


def recursion(r_TN: np.ndarray, start_N: np.ndarray, decay: float) -> np.ndarray:
    """Hourly variance `[T, N]` after each hour."""
    known = np.isfinite(r_TN)
    keep_TN = np.where(known, decay, 1.0)
    add_TN = np.where(known, (1 - decay) * np.where(known, r_TN, 0) ** 2, 0.0)
    out, variance = np.empty_like(add_TN), np.asarray(start_N, dtype=np.float64)
    for t in range(len(out)):
        variance = keep_TN[t] * variance + add_TN[t]
        out[t] = variance
    return out


MODEL = Ewma()
