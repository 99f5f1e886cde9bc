"""The random walk of volatility: tomorrow's realised variance is today's."""

from __future__ import annotations

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _har, _rows
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder


class LastRV:
    """24 times the mean squared hourly return of the last 24 hours; at least 1 % of the coin's training mean."""

    name = "last_rv"
    outputs = frozenset({"realised_var"})
    doc = "realised variance of the last 24 hours"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Keeps each coin's training mean, which stands in where fewer than 18 of the last 24 hours are known."""
        mean_N = _har.coin_means(panel, _rows.Rows.of(panel, fold))
        return _rows.make_checkpoint(self.name, panel, fold, config={"hours": _har.DAY_HOURS}, tensors={"mean_N": mean_N})

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Realised variance on listed rows of `window`. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window, _har.DAY_HOURS)
        term_TN = _har.terms(request.near.r_TN, checkpoint.tensors["mean_N"], (_har.DAY_HOURS,))[..., 0]
        return _rows.variance_forecast(request, _har.variances(term_TN[request.at, request.n], _har.DAY_HOURS))


MODEL = LastRV()
