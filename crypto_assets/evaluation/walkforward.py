"""The walk-forward run that assets, `evaluate` and benchmarks share: fit, checkpoint, forecast, fold by fold.

A fit is given the panel up to the end of its validation window and nothing later; a forecast is given features and past
returns, and no label at all. Both see the panel as views. Nothing here computes a metric.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.fusing import FUSED, fit_fusion, fuse_window, members_among
from crypto_assets.evaluation.ledger import Study
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets.market.time import Window
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import DIRECTION, TRAINED, VOLATILITY
from crypto_assets.models.tracking import Recorder, Silent

CONTEXT = timedelta(days=50)
"""How much of the panel before a window a model is given: the full Transformer looks back 1,174 hours."""
FITTED = frozenset({"seed", "step", "best_iteration", "rounds", "temperature"})
"""Entries of a checkpoint's config that the data or the seed decided: no part of what makes a trial."""

Progress = Callable[[str, str, float], None]
"""Called with the model, the fold and the seconds that its fit and forecast took."""
RecorderFactory = Callable[[str, Fold], AbstractContextManager[Recorder]]


@dataclass(frozen=True)
class Combination:
    """A member that averages others: logits of `direction`, log variances of `variance`.

    With `whole` it is made only when all of them are there, else of those that are.
    """

    direction: tuple[str, ...] = ()
    variance: tuple[str, ...] = ()
    whole: bool = True
    table: str = ""
    """Table of its forecasts where that is not `forecasts/<name>`."""


COMBINATIONS: dict[str, Combination] = {
    "pool": Combination(direction=("lightgbm", "logistic", "linear_lags")),
    "har_x_lightgbm": Combination(variance=("har_x", "lightgbm")),
    FUSED: Combination(
        tuple(n for n in TRAINED if n in DIRECTION), tuple(n for n in TRAINED if n in VOLATILITY), False, "fusion/fused"
    ),
}
"""`fused` names the members of the fusion (`evaluation/fusing.py`), which the walk fits; `combine` alone gives their pool."""


class Forecasts(dict[str, pl.DataFrame]):
    """Model -> rows of `forecasts/<model>`, fold after fold; `configs` has each model's declared configuration.

    `weights`: rows of `fusion/weights`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.configs: dict[str, dict[str, Any]] = {}
        self.weights: pl.DataFrame | None = None

    def study(self, panel: Panel, folds: Sequence[Fold], world: str) -> Study:
        """What `score` needs to know about this run."""
        return Study(world, panel.symbols, panel.columns, tuple(folds), self.configs)


def run(
    panel: Panel,
    folds: Sequence[Fold],
    names: Sequence[str],
    *,
    preset: str,
    seed: int,
    progress: Progress | None = None,
    recorder_factory: RecorderFactory | None = None,
    checkpoints: Path | None = None,
    extra_members: Mapping[str, Combination] = COMBINATIONS,
    candles: pl.DataFrame | None = None,
) -> Forecasts:
    """Fit every model on every fold and forecast its test window; `extra_members` are combined from those, `fused` is fitted.

    A fold with the same training and validation windows as the one before keeps its fits. `checkpoints`: each fit is kept under
    `<checkpoints>/<model>/<fold>`. `recorder_factory(model, fold)` gives a context that yields the recorder of one fit.
    `candles` (symbol, ts, close): for price targets. Tables are in the order of the folds, each sorted by symbol, ts, horizon.
    Raises SettingsError for an unknown model or no folds, CheckpointError where a fold has nothing to fit or forecast.
    """
    if not folds or not names:
        raise SettingsError(f"expected at least one fold and one model, found {len(folds)} and {len(names)}: name some")
    done = Forecasts()
    tables: dict[str, list[pl.DataFrame]] = {}
    fits: dict[str, Checkpoint] = {}
    before: Fold | None = None
    pools = {name: made_of for name, made_of in extra_members.items() if name != FUSED}
    fusion = _Fusion(panel, members_among(names) if FUSED in extra_members else (), seed, candles, checkpoints)
    for fold in folds:
        members: dict[str, Forecast] = {}
        for name in names:
            started = time.perf_counter()
            if before is None or (before.train, before.valid) != (fold.train, fold.valid):
                with recorder_factory(name, fold) if recorder_factory else nullcontext(Silent()) as recorder:
                    fits[name] = fit_fold(panel, fold, name, preset=preset, seed=seed, recorder=recorder)
                if checkpoints is not None:
                    fits[name].save(checkpoints / name / fold.name)
            members[name] = forecast_window(fits[name], panel, fold.test)
            done.configs.setdefault(name, declared(fits[name], preset))
            tables.setdefault(name, []).append(_table(members[name], name, fits[name].version, fits[name], panel))
            if progress:
                progress(name, fold.name, time.perf_counter() - started)
        before = fold
        for name, (combined, used) in combine(members, pools).items():
            made_of = extra_members[name]
            version = combined_version(name, [fits[m].version for m in used])
            done.configs[name] = {"members": used}
            tables.setdefault(name, []).append(_table(combined, made_of.table or name, version, fits[used[0]], panel))
        if fusion.members:
            done.configs[FUSED] = {"members": list(fusion.members)}
            tables.setdefault(FUSED, []).append(fusion.fold(fold, members, fits))
    for name in list(tables):
        done[name] = pl.concat(tables.pop(name))
    done.weights = pl.concat(fusion.weights) if fusion.weights else None
    return done


class _Fusion:
    """The fusion along the walk: it remembers the members' forecasts of the folds behind."""

    def __init__(
        self, panel: Panel, members: Sequence[str], seed: int, candles: pl.DataFrame | None, checkpoints: Path | None
    ) -> None:
        self.panel, self.members, self.seed, self.candles, self.checkpoints = panel, members, seed, candles, checkpoints
        self.earlier: dict[str, list[Forecast]] = {}
        self.weights: list[pl.DataFrame] = []

    def fold(self, fold: Fold, forecasts: Mapping[str, Forecast], fits: Mapping[str, Checkpoint]) -> pl.DataFrame:
        """Rows of `fusion/fused` for the fold's test window."""
        members = {name: forecasts[name] for name in self.members}
        versions = {name: fits[name].version for name in self.members}
        fitted = fit_fusion(self.panel, fold.test.start, versions, self.earlier, seed=self.seed)
        if self.checkpoints is not None:
            fitted.save(self.checkpoints / "fusion" / fold.name)
        until = max(fits[name].trained_until for name in self.members)
        rows = fuse_window(fitted, self.panel, members, versions, until, self.candles)
        for name, forecast in members.items():
            self.earlier.setdefault(name, []).append(forecast)
        self.weights.append(rows.weights)
        return rows.fused


def fit_fold(
    panel: Panel,
    fold: Fold,
    name: str,
    *,
    preset: str,
    seed: int,
    recorder: Recorder | None = None,
    state: Path | None = None,
    **options: Any,
) -> Checkpoint:
    """Fit one model on one fold, from a panel that ends with the fold's validation window.

    `state`: folder where a model that can be resumed keeps the state of its training. `options`: what else its `fit` takes.
    """
    from crypto_assets.models import registry

    seen = panel.cut(Window(fold.train.start - CONTEXT, fold.valid.end))
    if not seen.listed_TN.any():
        raise CheckpointError(
            f"fold {fold.name}: the panel has no listed row in {fold.fit.start} -> {fold.fit.end}, expected some to fit "
            f"{name} on: start the features earlier, or the test later"
        )
    model = registry.load(name)
    if state is not None and getattr(model, "is_resumable", False):
        options["state"] = state
    return model.fit(seen, fold, preset=preset, seed=seed, recorder=recorder or Silent(), **options)


def predict_fold(checkpoint: Checkpoint, panel: Panel, fold: Fold) -> pl.DataFrame:
    """Rows of `forecasts/<model>` for the fold's test window."""
    return predict_window(checkpoint, panel, fold.test)


def predict_window(checkpoint: Checkpoint, panel: Panel, window: Window) -> pl.DataFrame:
    """Rows of `forecasts/<model>` for any window, for example one day; listed coins only."""
    forecast = forecast_window(checkpoint, panel, window)
    return _table(forecast, checkpoint.model, checkpoint.version, checkpoint, panel)


def forecast_window(checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
    """The forecast of every hour of `window` that the panel has, from features and past returns alone.

    Raises CheckpointError when the panel has no hour of it, or the model forecast other hours.
    """
    from crypto_assets.models import registry

    wanted = panel.ts[panel.slice(window)]
    if not len(wanted):
        raise CheckpointError(
            f"the panel has no hour in {window.start} -> {window.end}, expected some to forecast with {checkpoint.model}: "
            f"materialise the features of those days"
        )
    seen = _without_labels(panel.cut(Window(window.start - CONTEXT, window.end)))
    forecast = registry.load(checkpoint.model).predict(checkpoint, seen, window)
    inside = slice(int(np.searchsorted(forecast.ts, wanted[0])), int(np.searchsorted(forecast.ts, wanted[-1], side="right")))
    if not np.array_equal(forecast.ts[inside], wanted) or forecast.symbols != panel.symbols:
        raise CheckpointError(
            f"{checkpoint.model} forecast {len(forecast.ts)} hours of {list(forecast.symbols)}, expected the {len(wanted)} "
            f"hours of {window.start} -> {window.end} for {list(panel.symbols)}: predict every hour of the window"
        )
    return _hours(forecast, inside)


def combine(
    members: Mapping[str, Forecast], combinations: Mapping[str, Combination] = COMBINATIONS
) -> dict[str, tuple[Forecast, list[str]]]:
    """Name -> (the pooled forecast, the members that went into it), for each combination that can be made.

    A combination of directions alone says nothing about variance, and the other way round.
    """
    made = {}
    for name, combination in combinations.items():
        parts = [[m for m in wanted if m in members] for wanted in (combination.direction, combination.variance)]
        used = sorted({*parts[0], *parts[1]})
        if not used or (combination.whole and set(used) != {*combination.direction, *combination.variance}):
            continue
        made[name] = (_combine_two([members[m] for m in parts[0]], [members[m] for m in parts[1]]), used)
    return made


def combined_version(name: str, versions: Sequence[str]) -> str:
    """`model_version` of a combination: a hash of its name and of its members' versions, in order."""
    return hashlib.sha256("|".join([name, *versions]).encode()).hexdigest()[:16]


def declared(checkpoint: Checkpoint, preset: str) -> dict[str, Any]:
    """The configuration that was chosen before the fit: what it was given, without what it found."""
    return {"preset": preset, **{k: v for k, v in checkpoint.config.items() if k not in FITTED}}


def _combine_two(direction: list[Forecast], variance: list[Forecast]) -> Forecast:
    from crypto_assets.fusion.pool import pool

    if not direction:
        pooled = pool(variance)
        nothing = {f: np.full_like(getattr(pooled, f), np.nan) for f in ("p_up_HTN", "mean_HTN", "log_var_HTN")}
        return replace(pooled, **nothing, p_beats_median_TN=np.full_like(pooled.p_beats_median_TN, np.nan))
    pooled = pool(direction)
    rv_TN = pool(variance).realised_var_TN if variance else np.full_like(pooled.realised_var_TN, np.nan)
    return replace(pooled, realised_var_TN=rv_TN)


def _table(forecast: Forecast, name: str, version: str, fit: Checkpoint, panel: Panel) -> pl.DataFrame:
    first = int(np.searchsorted(panel.ts, forecast.ts[0]))
    return forecast.table(name, version, fit.trained_until, panel.listed_TN[first : first + len(forecast.ts)])


def _hours(forecast: Forecast, s: slice) -> Forecast:
    return Forecast(
        forecast.ts[s],
        forecast.symbols,
        forecast.p_up_HTN[:, s],
        forecast.mean_HTN[:, s],
        forecast.log_var_HTN[:, s],
        forecast.p_beats_median_TN[s],
        forecast.realised_var_TN[s],
    )


def _without_labels(panel: Panel) -> Panel:
    unknown = np.broadcast_to(np.nan, panel.listed_TN.shape)
    return replace(panel, labels=dict.fromkeys(panel.labels, unknown))
