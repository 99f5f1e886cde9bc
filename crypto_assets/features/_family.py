"""A feature family: its inputs, how far back it looks, what each column means, and the pure function that makes it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache

import polars as pl

from crypto_assets.lake import Derivation, Field, Table
from crypto_assets.market.errors import SchemaError, SettingsError

LAYERS = {"raw": "crypto_assets.sources", "curated": "crypto_assets.curation"}
"""Where a family may read, and the package that defines those tables: features are made of data, never of labels, forecasts
or a simulator's oracle."""
META = ("symbol", "ts", "available_at")


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
    read with; what lies before it must not matter. Two fields make it cheaper: `lookbacks` names inputs of which less is
    enough, `by_coin` those that may be read some coins at a time (the other coins' rows there make no difference). `grid` names
    an input that only says which coins have a bar when; `compute` sees nothing else of that table, so a live hour's columns can
    be made before its bars are there.

    Raises SettingsError for a name that is no identifier, no columns, a reserved column name, a negative lookback, an input
    that is not a raw or curated table, a `compute` whose arguments are not the inputs, and for a grid, `lookbacks` or `by_coin`
    that name no input.
    """

    name: str
    inputs: Mapping[str, str]
    lookback: timedelta
    columns: Mapping[str, str | Column]
    compute: Callable[..., pl.LazyFrame]
    grid: str = ""
    lookbacks: Mapping[str, timedelta] = field(default_factory=dict)
    by_coin: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise SettingsError(f"feature family {self.name!r}: {problem}")

    def described(self) -> dict[str, Column]:
        """Each column with its meaning."""
        return {name: c if isinstance(c, Column) else Column(c) for name, c in self.columns.items()}

    def derivation(self) -> Derivation:
        """The family as a derived table, `features/<name>`; deriving it raises SchemaError for columns other than declared."""
        module = inspect.getmodule(self.compute)
        doc = ((module and inspect.getdoc(module)) or self.name).split("\n\n")[0].replace("\n", " ")
        table = feature_table(self.name, self.described())
        for name in self.inputs.values():
            _define(name)
        return Derivation(
            table,
            dict(self.inputs),
            self._checked,
            self.lookback,
            doc=doc,
            grid=self.inputs.get(self.grid, ""),
            lookbacks=self.lookbacks,
            by_coin=self.by_coin,
        )

    def _checked(self, **inputs: pl.LazyFrame) -> pl.LazyFrame:
        for argument, table in self.inputs.items():
            if table == self.inputs.get(self.grid):
                inputs[argument] = _keys_of(inputs[argument])
        rows = self.compute(**inputs)
        if isinstance(rows, pl.DataFrame):
            rows = rows.lazy()
        if not isinstance(rows, pl.LazyFrame):
            raise SchemaError(f"features/{self.name}: compute must return a polars LazyFrame, returned {type(rows).__name__}")
        found = rows.collect_schema().names()
        missing = [c for c in ("symbol", "ts", *self.columns) if c not in found]
        extra = [c for c in found if c not in (*META, *self.columns)]
        if missing or extra:
            parts = [f"lacks {missing}"] * bool(missing) + [f"has the undeclared {extra}"] * bool(extra)
            raise SchemaError(
                f"features/{self.name}: what compute returns {' and '.join(parts)}; "
                f"it must return symbol, ts and the declared columns {list(self.columns)}"
            )
        return rows


def _keys_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with null in every column but coin and times."""
    schema = rows.collect_schema()
    return rows.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in schema.items() if name not in META)


@cache
def _define(table: str) -> None:
    """Import the module that defines a table, so that one which was never written reads as empty."""
    layer, name = table.split("/")
    module = f"{LAYERS[layer]}.{name}"
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise


def feature_table(name: str, columns: Mapping[str, Column]) -> type[Table]:
    """The table class `features/<name>` with one nullable float column a feature."""
    annotations = {"symbol": "str", **dict.fromkeys(columns, "float | None")}
    fields = {c: Field(nullable=True, unit=d.unit, meaning=d.meaning) for c, d in columns.items()}
    return type(f"Features_{name}", (Table,), {"name": f"features/{name}", "__annotations__": annotations, **fields})


def _problems(family: FeatureFamily) -> list[str]:
    """What is wrong with a declaration, first things first."""
    problems = []
    if not family.name.isidentifier():
        problems.append("the name must be a Python identifier: letters, digits, underscores")
    if not family.columns:
        problems.append("no columns: declare each with its meaning")
    reserved = [c for c in family.columns if c in META]
    if reserved:
        problems.append(f"the column names {reserved} are reserved: choose others")
    if family.lookback < timedelta(0):
        problems.append(f"the lookback is {family.lookback}: a family looks back, give a positive time")
    wrong = {a: t for a, t in family.inputs.items() if t.split("/")[0] not in LAYERS or t.count("/") != 1}
    if wrong or not family.inputs:
        problems.append(f"the inputs {wrong or '{}'} must be raw or curated tables, for example 'curated/candles'")
    if family.grid and family.grid not in family.inputs:
        problems.append(f"the grid {family.grid!r} is none of the inputs {list(family.inputs)}")
    unknown = sorted({*family.lookbacks, *family.by_coin} - set(family.inputs))
    if unknown:
        problems.append(f"lookbacks or by_coin name {unknown}, which are none of the inputs {list(family.inputs)}")
    return problems or _signature_problems(family)


def _signature_problems(family: FeatureFamily) -> list[str]:
    try:
        inspect.signature(family.compute).bind(**family.inputs)
    except (TypeError, ValueError) as error:
        return [f"compute cannot be called with the inputs {list(family.inputs)} ({error}): one argument an input, by name"]
    return []
