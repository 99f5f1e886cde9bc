"""A feature family: its inputs, how far back it looks, what each column means, and the pure function that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crypto_assets.lake import Derivation, Field, Table


@dataclass(frozen=True)
class Column:
    """What one feature column means."""

    meaning: str
    unit: str = ""
    lookback: timedelta | None = None
    """How far back this column looks, where less than its family."""


@dataclass(frozen=True)
class FeatureFamily:
    """`compute` gets one LazyFrame per input by argument name and returns `symbol, ts` and the columns.

    A row is a claim: everything in it was known at `ts`, the close of a bar. `lookback` is how much history every input is
    read with; what lies before it must not matter.
    """

    name: str
    inputs: Mapping[str, str]
    lookback: timedelta
    columns: Mapping[str, str | Column]
    compute: Callable[..., pl.LazyFrame]

    def described(self) -> dict[str, Column]:
        """Each column with its meaning."""
        return {name: c if isinstance(c, Column) else Column(c) for name, c in self.columns.items()}

    def derivation(self) -> Derivation:
        """The family as a derived table, `features/<name>`."""
        return Derivation(
            feature_table(self.name, self.described()), dict(self.inputs), self.compute, self.lookback, doc=self.name
        )


def feature_table(name: str, columns: Mapping[str, Column]) -> type[Table]:
    """The table class `features/<name>` with one nullable float column a feature."""
    annotations: dict[str, type] = {"symbol": str, **{c: float | None for c in columns}}  # type: ignore[dict-item]
    fields = {c: Field(nullable=True, unit=d.unit, meaning=d.meaning) for c, d in columns.items()}
    return type(f"Features_{name}", (Table,), {"name": f"features/{name}", "__annotations__": annotations, **fields})
