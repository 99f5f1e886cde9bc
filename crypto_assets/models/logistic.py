"""Logistic regression on all features, one per direction target, pooled over coins with a constant for each coin."""

from __future__ import annotations

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _linear_direction as linear
from crypto_assets.models import _rows
from crypto_assets.models._base import Forecast, Scaler
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder


class Logistic:
    """Ridge logistic on features scaled by training median and interquartile range, clipped at 5, missing = 0."""

    name = "logistic"
    outputs = frozenset({"p_up", "p_beats_median"})
    doc = "L2 logistic regression on scaled features and coin constants, pooled; penalty and shrinkage from later data"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Fit on training, choose the penalty and shrink on validation, refit on both. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        kept, dropped = _rows.usable_columns(panel, rows)
        scaler = _rows.fit_scaler(panel, rows, kept)
        x_RF = _design(panel, rows.t, rows.n, kept, scaler)
        tensors = linear.fit_direction(x_RF, rows.targets(panel), rows, recorder)
        tensors |= {"kept": kept, "centre_F": scaler.centre_F, "scale_F": scaler.scale_F}
        return _rows.make_checkpoint(self.name, panel, fold, config={"clip": scaler.clip}, tensors=tensors, dropped=dropped)

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """P(up) per horizon and P(beats median) for listed rows of `window`. Raises CheckpointError for other features."""
        request = _rows.Request.of(checkpoint, self.name, panel, window)
        scaler = Scaler(checkpoint.tensors["centre_F"], checkpoint.tensors["scale_F"], checkpoint.config["clip"])
        x_RF = _design(request.cut, request.t, request.n, checkpoint.tensors["kept"], scaler)
        return _rows.direction_forecast(request, linear.predict_direction(x_RF, checkpoint.tensors))


def _design(panel: Panel, t: np.ndarray, n: np.ndarray, kept: np.ndarray, scaler: Scaler) -> np.ndarray:
    """`x_RF`: intercept, coins, scaled columns."""
    coins = len(panel.symbols)
    x_RF = _rows.scaled(panel, t, n, kept, scaler, before=1 + coins)
    x_RF[:, 0] = 1.0
    _rows.coin_columns(x_RF[:, 1 : 1 + coins], n)
    return x_RF


MODEL = Logistic()
