"""Hyper-parameter search by Optuna through the same walk-forward folds, the same fit and the same score as everything else.

A trial fits every fold of the search, is pruned by the median of earlier ones on the validation log-loss of each look, and,
completed, is scored by `score`: so it is in the ledger, and is paid for. The study is one SQLite file in the lake; a killed
search goes on, the trial it was in the middle of first. The locked hold-out is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import TARGETS, Panel
from crypto_assets.evaluation.ledger import Ledger, Study
from crypto_assets.evaluation.score import score
from crypto_assets.evaluation.walkforward import fit_fold, predict_fold
from crypto_assets.market.errors import SettingsError
from crypto_assets.models.tracking import Recorder, Renamed, Silent


class Span(NamedTuple):
    """Where a number is looked for."""

    low: float
    high: float
    log: bool = False


SPACE: dict[str, Span] = {
    "training.lr": Span(3e-4, 6e-3, log=True),
    "training.weight_decay": Span(0.01, 1.0, log=True),
    "training.passes": Span(2.0, 16.0, log=True),
    "training.ema_share": Span(0.02, 0.3, log=True),
    "dropout": Span(0.0, 0.5),
    "feature_dropout": Span(0.0, 0.5),
}
"""By dotted name in a Config; what a net's Config does not have is left out. Sizes belong to the presets."""
STARTUP, WARMUP = 5, 3
"""Trials drawn at random before the sampler and the pruner have an opinion; looks before a trial can be pruned."""


@dataclass(frozen=True)
class Found:
    """The best configuration, its score, and how many trials there were."""

    config: Any
    params: dict[str, float]
    value: float
    completed: int
    pruned: int
    folds: tuple[str, ...]


def search_folds(folds: Sequence[Fold], lake: Path, world: str, count: int) -> list[Fold]:
    """The last `count` folds that may be searched on: neither the newest, which is to be forecast, nor inside the hold-out.

    Raises SettingsError when there is none.
    """
    locked = Ledger(lake).lock(world)
    free = [f for f in folds[:-1] if locked is None or f.test.end <= locked.start]
    if not free:
        raise SettingsError(f"no fold of {len(folds)} to search on: it takes one before the newest and before the hold-out")
    return free[-count:]


def search(
    panel: Panel,
    folds: Sequence[Fold],
    name: str,
    *,
    preset: str,
    seed: int,
    trials: int,
    lake: Path,
    world: str,
    space: Mapping[str, Span] = SPACE,
    recorder_factory: Callable[[int], AbstractContextManager[Recorder]] | None = None,
    progress: Callable[[int, int, Any], None] | None = None,
) -> Found:
    """Bring the study to `trials` finished trials and return the best; it is the preset itself if nothing beats it.

    `folds` as by `search_folds`. `recorder_factory(trial)`: context with the recorder of a trial. `progress(trial, fold,
    look)`.
    Raises SettingsError for a model that has nothing to search, and for folds inside the hold-out.
    """
    import optuna

    from crypto_assets.models import registry

    model = registry.load(name)
    if not getattr(model, "is_resumable", False):
        raise SettingsError(f"{name} has no configuration to search: choose a net")
    locked = Ledger(lake).lock(world)
    if locked is not None and any(f.test.start < locked.end and locked.start < f.test.end for f in folds):
        raise SettingsError("a fold of the search lies in the locked hold-out: search on earlier folds")
    base = model.preset(preset)  # type: ignore[attr-defined]
    spans = {k: s for k, s in space.items() if _read(base, k) is not None}
    study = _open(lake, name, preset, _identity(panel, folds, spans, base, seed), {k: _read(base, k) for k in spans}, seed)

    def objective(trial: optuna.Trial) -> float:
        params = {k: trial.suggest_float(k, s.low, s.high, log=s.log) for k, s in spans.items()}
        config = changed(base, params)
        with recorder_factory(trial.number) if recorder_factory else nullcontext(Silent()) as recorder:
            recorder.params({"preset": preset, "seed": seed, **params})
            tables = _walk(panel, folds, name, preset, seed, config, trial, recorder, progress)
            if tables is None:
                recorder.metrics({"pruned": 1.0})
                raise optuna.TrialPruned
            value = _scored(panel, folds, name, preset, config, tables, lake, world)
            recorder.metrics({"log_loss": value})
        return value

    study.optimize(objective, n_trials=max(0, trials - _finished(study)))
    states = [t.state.name for t in study.trials]
    best = study.best_trial
    return Found(
        config=changed(base, best.params),
        params=best.params,
        value=float(best.value or math.nan),
        completed=states.count("COMPLETE"),
        pruned=states.count("PRUNED"),
        folds=tuple(f.name for f in folds),
    )


def changed(config: Any, params: Mapping[str, Any]) -> Any:
    """A frozen config with values at dotted names replaced."""
    for name, value in params.items():
        head, _, rest = name.partition(".")
        config = replace(config, **{head: changed(getattr(config, head), {rest: value}) if rest else value})
    return config


def _walk(
    panel: Panel,
    folds: Sequence[Fold],
    name: str,
    preset: str,
    seed: int,
    config: Any,
    trial: Any,
    recorder: Recorder,
    progress: Callable[[int, int, Any], None] | None,
) -> pl.DataFrame | None:
    """Forecasts of every fold's test window; None when the trial was pruned on the way."""
    import optuna

    tables = []
    for number, fold in enumerate(folds):
        looks = iter(range(number * 10_000, (number + 1) * 10_000))

        def look(at: Any, looks: Any = looks, number: int = number) -> None:
            if progress:
                progress(trial.number, number, at)
            if not math.isnan(at.valid_log_loss):
                trial.report(at.valid_log_loss, next(looks))
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            options = {"config": config, "progress": look}
            fit = fit_fold(panel, fold, name, preset=preset, seed=seed, recorder=Renamed(recorder, f"{fold.name}_"), **options)
        except optuna.TrialPruned:
            return None
        tables.append(predict_fold(fit, panel, fold))
    return pl.concat(tables)


def _scored(
    panel: Panel, folds: Sequence[Fold], name: str, preset: str, config: Any, table: pl.DataFrame, lake: Path, world: str
) -> float:
    """Mean log-loss over the direction targets by their weight in the net's own loss."""
    declared = {name: {"preset": preset, **json.loads(json.dumps(asdict(config)))}}
    study = Study(world, panel.symbols, panel.columns, tuple(folds), declared)
    found = score({name: table}, panel, study=study, lake=lake)["direction"]
    weighted = [(found[t][name]["log_loss"], w) for t, w in zip(TARGETS, config.training.weights.direction, strict=True)]
    known = [(value, w) for value, w in weighted if value is not None]
    return sum(value * w for value, w in known) / sum(w for _, w in known)


def _open(lake: Path, name: str, preset: str, identity: str, start: dict[str, float], seed: int) -> Any:
    """The study of this search; a new one begins with the preset, one that was killed with what it was trying."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = lake / "search"
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / f'{name}-{preset}.db'}",
        study_name=identity,
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARMUP),
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=STARTUP)
    if not study.trials:
        study.enqueue_trial(start)
    for trial in study.trials:
        if trial.state is optuna.trial.TrialState.RUNNING:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params or start)
    return study


def _finished(study: Any) -> int:
    return sum(t.state.name in ("COMPLETE", "PRUNED") for t in study.trials)


def _identity(panel: Panel, folds: Sequence[Fold], spans: Mapping[str, Span], base: Any, seed: int) -> str:
    """What makes two searches the same one."""
    what = repr((panel.symbols, panel.columns, [f.fit for f in folds], [f.test for f in folds], dict(spans), base, seed))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _read(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part, None)
    return config
