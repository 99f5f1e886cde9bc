"""Log-HAR: the volatility forecast that anything better must beat."""

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


class Har:
    """Least squares of log RV on log RV of the last hour, day and week and a constant for each coin, pooled.

    The exponent of a log forecast is a median; a constant factor, the one of least training QLIKE, makes it a mean.
    """

    name = "har"
    outputs = frozenset({"realised_var"})
    doc = "log-HAR on 1, 24 and 168 hours with coin constants, pooled"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Ordinary least squares over training and validation rows. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        mean_N = _har.coin_means(panel, rows)
        x_RF, y_R = _design(panel, rows.t, rows.n, mean_N), _har.log_target(panel, rows)
        gram, cross, _ = _har.moments(x_RF, y_R)
        weights_F = np.linalg.lstsq(gram, cross, rcond=None)[0]
        factor = realised.unbiased_factor(np.exp(y_R), np.exp(x_RF @ weights_F))
        recorder.metrics(
            {f"weight_{h}h": float(w) for h, w in zip(_har.HAR_HOURS, weights_F, strict=False)} | {"factor": factor}
        )
        tensors = {"weights_F": weights_F, "factor": np.array(factor), "mean_N": mean_N}
        return _rows.make_checkpoint(self.name, panel, fold, config={"hours": list(_har.HAR_HOURS)}, tensors=tensors)

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Realised variance on listed rows of `window`. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window, max(_har.HAR_HOURS))
        x_RF = _design(request.near, request.at, request.n, checkpoint.tensors["mean_N"])
        variance_R = _har.variances(x_RF @ checkpoint.tensors["weights_F"], float(checkpoint.tensors["factor"]))
        return _rows.variance_forecast(request, variance_R)


def _design(panel: Panel, t: np.ndarray, n: np.ndarray, mean_N: np.ndarray) -> np.ndarray:
    """`x_RF` float64: the three terms, then one-hot coins."""
    term_TNJ = _har.terms(panel.r_TN, mean_N, _har.HAR_HOURS)
    return np.concatenate([term_TNJ[t, n], np.eye(len(panel.symbols))[n]], axis=1)


MODEL = Har()
