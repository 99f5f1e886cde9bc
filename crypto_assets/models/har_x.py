"""HAR-X: log-HAR with exogenous inputs, by ridge regression."""

from __future__ import annotations

import hashlib

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _har, _rows
from crypto_assets.models import _realised as realised
from crypto_assets.models._base import Forecast, Scaler
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder

PENALTIES = (1e-3, 1e-2, 1e-1)
"""Per row, in units of the variance of a scaled column; the HAR terms and the intercept go free."""
CLIP = 5.0
SHORT_HOURS, SERVED_AT_MOST = 1_000, 6
"""A server asks about one hour again and again, and these inputs are made of its returns alone."""
_SERVED: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]] = {}
CONTEXT_HOURS = max(_har.WIDE_HOURS)


class HarX:
    """Ridge of log RV on HAR terms of 1 h to 30 days, other coins, signed returns, the clock, coins and all features."""

    name = "har_x"
    outputs = frozenset({"realised_var"})
    doc = "log-HAR with other coins' variance, leverage, hour-of-week seasonality and all features, by ridge regression"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Penalty of least validation QLIKE, then a fit on training and validation. `preset` and `seed` change nothing."""
        rows = _rows.Rows.of(panel, fold)
        tensors, dropped, _ = fit_tensors(panel, rows, recorder)
        config = {"hours": list(_har.WIDE_HOURS), "clip": CLIP}
        return _rows.make_checkpoint(self.name, panel, fold, config=config, tensors=tensors, dropped=dropped)

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Realised variance on listed rows of `window`. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window, CONTEXT_HOURS)
        log_R = log_forecast(request.near, request.at, request.n, checkpoint.tensors)
        return _rows.variance_forecast(request, _har.variances(log_R, float(checkpoint.tensors["factor"])))


def fit_tensors(
    panel: Panel, rows: _rows.Rows, recorder: Recorder
) -> tuple[dict[str, np.ndarray], tuple[str, ...], np.ndarray]:
    """What `log_forecast` needs, the columns dropped, and `residual_R`: log RV less the forecast of training's fit alone."""
    kept, dropped = _rows.usable_columns(panel, rows)
    scaler = _rows.fit_scaler(panel, rows, kept)
    tensors = {"mean_N": _har.coin_means(panel, rows), "kept": kept, "centre_F": scaler.centre_F, "scale_F": scaler.scale_F}
    term_TNJ, x_TNE = _inputs(panel, tensors["mean_N"])
    tensors |= _moments("term", term_TNJ, rows) | _moments("extra", x_TNE, rows)
    x_RF, y_R = _design(panel, rows.t, rows.n, term_TNJ, x_TNE, tensors), _har.log_target(panel, rows)
    train, valid = _har.moments(x_RF[rows.train], y_R[rows.train]), _har.moments(x_RF[rows.valid], y_R[rows.valid])
    free = np.ones(x_RF.shape[1])
    free[: 1 + len(_har.WIDE_HOURS)] = 0.0
    tried = []
    for penalty in PENALTIES:
        log_R = x_RF @ _solve(*train, penalty, free)
        factor = realised.unbiased_factor(np.exp(y_R[rows.train]), np.exp(log_R[rows.train]))
        loss = np.nanmean(realised.qlike(np.exp(y_R[rows.valid]), factor * np.exp(log_R[rows.valid])))
        tried.append((float(np.nan_to_num(loss, nan=np.inf)), penalty, y_R - log_R))
    loss, penalty, residual_R = min(tried, key=lambda one: one[0])
    weights_F = _solve(train[0] + valid[0], train[1] + valid[1], train[2] + valid[2], penalty, free)
    factor = realised.unbiased_factor(np.exp(y_R), np.exp(x_RF @ weights_F))
    recorder.metrics({"har_x_penalty": penalty, "har_x_valid_qlike": loss, "har_x_factor": factor})
    return tensors | {"weights_F": weights_F, "factor": np.array(factor)}, dropped, residual_R


def log_forecast(panel: Panel, t: np.ndarray, n: np.ndarray, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Log realised variance at rows (t, n), before the factor that makes it a mean."""
    term_TNJ, x_TNE = _inputs(panel, tensors["mean_N"])
    return _design(panel, t, n, term_TNJ, x_TNE, tensors) @ tensors["weights_F"].astype(np.float32)


def _inputs(panel: Panel, mean_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """HAR terms and exogenous inputs; of the short panels that are served, the last few are kept."""
    key = None
    if len(panel.ts) <= SHORT_HOURS:
        said = (panel.ts, panel.r_TN, panel.listed_TN, mean_N)
        key = (panel.symbols, *(hashlib.blake2b(np.ascontiguousarray(a).tobytes()).digest() for a in said))
        if key in _SERVED:
            return _SERVED[key]
    term_TNJ = _har.terms(panel.r_TN, mean_N, _har.WIDE_HOURS)
    found = term_TNJ, _har.exogenous(panel, term_TNJ)
    if key is not None:
        for old in list(_SERVED)[: 1 - SERVED_AT_MOST]:
            _SERVED.pop(old, None)
        _SERVED[key] = found
    return found


def _moments(name: str, x_TNX: np.ndarray, rows: _rows.Rows) -> dict[str, np.ndarray]:
    """Centre and scale over training rows."""
    x = x_TNX[rows.t[rows.train], rows.n[rows.train]].astype(np.float64)
    scale = x.std(axis=0)
    return {f"{name}_centre": x.mean(axis=0), f"{name}_scale": np.where(scale > 0, scale, 1.0)}


def _design(
    panel: Panel, t: np.ndarray, n: np.ndarray, term_TNJ: np.ndarray, x_TNE: np.ndarray, tensors: dict[str, np.ndarray]
) -> np.ndarray:
    """`x_RF` float32: intercept, HAR terms, coins, exogenous inputs, scaled features."""
    terms, coins, extra = term_TNJ.shape[-1], len(panel.symbols), x_TNE.shape[-1]
    edges = np.cumsum([1, terms, coins, extra])
    scaler = Scaler(tensors["centre_F"], tensors["scale_F"], CLIP)
    x_RF = _rows.scaled(panel, t, n, tensors["kept"], scaler, before=int(edges[-1]))
    x_RF[:, 0] = 1.0
    x_RF[:, 1 : edges[1]] = (term_TNJ[t, n] - tensors["term_centre"]) / tensors["term_scale"]
    _rows.coin_columns(x_RF[:, edges[1] : edges[2]], n)
    standard = (x_TNE[t, n] - tensors["extra_centre"]) / tensors["extra_scale"]
    x_RF[:, edges[2] : edges[3]] = np.clip(standard, -CLIP, CLIP)
    return x_RF


def _solve(gram: np.ndarray, cross: np.ndarray, count: int, penalty: float, free: np.ndarray) -> np.ndarray:
    return np.linalg.solve(gram + np.diag(penalty * count * free + 1e-9 * max(count, 1)), cross)


MODEL = HarX()
