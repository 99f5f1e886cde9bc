"""Where each feature column comes from, found out rather than written down: change an input, see which columns change.

On six weeks of the simulated market. A column that has no value there, or never moves, is given all inputs of its family.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crypto_assets.features import FeatureFamily

LONG = timedelta(days=10_000)


@dataclass(frozen=True)
class Provenance:
    """The tables a column is made of, and how long after the moment it describes the slowest of them is usually known."""

    tables: tuple[str, ...]
    lag: timedelta


def provenance(family: FeatureFamily) -> dict[str, Provenance]:
    """By column."""
    from crypto_assets.audit.alternatives import MIXED, Alternatives
    from crypto_assets.audit.comparison import Baseline
    from crypto_assets.cli.audit import simulated
    from crypto_assets.lake import Frames, derive

    sample, step = simulated(), family.derivation()
    tables = tuple(dict.fromkeys(family.inputs.values()))
    frames = sample.frames(tables, rough=False)
    base = Baseline(derive(step, Frames(frames), sample.window), step.table.key)
    futures = Alternatives(frames)
    long_ago = sample.window.start - LONG
    moved: dict[str, list[str]] = {column: [] for column in family.columns}
    for table in tables:
        found = base.against(derive(step, futures.at(MIXED, long_ago, [table]), sample.window), None)
        for column in found.values:
            moved[column].append(table)
    lags = {table: _lag(frame) for table, frame in frames.items()}
    return {
        column: Provenance(tuple(found or tables), max(lags[t] for t in found or tables)) for column, found in moved.items()
    }


def _lag(rows: pl.DataFrame) -> timedelta:
    """The usual time from `ts` to `available_at`; nothing for an empty table."""
    return rows.select((pl.col("available_at") - pl.col("ts")).median()).item() or timedelta(0)
