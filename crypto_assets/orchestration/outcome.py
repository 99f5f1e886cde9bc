"""From the lake's forecasts to scores, accounts and the report, with what Dagster and MLflow show of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.evaluation.assess import FEATURED, Assessment, assess
from crypto_assets.evaluation.walkforward import COMBINATIONS, declared
from crypto_assets.market.errors import LakeError
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.orchestration.access import Access, folds
from crypto_assets.orchestration.checks import finite
from crypto_assets.orchestration.walk import checkpoint_folder, forecast_tables, load_panel
from crypto_assets.trading.strategies import strategies


@dataclass
class Outcome:
    """An assessment of what the lake holds, and what the report needs beside it."""

    access: Access
    assessment: Assessment
    labels: pl.DataFrame
    folds: tuple[Fold, ...]

    @property
    def result(self) -> dict[str, Any]:
        """The evaluate JSON."""
        return self.assessment.result

    def headline(self) -> dict[str, Any]:
        """A few numbers for the asset's page; plain floats, so the UI can plot them."""
        found: dict[str, Any] = {"trials": self.result["trials"]}
        for target in ("1h", "24h_relative"):
            best = self.result["direction"].get(target, {}).get(FEATURED)
            if best:
                names = ("accuracy", "log_loss", "log_loss_skill", "ece", "kappa")
                found |= {f"{FEATURED}_{target}_{k}": float(best[k]) for k in names if best.get(k) is not None}
        account = self.result["backtest"].get(FEATURED)
        if account:
            of_account = ("sharpe_net", "max_drawdown", "total_return_net", "turnover_per_day")
            found |= {f"{FEATURED}_{k}": float(account[k]) for k in of_account if account.get(k) is not None}
        found["models"] = dg.MetadataValue.md(_table(self.result))
        return finite(found)

    def report(self) -> dict[str, Any]:
        """Write the report and the index of reports, keep it in MLflow; returns metadata with both addresses."""
        from crypto_assets.evaluation.report_index import write_index

        settings, lake = self.access.settings, self.access.lake
        path = lake.root / "reports" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
        weights = lake.scan("fusion/weights").collect() if lake.days("fusion/weights") else None
        self.assessment.report(path, self.labels, weights)
        latest = lake.root / "reports" / "latest.html"
        latest.write_bytes(path.read_bytes())
        write_index(path.parent)
        with self.access.tracked("reports", path.stem, market=settings.market, world=settings.world) as recorder:
            recorder.artifact(path)
            recorder.artifact(lake.root / "backtests" / "evaluation.json")
            recorder.metrics({k: v for k, v in self.headline().items() if isinstance(v, float)})
            run_id = recorder.run_id
        return {
            "report": dg.MetadataValue.url(latest.as_uri()),
            "path": dg.MetadataValue.path(str(path)),
            "mlflow_run": run_id,
            "megabytes": round(path.stat().st_size / 1e6, 2),
        }


def outcome(access: Access, names: Sequence[str]) -> Outcome:
    """Read forecasts, labels, candles and the oracle from the lake, and assess them. Raises LakeError without forecasts."""
    started = time.perf_counter()
    lake, settings = access.lake, access.settings
    tables = forecast_tables(names)
    forecasts = {t.split("/")[1]: lake.scan(t).collect() for t in tables if lake.days(t)}
    forecasts = {name: rows for name, rows in forecasts.items() if rows.height}
    if not forecasts:
        raise LakeError("no forecasts yet: run the jobs `train` and `forecast` first")
    candles = lake.scan("curated/candles").collect()
    funding = lake.scan("raw/binance_funding").collect()
    oracle_path = lake.root / "oracle" / "p_star.parquet"
    panel = load_panel(lake, settings)
    done = [f for f in folds(settings) if any(lake.path(t, f.test.start.date()).exists() for t in tables)]
    from crypto_assets.evaluation.ledger import Study

    study = Study(settings.world, panel.symbols, panel.columns, tuple(done), _configs(access, list(forecasts), done[-1].name))
    labels = lake.scan("labels/targets").collect()
    assessment = assess(
        forecasts,
        labels,
        candles,
        funding,
        study=study,
        lake=lake.root,
        oracle=pl.read_parquet(oracle_path) if oracle_path.exists() else None,
        seconds=time.perf_counter() - started,
        strategies=strategies(settings.strategy_files),
    )
    return Outcome(access, assessment, labels, tuple(done))


def _configs(access: Access, names: Sequence[str], fold: str) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        if name in COMBINATIONS:
            found[name] = {"members": sorted({*COMBINATIONS[name].direction, *COMBINATIONS[name].variance})}
            continue
        folder: Path = checkpoint_folder(access.lake, name, fold)
        found[name] = declared(Checkpoint.load(folder), access.settings.preset) if (folder / "config.json").exists() else {}
    return found


def _table(result: dict[str, Any]) -> str:
    lines = ["| 1 h | accuracy | log-loss | skill | kappa |", "|---|---|---|---|---|"]
    for model, found in result["direction"].get("1h", {}).items():
        if "log_loss_skill" in found:
            kappa = "" if found.get("kappa") is None else f"{found['kappa']:.3f}"
            lines.append(
                f"| {model} | {found['accuracy']:.4f} | {found['log_loss']:.5f} | {found['log_loss_skill']:.5f} | {kappa} |"
            )
    return "\n".join(lines)
