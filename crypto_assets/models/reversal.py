"""Last-hour reversal: what the sign of the hour just gone says, and nothing else."""

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

STATES = ("down", "flat or missing", "up")


class Reversal:
    """Three constants a target: the frequency after a down hour, after none, after an up hour, pooled over coins."""

    name = "reversal"
    outputs = frozenset({"p_up", "p_beats_median"})
    doc = "frequency of up (of beating the median) after a down, a flat or an up hour of the coin itself"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Frequencies over training and validation. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        y_RK, state_R = rows.targets(panel), _state(panel.r_TN[rows.t, rows.n])
        logit_SK = np.stack([calibration.logit(calibration.base_rate(y_RK[state_R == s])) for s in range(len(STATES))])
        p_SK = calibration.sigmoid(logit_SK)
        recorder.metrics(
            {f"p_{k}_after_{s}": float(p_SK[i, j]) for j, k in enumerate(TARGETS) for i, s in ((0, "down"), (2, "up"))}
        )
        return _rows.make_checkpoint(self.name, panel, fold, config={"states": list(STATES)}, tensors={"logit_SK": logit_SK})

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """The constant of each listed row's state. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window)
        p_SK = calibration.sigmoid(checkpoint.tensors["logit_SK"])
        return _rows.direction_forecast(request, p_SK[_state(request.cut.r_TN[request.t, request.n])])


def _state(r: np.ndarray) -> np.ndarray:
    """Position in STATES."""
    return np.nan_to_num(np.sign(r), nan=0.0).astype(np.int64) + 1


MODEL = Reversal()
