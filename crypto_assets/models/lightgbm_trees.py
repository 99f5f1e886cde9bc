"""LightGBM: gradient-boosted trees, one booster a direction target and one on the residual of HAR-X; the bar for every net.

Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS 2017. At a log-loss skill of a fifth of a
percent, trees fit noise sooner than signal: small trees, large leaves, a slow rate, half the rows and a third of the columns a
tree. How many rounds, and how far the logits are believed, is read off the last part of the history, which the trees that are
judged there have not seen; then the trees are grown again on all of it with that many rounds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# Read when OpenMP is loaded: threads that wait sleep. Spinning ones make a busy machine ten times slower at this.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

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
"""Share of the history that rounds and slopes of directions are read off: validation alone holds too few independent days
for so small a signal. For the variance it does."""
LEAF_SHARE = 0.025
"""Least share of the rows in a leaf, a month of all coins in three years: smaller ones learn the date off slow columns."""
PURGE_HOURS = 24
CEILING = 1.0
"""Most the logits are believed: the rounds were chosen on the rows that the slope is fitted on."""
EVERY_HOURS = {"1h": 1, "4h": 2, "24h": 6, "24h_relative": 6, "residual": 3}
"""One hour in so many is learned from: labels of neighbouring hours overlap and add time, not information."""
ENOUGH_ROWS = 50_000
"""A history is thinned no further than this."""
PATIENCE = 50
ROUNDS = {"debug": 40, "small": 400, "full": 1000}
RESIDUAL = "residual"
RESIDUAL_RATE = 0.08
"""Volatility is predictable: fewer, larger steps lose nothing there."""


class LightGbm:
    """Boosted trees on the raw columns (missing stays missing) and the coin as a category."""

    name = "lightgbm"
    outputs = frozenset({"p_up", "p_beats_median", "realised_var"})
    doc = "gradient-boosted trees: one a direction target, and one on the residual of HAR-X for the variance"

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Grow the trees. Boosters are kept as text in uint8 tensors; an empty one says the base rate was not beaten."""
        rows = _rows.Rows.of(panel, fold)
        kept, dropped = _rows.usable_columns(panel, rows)
        growth = _Growth(kept, _parameters(seed), ROUNDS[preset], recorder)
        data = _dataset(panel, rows, kept, growth.parameters)
        tensors = {"kept": kept, **_fit_direction(data, panel, rows, growth)}
        tensors |= {f"har_x_{k}": v for k, v in _fit_variance(data, panel, rows, growth).items()}
        config = {
            **_parameters(0),
            "later_share": LATER_SHARE,
            "leaf_share": LEAF_SHARE,
            "patience": PATIENCE,
            "rounds_at_most": ROUNDS[preset],
        }
        config.pop("num_threads")
        return _rows.make_checkpoint(self.name, panel, fold, config=config, tensors=tensors, dropped=dropped)

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Directions and variance on listed rows of `window`. Raises CheckpointError for other features or coins."""
        request = _rows.Request.of(checkpoint, self.name, panel, window, har_x.CONTEXT_HOURS)
        tensors = checkpoint.tensors
        x_RF = _inputs(request.cut, request.t, request.n, tensors["kept"])
        gain_RK = np.stack([_raw(tensors[f"booster_{k}"], x_RF) for k in TARGETS], axis=1)
        p_RK = calibration.shrunk(tensors["base_K"] + gain_RK, tensors["base_K"], tensors["slope_K"])
        forecast = _rows.direction_forecast(request, p_RK)
        linear = {k.removeprefix("har_x_"): v for k, v in tensors.items() if k.startswith("har_x_")}
        log_R = har_x.log_forecast(request.near, request.at, request.n, linear) + _raw(linear[RESIDUAL], x_RF)
        forecast.realised_var_TN[request.t, request.n] = _har.variances(log_R, float(linear["tree_factor"]))
        return forecast


def _parameters(seed: int) -> dict[str, Any]:
    return {
        "learning_rate": 0.03,
        "num_leaves": 15,
        "feature_fraction": 0.3,
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "cat_smooth": 50.0,
        "cat_l2": 50.0,
        "max_bin": 63,
        "feature_pre_filter": False,
        "boost_from_average": False,
        "deterministic": True,
        "force_col_wise": True,
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


@dataclass(frozen=True)
class _Parts:
    """Positions among the rows of the fit: to learn from, to judge on (later, after a purge), and all of them, thinned."""

    early: np.ndarray
    late: np.ndarray
    everything: np.ndarray

    @classmethod
    def of(cls, rows: _rows.Rows, known_R: np.ndarray, target: str) -> _Parts:
        """Rows whose label is known; the hours kept move on by one a day, so that every hour of the day is met."""
        first, last = rows.t[0], rows.t[-1] + 1
        start = int(rows.t[rows.valid.start])
        if target != RESIDUAL:
            start = min(int(last - LATER_SHARE * (last - first)), start)
        every = min(EVERY_HOURS[target], max(1, len(rows) // ENOUGH_ROWS))
        kept = known_R & ((rows.t + rows.t // 24) % every == 0)
        early, late = kept & (rows.t < start - PURGE_HOURS), known_R & (rows.t >= start)
        return cls(*(np.flatnonzero(part) for part in (early, late, kept)))


def _fit_direction(data: lgb.Dataset, panel: Panel, rows: _rows.Rows, growth: _Growth) -> dict[str, np.ndarray]:
    y_RK = rows.targets(panel)
    base_K = calibration.logit(calibration.base_rate(y_RK[rows.train]))
    slope_K, tensors = np.zeros(len(TARGETS)), {}
    for k, target in enumerate(TARGETS):
        y_R, base = y_RK[:, k], float(base_K[k])
        parts = _Parts.of(rows, np.isfinite(y_R), target)
        booster, rounds = growth.judged(data, y_R, base, parts, target)
        gain_V = _gains(booster, panel, rows, parts.late, growth.kept)
        block_V = rows.t[parts.late] // calibration.BLOCK_HOURS[k]
        slope_K[k] = min(CEILING, calibration.shrinkage(base + gain_V, base, y_R[parts.late], block_V))
        rounds = rounds if slope_K[k] > 0 else 0
        tensors[f"booster_{target}"] = growth.final(data, y_R, base, parts, rounds, target)
        growth.recorder.metrics({f"rounds_{target}": rounds, f"slope_{target}": float(slope_K[k])})
    return {"base_K": base_K, "slope_K": slope_K, **tensors}


def _fit_variance(data: lgb.Dataset, panel: Panel, rows: _rows.Rows, growth: _Growth) -> dict[str, np.ndarray]:
    """HAR-X, trees on what it leaves, and the factor that makes their exponential a mean."""
    tensors, _, residual_R = har_x.fit_tensors(panel, rows, growth.recorder)
    known_R = np.isfinite(residual_R)
    parts = _Parts.of(rows, known_R, RESIDUAL)
    booster, rounds = growth.judged(data, residual_R, 0.0, parts, RESIDUAL)
    every = np.flatnonzero(known_R)
    left = residual_R[every] - _gains(booster, panel, rows, every, growth.kept)
    factor = realised.unbiased_factor(np.exp(left), np.ones_like(left))
    growth.recorder.metrics({"rounds_residual": rounds, "tree_factor": factor})
    return tensors | {RESIDUAL: growth.final(data, residual_R, 0.0, parts, rounds, RESIDUAL), "tree_factor": np.array(factor)}


@dataclass(frozen=True)
class _Growth:
    """How trees are grown: the columns, the parameters, the most rounds, where curves go."""

    kept: np.ndarray
    parameters: dict[str, Any]
    most: int
    recorder: Recorder

    def judged(self, data: lgb.Dataset, y_R: np.ndarray, base: float, parts: _Parts, what: str) -> tuple[lgb.Booster, int]:
        """Trees on the early part, and the number of rounds at which the later part stopped gaining; 0 where it has no row."""
        if not len(parts.early) or not len(parts.late):
            return lgb.Booster(self._objective(what, 1), _part(data, np.arange(1), np.zeros(len(y_R)), base)), 0
        early, late = (_part(data, part, y_R, base) for part in (parts.early, parts.late))
        curve: dict[str, Any] = {}
        callbacks: list[Any] = [lgb.early_stopping(PATIENCE, verbose=False), lgb.record_evaluation(curve)]
        booster = lgb.train(
            self._objective(what, len(parts.early)),
            early,
            self.most,
            valid_sets=[late],
            valid_names=["later"],
            callbacks=callbacks,
        )
        for step, value in enumerate(next(iter(curve["later"].values()))):
            self.recorder.curve(f"loss_{what}", step, value)
        return booster, booster.best_iteration

    def final(self, data: lgb.Dataset, y_R: np.ndarray, base: float, parts: _Parts, rounds: int, what: str) -> np.ndarray:
        """Trees on the whole fit, `rounds` of them, as text in bytes; none for 0."""
        if rounds <= 0:
            return np.zeros(0, dtype=np.uint8)
        booster = lgb.train(self._objective(what, len(parts.everything)), _part(data, parts.everything, y_R, base), rounds)
        return np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8).copy()

    def _objective(self, what: str, rows: int) -> dict[str, Any]:
        chosen = self.parameters | {"min_data_in_leaf": max(20, int(LEAF_SHARE * rows))}
        if what == RESIDUAL:
            return chosen | {"objective": "regression", "metric": "l2", "learning_rate": RESIDUAL_RATE}
        return chosen | {"objective": "binary", "metric": "binary_logloss"}


def _part(data: lgb.Dataset, part: np.ndarray, y_R: np.ndarray, base: float) -> lgb.Dataset:
    """Some rows of the binned data with their labels; scores start from `base`."""
    subset = data.subset(part.tolist()).construct()
    subset.set_label(y_R[part])
    subset.set_init_score(np.full(len(part), base))
    return subset


def _gains(booster: lgb.Booster, panel: Panel, rows: _rows.Rows, part: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Raw scores over the base on some rows."""
    x_RF = _inputs(panel, rows.t[part], rows.n[part], kept)
    return np.asarray(booster.predict(x_RF, num_iteration=booster.best_iteration, raw_score=True))


def _raw(text: np.ndarray, x_RF: np.ndarray) -> np.ndarray:
    """Raw scores of a stored booster; 0 for an empty one."""
    if not len(text):
        return np.zeros(len(x_RF))
    booster = _booster(text.tobytes())
    return np.asarray(booster.predict(x_RF, raw_score=True, num_threads=int(os.environ.get("OMP_NUM_THREADS", "2"))))


@lru_cache(maxsize=64)
def _booster(text: bytes) -> lgb.Booster:
    """Parsed once: a server asks the same trees again and again."""
    return lgb.Booster(model_str=text.decode())


MODEL = LightGbm()
