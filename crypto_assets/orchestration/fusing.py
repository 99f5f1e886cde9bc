"""Between the lake and the fusion: fit it for a fold from the forecasts of earlier ones, combine the fold's forecasts."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.evaluation.fusing import fit_in, fuse_window, members_among
from crypto_assets.fusion.card import text
from crypto_assets.fusion.checkpoint import NAME, FusionCheckpoint
from crypto_assets.fusion.tables import FusedForecasts, Weights
from crypto_assets.market.errors import CheckpointError
from crypto_assets.market.time import HOUR
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import TRAINED
from crypto_assets.orchestration.access import Access, folds
from crypto_assets.orchestration.walk import checkpoint_folder, load_panel, newest_checkpoint, stored_forecasts, write_folds


def fit_fusion(access: Access, fold: Fold) -> dict[str, Any]:
    """Fit the fusion of one fold on the forecasts of earlier folds, save it, record run and model card; returns metadata."""
    settings, lake = access.settings, access.lake
    members = _members(access, fold)
    versions = {name: checkpoint.version for name, checkpoint in members.items()}
    first = min(f.test.start for f in folds(settings))
    with access.tracked("fusion", f"fusion {fold.name}", model=NAME, fold=fold.name, market=settings.market) as recorder:
        fitted = fit_in(lake, tuple(settings.symbols), fold.test.start, versions, first=first, seed=settings.seed)
        folder = fitted.save(checkpoint_folder(lake, NAME, fold.name))
        recorder.params({"members": ", ".join(versions), "start": fold.test.start.isoformat(), "version": fitted.version})
        recorder.metrics({f"worth of a row {name}": part.facts["temper"] for name, part in fitted.parts.items()})
        recorder.artifact(folder / "config.json")
        _keep_card(recorder, fitted, members, fold, settings)
        run_id = recorder.run_id
    rows = {name: part.facts["rows"] for name, part in fitted.parts.items()}
    return {
        "model_version": fitted.version,
        "members": ", ".join(versions),
        "out_of_fold_rows": max(rows.values()),
        "contexts": ", ".join(sorted({part.context for part in fitted.parts.values()})),
        "path": str(folder),
        "mlflow_run": run_id,
    }


def fuse(access: Access, chosen: Sequence[Fold]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Combine the members' forecasts over the test windows of `chosen`; writes and returns `fusion/fused`, `fusion/weights`."""
    panel = load_panel(access.lake, access.settings)
    fused, weights = [], []
    for fold in chosen:
        fitted = FusionCheckpoint.load(checkpoint_folder(access.lake, NAME, fold.name))
        tables, forecasts = stored_forecasts(access.lake, panel, fold, list(fitted.members))
        versions = {name: rows.sort("ts")["model_version"][-1] for name, rows in tables.items()}
        until = max(rows["trained_until"].to_list()[-1] for rows in tables.values())
        candles = access.lake.scan("curated/candles", fold.test.start - HOUR, fold.test.end).select("symbol", "ts", "close")
        made = fuse_window(fitted, panel, forecasts, versions, until, candles.collect())
        fused.append(made.fused)
        weights.append(made.weights)
    both = pl.concat(fused), pl.concat(weights)
    for table, rows in zip((FusedForecasts, Weights), both, strict=True):
        write_folds(access.lake, table, rows, chosen, panel)
    return both


def _members(access: Access, fold: Fold) -> dict[str, Checkpoint]:
    """The checkpoints that the fold is forecast by. Raises CheckpointError where no member has one."""
    found = {}
    for name in members_among(TRAINED):
        if any((access.lake.root / "models" / name).glob("fold=*")):
            found[name] = newest_checkpoint(access.lake, name, fold)
    if not found:
        raise CheckpointError(f"no member of the fusion has a checkpoint for fold {fold.name} or before: run `train` first")
    return found


def _keep_card(recorder: Any, fitted: FusionCheckpoint, members: dict[str, Checkpoint], fold: Fold, settings: Any) -> None:
    columns = sorted({c.columns for c in members.values()})
    card = text(
        fitted,
        fold=fold.name,
        world=f"{settings.world}, market {settings.market}" if settings.world == "sandbox" else settings.world,
        symbols=settings.symbols,
        features_hash=hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16],
        trained={name: f"{c.trained_from:%Y-%m-%d} to {c.trained_until:%Y-%m-%d %H:%M}" for name, c in members.items()},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model_card.md"
        path.write_text(card, encoding="utf-8")
        recorder.artifact(path)
