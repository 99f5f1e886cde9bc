"""What can be audited: anything that is recomputed from tables and claims to have been known at a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from crypto_assets.audit.bystanders import another_day, move_clock, watched
from crypto_assets.features import FeatureFamily, load_family
from crypto_assets.lake import Derivation, Reader, derive
from crypto_assets.market.time import Window

Recompute = Callable[[Reader, Window], pl.DataFrame]
FIGURES = timedelta(days=4)
"""Of a derived table that looks neither back nor ahead and has no bars, for example scored texts, this much is enough."""


@dataclass(frozen=True)
class Auditable:
    """`recompute(reader, window)` reads `inputs` and returns a frame with `keys`, `claim` and the columns that are audited.

    A row claims that all of it was known at `claim`. Columns are numbers, booleans or texts; null and NaN mean unknown.
    """

    name: str
    inputs: tuple[str, ...]
    recompute: Recompute
    keys: tuple[str, ...] = ("symbol", "ts")
    claim: str = "ts"
    prefix: str = ""
    """Written before a column's name in the findings."""
    at_closes: bool = False
    """Whether a row counts only where a candle closes: the matrix never reads a row that stands elsewhere."""
    lookback: timedelta | None = None
    """How far back it may look; None where a start makes no difference, or every difference."""
    lookbacks: Mapping[str, timedelta] = field(default_factory=dict)
    """By column, where that is less."""
    cuts: tuple[datetime, ...] = ()
    """The moments to try; chosen from the sample where there are none."""
    span: timedelta | None = None
    """How much of the end of the sample is looked at; all of it without."""
    effort: float = 1.0
    """Share of the cuts that is worth its price: a fit takes seconds where a family takes milliseconds."""
    beside: Callable[[Reader, Window], list[str]] | None = None
    """Recomputes and tells what was read besides the reader."""
    later: Recompute | None = None
    """Recomputes on another day."""
    tolerance: float = 1e-9
    """Relative difference that counts: the last digits of a sum may depend on how rows were grouped, and the smallest leak
    worth a name is a millionth. What is computed in float32 needs more."""


def of_family(family: FeatureFamily) -> Auditable:
    """A feature family. Its state between two calls, if it keeps any, stays."""
    return _family(family, lambda reader, window: derive(family.derivation(), reader, window))


def of_file(path: Path | str) -> Auditable:
    """The family of a user's file, loaded anew for every recomputation: what a module remembers cannot hide a leak."""

    def recompute(reader: Reader, window: Window) -> pl.DataFrame:
        return derive(load_family(path).derivation(), reader, window)

    def beside(reader: Reader, window: Window) -> list[str]:
        with watched() as read:
            recompute(reader, window)
        return list(dict.fromkeys(read))

    def later(reader: Reader, window: Window) -> pl.DataFrame:
        with another_day():
            family = load_family(path)
        module = sys.modules[family.compute.__module__]
        if getattr(module, "FAMILY", None) is family:  # the file itself, not a package it takes its compute from
            move_clock(module)
        return derive(family.derivation(), reader, window)

    return replace(_family(load_family(path), recompute), beside=beside, later=later)


def of_table(derivation: Derivation) -> Auditable:
    """A derived table whose rows say in `available_at` when they were known: curated tables and labels."""
    return Auditable(
        derivation.name,
        tuple(dict.fromkeys(derivation.inputs.values())),
        lambda reader, window: derive(derivation, reader, window),
        keys=(*derivation.table.key, "available_at"),
        claim="available_at",
        prefix=f"{derivation.name.split('/')[-1]}.",
        span=None if derivation.table.cadence or derivation.lookahead else FIGURES,
    )


def _family(family: FeatureFamily, recompute: Recompute) -> Auditable:
    lookbacks = {name: c.lookback for name, c in family.described().items() if c.lookback is not None}
    return Auditable(
        f"features/{family.name}",
        tuple(dict.fromkeys(family.inputs.values())),
        recompute,
        prefix=f"{family.name}.",
        at_closes=True,
        lookback=family.lookback,
        lookbacks=lookbacks,
    )
