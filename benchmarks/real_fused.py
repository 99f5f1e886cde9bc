"""The fused forecast of members that were forecast fold by fold: what `evaluate` does, from tables that lie there already.

    python benchmarks/real_fused.py MATRIX LABELS FORECASTS OUT

MATRIX, LABELS: parquet of features/matrix (only its hours are read) and labels/targets. FORECASTS: a folder with one folder a
model and in it one parquet a fold, named by its first day. OUT: folder for one parquet a fold; what is there already is left
alone.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import from_tables
from crypto_assets.evaluation.fusing import fit_fusion, fuse_window, members_among
from crypto_assets.models._base import Forecast

HOUR = 3_600_000_000


def main(matrix: Path, labels: Path, forecasts: Path, out: Path) -> None:
    """Fit on the folds behind, combine the next, fold by fold."""
    hours = pl.read_parquet(matrix, columns=["symbol", "ts", "return_1h"])
    symbols = tuple(sorted(hours["symbol"].unique()))
    panel = from_tables(hours, pl.read_parquet(labels), symbols, ())
    names = members_among([f.name for f in forecasts.iterdir() if f.is_dir()])
    folds = sorted(f.stem for f in (forecasts / names[0]).glob("*.parquet"))
    out.mkdir(parents=True, exist_ok=True)
    earlier: dict[str, list[Forecast]] = {name: [] for name in names}
    for fold in folds:
        rows = {name: pl.read_parquet(forecasts / name / f"{fold}.parquet") for name in names}
        spans = pl.concat([r.select("ts") for r in rows.values()])["ts"].to_physical()
        first, last = int(spans.min()), int(spans.max())  # type: ignore[arg-type]
        ts = np.arange(first, last + HOUR, HOUR).astype("datetime64[us]")
        members = {name: Forecast.from_table(r, ts, symbols) for name, r in rows.items()}
        versions = {name: str(r["model_version"][0]) for name, r in rows.items()}
        if not (out / f"{fold}.parquet").exists():
            started = time.process_time()
            fitted = fit_fusion(panel, datetime.fromisoformat(fold).replace(tzinfo=UTC), versions, earlier, seed=7)
            until = max(r["trained_until"].max() for r in rows.values())  # type: ignore[type-var]
            fuse_window(fitted, panel, members, versions, until).fused.write_parquet(out / f"{fold}.parquet")  # type: ignore[arg-type]
            print(fold, f"{time.process_time() - started:.0f} s of CPU", flush=True)
        for name, forecast in members.items():
            earlier[name].append(forecast)


if __name__ == "__main__":
    main(*(Path(x) for x in sys.argv[1:5]))
