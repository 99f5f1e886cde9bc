"""The base rate: the constant that every skill is measured against."""

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


class BaseRate:
    """How often returns were positive (and above the cross-sectional median) in training, all coins together."""

    name = "base_rate"
    outputs = frozenset({"p_up", "p_beats_median"})
    doc = "share of positive returns, and of returns above the median, over training and validation; one constant a target"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """(ones + 1/2) / (known + 1) per target. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        base_K = calibration.logit(calibration.base_rate(rows.targets(panel)))
        recorder.metrics({f"p_{name}": float(p) for name, p in zip(TARGETS, calibration.sigmoid(base_K), strict=True)})
        return _rows.make_checkpoint(self.name, panel, fold, config={}, tensors={"base_K": base_K})

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """The constants on every listed row of `window`. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window)
        p_K = calibration.sigmoid(checkpoint.tensors["base_K"])
        return _rows.direction_forecast(request, np.broadcast_to(p_K, (len(request.t), len(p_K))))


MODEL = BaseRate()
