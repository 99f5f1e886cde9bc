"""Between the lake and the walk-forward run: load the panel once, fit a fold, forecast it, fuse it."""

import functools
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.evaluation.walkforward import COMBINATIONS, combine, combined_version
from crypto_assets.lake import Lake
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets.market.time import Window, midnight
from crypto_assets.models._base import Forecast, forecast_table
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.orchestration.access import Access, folds
from crypto_assets.settings import Settings


def fold_named(settings: Settings, name: str) -> Fold:
    """The fold of a partition key. Raises SettingsError for one that does not exist (yet)."""
    for fold in folds(settings):
        if fold.name == name:
            return fold
    raise SettingsError(f"no fold {name!r}: there are {[f.name for f in folds(settings)]}; build more days first")


def forecast_tables(names: Sequence[str]) -> list[str]:
    """Every forecast table: of the models, and of what is combined from them."""
    return [f"forecasts/{name}" for name in names] + [combined_table(name) for name in COMBINATIONS]


def combined_table(name: str) -> str:
    """Where a combination's forecasts lie."""
    return COMBINATIONS[name].table or f"forecasts/{name}"


def load_panel(lake: Lake, settings: Settings) -> Panel:
    """All of matrix and labels as one panel, kept in the process until the files change."""
    days = lake.days("features/matrix")
    if not days:
        raise SettingsError("features/matrix is empty: materialise the features first (`crypto-assets build`)")
    newest = max(lake.path("features/matrix", d).stat().st_mtime_ns for d in days)
    labelled = lake.days("labels/targets")
    newest_label = max((lake.path("labels/targets", d).stat().st_mtime_ns for d in labelled), default=0)
    return _panel(str(lake.root), settings.symbols, (len(days), newest, len(labelled), newest_label))


@functools.lru_cache(maxsize=1)
def _panel(root: str, symbols: tuple[str, ...], _state: tuple[int, ...]) -> Panel:
    lake = Lake(root)
    return from_tables(lake.scan("features/matrix").collect(), lake.scan("labels/targets").collect(), symbols)


def checkpoint_folder(lake: Lake, name: str, fold: str) -> Path:
    """Where a fold's checkpoint lies."""
    return lake.root / "models" / name / f"fold={fold}"


def state_folder(lake: Lake, name: str, fold: str) -> Path:
    """Where the state of a training that is under way lies; a killed one goes on from there."""
    return lake.root / "models" / name / "training" / fold


def fit(access: Access, name: str, fold: Fold, **options: Any) -> dict[str, Any]:
    """Fit one model on one fold, save its checkpoint, record the run; returns metadata. `options`: what its `fit` takes."""
    import time

    from crypto_assets.evaluation.walkforward import fit_fold

    settings, started = access.settings, time.perf_counter()
    panel = load_panel(access.lake, settings)
    with access.tracked("walk-forward", f"{name} {fold.name}", model=name, fold=fold.name, market=settings.market) as recorder:
        state = state_folder(access.lake, name, fold.name)
        options |= {"recorder": recorder, "state": state}
        checkpoint = fit_fold(panel, fold, name, preset=settings.preset, seed=settings.seed, **options)
        folder = checkpoint.save(checkpoint_folder(access.lake, name, fold.name))
        shutil.rmtree(state, ignore_errors=True)
        recorder.artifact(folder / "config.json")
        run_id = recorder.run_id
    weights = checkpoint.config.get("parameters") or sum(v.size for v in checkpoint.tensors.values())
    return {
        "model_version": checkpoint.version,
        "parameters": weights,
        "features": len(checkpoint.columns),
        "trained_until": checkpoint.trained_until.isoformat(),
        "seconds": round(time.perf_counter() - started, 2),
        "path": str(folder),
        "mlflow_run": run_id,
    }


def newest_checkpoint(lake: Lake, name: str, fold: Fold) -> Checkpoint:
    """The fold's checkpoint, or the newest earlier one: an older model is still out of sample."""
    own = checkpoint_folder(lake, name, fold.name)
    if (own / "config.json").exists():
        return Checkpoint.load(own)
    earlier = sorted(p for p in (lake.root / "models" / name).glob("fold=*") if p.name < f"fold={fold.name}")
    if not earlier:
        raise CheckpointError(f"no checkpoint of {name} for fold {fold.name} or before: run the job `train` first")
    return Checkpoint.load(earlier[-1])


def forecast(access: Access, name: str, chosen: Sequence[Fold]) -> pl.DataFrame:
    """Forecast the test windows of `chosen` as far as there is data, and write them."""
    from crypto_assets.evaluation.walkforward import predict_fold

    panel = load_panel(access.lake, access.settings)
    frames = [predict_fold(newest_checkpoint(access.lake, name, fold), panel, fold) for fold in chosen]
    return write_folds(access.lake, forecast_table(name), pl.concat(frames), chosen, panel)


def pool(access: Access, name: str, chosen: Sequence[Fold]) -> pl.DataFrame:
    """Average the members' forecasts over the test windows of `chosen`, and write them."""
    panel = load_panel(access.lake, access.settings)
    made_of = COMBINATIONS[name]
    frames = []
    for fold in chosen:
        tables, members = stored_forecasts(access.lake, panel, fold, sorted({*made_of.direction, *made_of.variance}))
        combined, used = combine(members, {name: made_of})[name]
        version = combined_version(name, [tables[m]["model_version"][0] for m in used])
        until = max(tables[m]["trained_until"][0] for m in used)
        frames.append(combined.table(combined_table(name), version, until, panel.listed_TN[panel.slice(fold.test)]))
    return write_folds(access.lake, forecast_table(combined_table(name)), pl.concat(frames), chosen, panel)


def stored_forecasts(
    lake: Lake, panel: Panel, fold: Fold, names: Sequence[str]
) -> tuple[dict[str, pl.DataFrame], dict[str, Forecast]]:
    """Rows of each member for the fold's test window, and the same laid out on the panel's hours of it."""
    tables = {}
    for member in names:
        rows = lake.scan(f"forecasts/{member}", fold.test.start, fold.test.end).collect()
        if rows.height:
            tables[member] = rows
    ts = panel.ts[panel.slice(fold.test)]
    return tables, {m: Forecast.from_table(rows, ts, panel.symbols) for m, rows in tables.items()}


def write_folds(lake: Lake, table: Any, rows: pl.DataFrame, chosen: Sequence[Fold], panel: Panel) -> pl.DataFrame:
    """Write the days of the folds that the panel reaches; returns the rows."""
    known = panel.ts[-1].astype("datetime64[s]").item().date()
    for fold in chosen:
        until = min(fold.test.end, midnight(known) + timedelta(days=1))
        if until <= fold.test.start:
            continue
        window = Window(fold.test.start, until)
        inside = (pl.col("ts") >= window.start) & (pl.col("ts") < window.end)
        lake.write(table, rows.filter(inside), window)
    return rows
