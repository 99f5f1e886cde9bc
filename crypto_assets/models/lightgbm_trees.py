"""LightGBM: gradient-boosted trees, one booster a direction target and one on the residual of HAR-X; the bar for every net.

Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017. At a log-loss skill of a fifth of a
percent, trees fit noise sooner than signal: small trees, large leaves, a slow rate, half the rows and a third of the columns a
tree. How many rounds, and how far the logits are believed, is read off the last part of the history, which the trees that are
judged there have not seen; then the trees are grown again on all of it with that many rounds.
"""

from __future__ import annotations

import os
from typing import Any

import lightgbm as lgb
import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import TARGETS, Panel
from crypto_assets.market.time import Window
from crypto_assets.models import _calibration as calibration
from crypto_assets.models import _har, _rows, har_x
from crypto_assets.models import _realised as realised
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder

LATER_SHARE = 0.25
"""Share of the history that rounds and slopes are read off; validation alone holds too few independent days."""
PURGE_HOURS = 24
PATIENCE = 50
ROUNDS = {"debug": 40, "small": 400, "full": 1000}
RESIDUAL = "residual"


class LightGbm:
    """Boosted trees on the raw columns (missing stays missing) and the coin as a category."""

    name = "lightgbm"
    outputs = frozenset({"p_up", "p_beats_median", "realised_var"})
    doc = "gradient-boosted trees: one a direction target, and one on the residual of HAR-X for the variance"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Grow the trees. Boosters are kept as text in uint8 tensors; an empty one says the base rate was not beaten."""
        rows = _rows.Rows.of(panel, fold)
        kept, dropped = _rows.usable_columns(panel, rows)
        data = _dataset(panel, rows, kept, _parameters(len(rows), seed))
        tensors = {"kept": kept, **_fit_direction(data, panel, rows, kept, seed, ROUNDS[preset], recorder)}
        tensors |= {f"har_x_{k}": v for k, v in _fit_variance(data, panel, rows, seed, ROUNDS[preset], recorder).items()}
        config = {
            **_parameters(len(rows), 0),
            "later_share": LATER_SHARE,
            "patience": PATIENCE,
            "rounds_at_most": ROUNDS[preset],
        }
        config.pop("num_threads")
        return _rows.make_checkpoint(self.name, panel, fold, config=config, tensors=tensors, dropped=dropped)

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Directions and variance on listed rows of `window`. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, panel, window, har_x.CONTEXT_HOURS)
        tensors = checkpoint.tensors
        x_RF = _inputs(request.cut, request.t, request.n, tensors["kept"])
        gain_RK = np.stack([_raw(tensors[f"booster_{k}"], x_RF) for k in TARGETS], axis=1)
        p_RK = calibration.shrunk(tensors["base_K"] + gain_RK, tensors["base_K"], tensors["slope_K"])
        forecast = _rows.direction_forecast(request, p_RK)
        linear = {k.removeprefix("har_x_"): v for k, v in tensors.items() if k.startswith("har_x_")}
        log_R = har_x.log_forecast(request.near, request.at, request.n, linear) + _raw(linear[RESIDUAL], x_RF)
        forecast.realised_var_TN[request.t, request.n] = _har.variances(log_R, float(linear["tree_factor"]))
        return forecast


def _parameters(rows: int, seed: int) -> dict[str, Any]:
    return {
        "learning_rate": 0.03,
        "num_leaves": 15,
        "min_data_in_leaf": int(np.clip(rows // 400, 40, 1000)),
        "feature_fraction": 0.3,
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "cat_smooth": 50.0,
        "cat_l2": 50.0,
        "max_bin": 63,
        "boost_from_average": False,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": int(os.environ.get("OMP_NUM_THREADS", "2")),
        "seed": seed,
        "verbosity": -1,
    }


def _inputs(panel: Panel, t: np.ndarray, n: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`x_RF` float32: kept columns as they are, then the coin's number."""
    x_RF = np.empty((len(t), len(kept) + 1), dtype=np.float32)
    for at in range(0, len(t), _rows.BLOCK):
        part = slice(at, at + _rows.BLOCK)
        x_RF[part, :-1] = panel.x_TNF[t[part], n[part]][:, kept]
    x_RF[:, -1] = n
    return x_RF


def _dataset(panel: Panel, rows: _rows.Rows, kept: np.ndarray, parameters: dict[str, Any]) -> lgb.Dataset:
    """All rows of the fold, binned once for every target."""
    x_RF = _inputs(panel, rows.t, rows.n, kept)
    data = lgb.Dataset(x_RF, label=np.zeros(len(rows)), categorical_feature=[len(kept)], params=parameters, free_raw_data=True)
    return data.construct()


def _later(rows: _rows.Rows) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and later rows to judge on, with a purge of the longest label between them."""
    first, last = rows.t[0], rows.t[-1] + 1
    start = min(int(last - LATER_SHARE * (last - first)), int(rows.t[rows.valid.start]))
    return np.flatnonzero(rows.t < start - PURGE_HOURS), np.flatnonzero(rows.t >= start)


def _fit_direction(
    data: lgb.Dataset, panel: Panel, rows: _rows.Rows, kept: np.ndarray, seed: int, most: int, recorder: Recorder
) -> dict[str, np.ndarray]:
    y_RK = rows.targets(panel)
    base_K = calibration.logit(calibration.base_rate(y_RK[rows.train]))
    parameters = _parameters(len(rows), seed) | {"objective": "binary", "metric": "binary_logloss"}
    early, late = _later(rows)
    slope_K, tensors = np.zeros(len(TARGETS)), {}
    for k, target in enumerate(TARGETS):
        label, weight = np.nan_to_num(y_RK[:, k]), np.isfinite(y_RK[:, k]).astype(np.float32)
        grown = _grow(data, label, weight, float(base_K[k]), (early, late), parameters, most, recorder, target)
        gain_V = _gains(grown, panel, rows, late, kept)
        later = np.where(weight[late] > 0, y_RK[late, k], np.nan)
        slope_K[k] = calibration.shrinkage(
            base_K[k] + gain_V, float(base_K[k]), later, rows.t[late] // calibration.BLOCK_HOURS[k]
        )
        rounds = grown.best_iteration if slope_K[k] > 0 else 0
        tensors[f"booster_{target}"] = _again(data, label, weight, float(base_K[k]), parameters, rounds)
        recorder.metrics({f"rounds_{target}": rounds, f"slope_{target}": float(slope_K[k])})
    return {"base_K": base_K, "slope_K": slope_K, **tensors}


def _fit_variance(
    data: lgb.Dataset, panel: Panel, rows: _rows.Rows, seed: int, most: int, recorder: Recorder
) -> dict[str, np.ndarray]:
    """HAR-X, trees on what it leaves, and the factor that makes their exponential a mean."""
    tensors, _, residual_R = har_x.fit_tensors(panel, rows, recorder)
    weight = np.isfinite(residual_R).astype(np.float32)
    label = np.nan_to_num(residual_R)
    parameters = _parameters(len(rows), seed) | {"objective": "regression", "metric": "l2"}
    parts = np.arange(rows.train.start, rows.train.stop), np.arange(rows.valid.start, rows.valid.stop)
    grown = _grow(data, label, weight, 0.0, parts, parameters, most, recorder, RESIDUAL)
    left = (label - _gains(grown, panel, rows, np.arange(len(rows)), tensors["kept"]))[weight > 0]
    factor = realised.unbiased_factor(np.exp(left), np.ones_like(left))
    booster = _again(data, label, weight, 0.0, parameters, grown.best_iteration)
    recorder.metrics({"rounds_residual": grown.best_iteration, "tree_factor": factor})
    return tensors | {RESIDUAL: booster, "tree_factor": np.array(factor)}


def _grow(
    data: lgb.Dataset,
    label: np.ndarray,
    weight: np.ndarray,
    base: float,
    parts: tuple[np.ndarray, np.ndarray],
    parameters: dict[str, Any],
    most: int,
    recorder: Recorder,
    what: str,
) -> lgb.Booster:
    """Trees on the first part, stopped by the second."""
    early, late = (_labelled(data.subset(part), label[part], weight[part], base) for part in parts)
    curve: dict[str, Any] = {}
    callbacks = [lgb.early_stopping(PATIENCE, verbose=False), lgb.record_evaluation(curve)]
    booster = lgb.train(parameters, early, most, valid_sets=[late], valid_names=["later"], callbacks=callbacks)
    for step, value in enumerate(next(iter(curve["later"].values()))):
        recorder.curve(f"loss_{what}", step, value)
    return booster


def _gains(booster: lgb.Booster, panel: Panel, rows: _rows.Rows, part: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Raw scores over the base on some rows."""
    return booster.predict(
        _inputs(panel, rows.t[part], rows.n[part], kept), num_iteration=booster.best_iteration, raw_score=True
    )


def _again(
    data: lgb.Dataset, label: np.ndarray, weight: np.ndarray, base: float, parameters: dict[str, Any], rounds: int
) -> np.ndarray:
    """Trees on every row, `rounds` of them, as text in bytes; none for 0."""
    if rounds <= 0:
        return np.zeros(0, dtype=np.uint8)
    booster = lgb.train(parameters, _labelled(data, label, weight, base), rounds)
    return np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8).copy()


def _labelled(data: lgb.Dataset, label: np.ndarray, weight: np.ndarray, base: float) -> lgb.Dataset:
    data.construct()
    data.set_label(label)
    data.set_weight(weight)
    data.set_init_score(np.full(len(label), base))
    return data


def _raw(text: np.ndarray, x_RF: np.ndarray) -> np.ndarray:
    """Raw scores of a stored booster; 0 for an empty one."""
    if not len(text):
        return np.zeros(len(x_RF))
    booster = lgb.Booster(model_str=text.tobytes().decode())
    return booster.predict(x_RF, raw_score=True, num_threads=int(os.environ.get("OMP_NUM_THREADS", "2")))


MODEL = LightGbm()
