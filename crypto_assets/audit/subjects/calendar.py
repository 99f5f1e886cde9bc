"""Folds and publication lags: no label of training reaches into what follows, no row is known before its source says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import polars as pl

from crypto_assets.audit.findings import Leak, Outcome
from crypto_assets.audit.subjects._context import TARGETS, Context
from crypto_assets.dataset import labels
from crypto_assets.dataset.folds import Fold, walk_forward
from crypto_assets.lake import TABLES
from crypto_assets.market.time import HOUR
from crypto_assets.sources import Source, discover

WARMUP_DAYS = 21
"""Days before the first fold that is checked."""
LENGTHS = ("2w", "month")


def outcomes(context: Context) -> Iterator[Outcome]:
    """Every fold of the sample's history, both lengths; every raw table of the lake, or that was read for the families."""
    window = context.sample.window
    first = window.start.date()
    first_test, last = first + timedelta(days=WARMUP_DAYS), (window.end - 2 * HOUR).date()
    if first_test <= last:
        folds = [fold for length in LENGTHS for fold in walk_forward(first, first_test, last, length)]
        yield overlaps(folds, timedelta(hours=labels.AHEAD))
    lags = Outcome("publication lags")
    for source in discover().values():
        if source.table.name in {*context.tables, *context.sample.read}:
            early(source, context.sample.plain(source.table.name), lags)
    yield lags


def overlaps(folds: Iterable[Fold], horizon: timedelta) -> Outcome:
    """Whether a label of train or valid, known `horizon` after its row, reaches into what the fold does next."""
    done = Outcome("walk-forward folds")
    before: Fold | None = None
    for fold in folds:
        done.columns += 1
        for name, part, following in (("train", fold.train, fold.valid.start), ("valid", fold.valid, fold.test.start)):
            overlap = part.end - HOUR + horizon - following
            if overlap > timedelta(0):
                done.leaks.append(_overlap(fold, name, following - horizon, overlap))
        if before is not None and before.test.start < fold.test.start < before.test.end:
            done.leaks.append(_overlap(fold, "test", fold.test.start, before.test.end - fold.test.start))
        before = fold
    return done


def _overlap(fold: Fold, part: str, first: datetime, overlap: timedelta) -> Leak:
    return Leak(f"fold {fold.name}.{part}", first, overlap / HOUR, TARGETS, "overlap", int(overlap / HOUR))


def early(source: Source, rows: pl.DataFrame, into: Outcome) -> None:
    """Add a leak for rows of a table that claim to have been known before the source's publication time, or before they
    closed.
    """
    into.columns += 1
    cadence = TABLES[source.table.name].cadence or timedelta(0)
    try:
        due = rows.with_columns(_due=pl.max_horizontal(source.available_at, pl.col("ts") + cadence))
    except pl.exceptions.PolarsError as error:
        into.remarks.append(f"{source.table.name}: its publication time cannot be computed from its rows ({error})")
        return
    wrong = due.filter(pl.col("available_at") < pl.col("_due"))
    if wrong.height:
        first: datetime = wrong["ts"].min()  # type: ignore[assignment]
        late: int = (wrong["_due"] - wrong["available_at"]).dt.total_microseconds().max()  # type: ignore[assignment]
        hours = late / 3.6e9
        name = source.table.name
        into.leaks.append(Leak(f"{name}.available_at", first, hours, name, "published early", wrong.height))
