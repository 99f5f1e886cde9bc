"""Curated tables, labels and the matrix: each row claims a moment, and what comes later must not touch it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl

from crypto_assets.audit.alternatives import MIXED, UP, Alternatives
from crypto_assets.audit.auditable import Auditable, of_table
from crypto_assets.audit.comparison import Baseline
from crypto_assets.audit.findings import Leak, Outcome
from crypto_assets.audit.sample import CANDLES
from crypto_assets.audit.subjects._context import TARGETS, Context
from crypto_assets.curation import discover
from crypto_assets.dataset import labels
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import HOUR

EFFORT = 0.5


def auditables(context: Context) -> Iterator[Auditable]:
    """Curated tables whose inputs the sample has, labels, and the matrix over the families' own rows."""
    for derivation in discover().values():
        if any(context.sample.rough(name).height for name in derivation.inputs.values()):
            yield of_table(derivation)
    yield of_table(labels.DERIVATION)
    if context.families:
        for name, rows in context.family_tables.items():
            context.sample.provide(name, rows)
        derivation = matrix(context.families)
        yield Auditable(
            derivation.name,
            tuple(dict.fromkeys(derivation.inputs.values())),
            lambda reader, window: derive(derivation, reader, window),
            prefix="matrix.",
            at_closes=True,
            effort=EFFORT,
        )


def outcomes(context: Context) -> Iterator[Outcome]:
    """Labels against decision times: nothing from before `ts` is in them, and they are known 24 hours after it, not sooner."""
    sample, base = context.sample, context.targets
    done = Outcome(f"{TARGETS} against decision times", columns=len(base.columns) - 3)
    early = base.filter(pl.col("available_at") != pl.col("ts") + timedelta(hours=labels.AHEAD))
    if early.height:
        first = early["ts"].min()
        done.leaks.append(
            Leak("targets.available_at", first, 1.0, TARGETS, "known at another moment than 24 h later", early.height)  # type: ignore[arg-type]
        )
    compared = Baseline(base, ("symbol", "ts"))
    for share in (0.3, 0.6):
        cut = sample.window.start + HOUR * int(sample.window.hours * share)
        # Time reversed: rows from the cut on stay, what closed before it is exchanged.
        rows = sample.rough(CANDLES).with_columns(pl.col("available_at") >= cut)
        for way in (UP, MIXED):
            other = Alternatives({CANDLES: sample.rough(CANDLES)}).at(way, sample.window.start - HOUR).frames[CANDLES]
            kept = sample.rough(CANDLES).filter(rows["available_at"])
            past = pl.concat([other.filter(pl.col("available_at") < cut), kept])
            made = derive(labels.DERIVATION, Frames({CANDLES: past}), sample.window)
            differ = Baseline(compared.frame.filter(pl.col("ts") >= cut), ("symbol", "ts")).against(
                made.filter(pl.col("ts") >= cut)
            )
            done.recomputed += 1
            done.leaks += [
                Leak(f"targets.{c}", d.first_ts, d.magnitude, CANDLES, "from before the decision time", d.rows, cut)
                for c, d in differ.values.items()
            ]
        done.cuts += 1
    yield done
