"""Do intervals cover what they promise: over all rows, and in the tenth of them with the largest forecast variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.alignment import Labels
from crypto_assets.fusion.conformal import COVERAGES
from crypto_assets.market.time import HORIZONS

STORMY = 0.9
"""Quantile of the forecast variance from which a row is stormy."""
WANTED = [*(f"ret_{h}" for h in HORIZONS), "rv_24h"]


def intervals(fused: pl.DataFrame, labels: Labels) -> dict[str, dict[str, dict[str, Any]]]:
    """Target (`1h 4h 24h volatility`) -> level (`50 80 90`) -> n, coverage, coverage_stormy, width (of ln RV for variance).

    `fused`: rows of `fusion/fused`. A target without intervals or outcomes is left out; empty for a table without intervals.
    """
    if "low_90" not in fused.columns:
        return {}
    rows = fused.join(_frame(labels), on=["symbol", "ts"], how="inner")
    found = {}
    for horizon in HORIZONS:
        part = rows.filter(pl.col("horizon") == horizon)
        found[horizon] = _levels(part, f"ret_{horizon}", "", pl.col("log_var"))
    found["volatility"] = _levels(rows.filter(pl.col("horizon") == "24h"), "rv_24h", "rv_", pl.col("realised_var"))
    return {target: levels for target, levels in found.items() if levels}


def _levels(rows: pl.DataFrame, outcome: str, prefix: str, size: pl.Expr) -> dict[str, dict[str, Any]]:
    known = rows.filter(pl.col(outcome).is_not_null() & pl.col(f"{prefix}low_90").is_not_null())
    if known.is_empty():
        return {}
    found = {}
    for coverage in COVERAGES:
        level = f"{100 * coverage:.0f}"
        low, high = pl.col(f"{prefix}low_{level}"), pl.col(f"{prefix}high_{level}")
        inside = pl.col(outcome).is_between(low, high)
        width = (high.log() - low.log() if prefix else high - low).mean()
        stormy = inside.filter(size >= size.quantile(STORMY)).mean()
        n, share, in_storms, wide = known.select(pl.len(), a=inside.mean(), b=stormy, c=width).row(0)
        found[level] = {"n": n, "coverage": share, "coverage_stormy": in_storms, "width": wide}
    return found


def _frame(labels: Labels) -> pl.DataFrame:
    if not isinstance(labels, Panel):
        return labels.select("symbol", "ts", *WANTED)
    T, N = labels.listed_TN.shape
    base = pl.DataFrame({"symbol": np.tile(np.asarray(labels.symbols), T), "ts": np.repeat(labels.ts, N)})
    values = {name: pl.Series(labels.labels[name].ravel()).fill_nan(None) for name in WANTED}
    return base.with_columns(pl.col("ts").dt.replace_time_zone("UTC"), **values)
