"""Typed tables: columns, bounds and row rules, declared once and read by everyone.

A table is a class. Its annotations are its columns, `Field` gives bounds, unit and meaning, `rules()` gives conditions over
several columns. The pandera schema, the polars schema, the Dagster column schema and the documentation are derived from it.
pandera is imported only when something is validated, because importing it costs as much as importing Dagster.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

import polars as pl

from crypto_assets.market.errors import SchemaError

if typing.TYPE_CHECKING:
    import pandera.polars as pa

Timestamp = Annotated[datetime, "UTC, microseconds"]
UTC_US = pl.Datetime("us", "UTC")
_DTYPES: dict[Any, pl.DataType] = {
    float: pl.Float64(),
    int: pl.Int64(),
    str: pl.String(),
    bool: pl.Boolean(),
    datetime: UTC_US,
}

TABLES: dict[str, type[Table]] = {}
"""Every table by name (`layer/table`), filled as the classes are defined."""


@dataclass(frozen=True)
class Column:
    """Bounds, unit and meaning of a column. Nulls are refused unless `nullable`; NaN and infinity always are."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    isin: tuple[str, ...] | None = None
    nullable: bool = False
    unit: str = ""
    meaning: str = ""

    def checks(self) -> list[tuple[str, float | tuple[str, ...]]]:
        """The bounds that are set, as (name, bound)."""
        named = (("ge", self.ge), ("gt", self.gt), ("le", self.le), ("lt", self.lt), ("isin", self.isin))
        return [(name, bound) for name, bound in named if bound is not None]


def Field(**bounds: Any) -> Any:
    """A column's bounds, unit and meaning: the arguments of `Column`, typed so that it may stand as a default value."""
    return Column(**bounds)


class Table:
    """Base of all tables. Subclass with `name = "layer/table"` and annotated columns.

    `ts` is the moment a row describes, `available_at` the first moment anyone could have known it; both UTC.
    """

    name: ClassVar[str] = ""
    key: ClassVar[tuple[str, ...]] = ("symbol", "ts")
    """What identifies a row, apart from its version (`available_at`)."""
    cadence: ClassVar[timedelta | None] = None
    """Where set, each listed symbol must have a row each `cadence`."""
    max_quarantined: ClassVar[float] = 0.01
    """Share of a write that may be quarantined before the schema check blocks: a rare bad row is a provider's bad day,
    one in a hundred is a changed format."""
    fields: ClassVar[dict[str, Column]] = {}
    dtypes: ClassVar[dict[str, pl.DataType]] = {}

    ts: Timestamp = Field(unit="UTC", meaning="moment the row describes")
    available_at: Timestamp = Field(unit="UTC", meaning="first moment anyone could have known the row")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.fields, cls.dtypes = {}, {}
        for column, (base, optional) in _columns(cls).items():
            field = getattr(cls, column, None)
            field = field if isinstance(field, Column) else Column()
            cls.fields[column] = replace(field, nullable=True) if optional else field
            cls.dtypes[column] = _DTYPES[base]
        if cls.name:
            TABLES[cls.name] = cls

    @classmethod
    def rules(cls) -> dict[str, pl.Expr]:
        """Named conditions over several columns, true for a good row, for example `{"high >= low": ...}`."""
        return {}

    @classmethod
    def schema(cls) -> pl.Schema:
        """The polars schema, in column order."""
        return pl.Schema(cls.dtypes)

    @classmethod
    def empty(cls) -> pl.DataFrame:
        """No rows, the right columns."""
        return pl.DataFrame(schema=cls.schema())

    @classmethod
    def shape(cls, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with this table's columns in order and their types.

        Raises SchemaError naming missing and unexpected columns, and columns whose values cannot be cast.
        """
        wanted, has = cls.schema(), frame.schema
        if list(has.items()) == list(wanted.items()):
            return frame
        missing = [c for c in wanted if c not in has and not cls.fields[c].nullable]
        extra = [c for c in has if c not in wanted]
        if missing or extra:
            parts = [f"missing {missing}"] * bool(missing) + [f"unexpected {extra}"] * bool(extra)
            raise SchemaError(f"{cls.name or cls.__name__}: {' and '.join(parts)}; expected the columns {list(wanted)}")
        columns = []
        for column, dtype in wanted.items():
            if column not in has:
                columns.append(pl.lit(None, dtype=dtype).alias(column))
                continue
            found = has[column]
            if isinstance(found, pl.Datetime) and found.time_zone is None:
                raise SchemaError(f"{cls.name or cls.__name__}.{column}: timestamps carry no time zone; give them in UTC")
            columns.append(pl.col(column).cast(dtype))
        try:
            return frame.select(columns)
        except pl.exceptions.PolarsError as error:
            kinds = {c: str(has[c]) for c in wanted if c in has and has[c] != wanted[c]}
            raise SchemaError(
                f"{cls.name or cls.__name__}: columns {kinds} cannot be read as { {c: str(wanted[c]) for c in kinds} }: {error}"
            ) from error

    @classmethod
    def pandera(cls) -> pa.DataFrameSchema:
        """The pandera schema: types, nulls, bounds and row rules."""
        import pandera.polars as pa

        columns = {}
        for column, field in cls.fields.items():
            checks = [_bound(name, bound, f"{column} {name} {bound}") for name, bound in field.checks()]
            if cls.dtypes[column] == pl.Float64():
                checks.append(_finite(f"{column} is finite"))
            columns[column] = pa.Column(cls.dtypes[column], checks=checks, nullable=field.nullable)
        rules = [_rule(name, rule) for name, rule in cls.rules().items()]
        return pa.DataFrameSchema(columns, checks=rules, strict=True, ordered=True)


_BASES = {"float": float, "int": int, "str": str, "bool": bool, "datetime": datetime, "Timestamp": datetime}
_SPELLED: dict[str, tuple[Any, bool]] = {
    f"{name}{rest}": (base, bool(rest)) for name, base in _BASES.items() for rest in ("", " | None")
}
"""Annotations as written -> type, whether null may be. Read from the text: evaluating hundreds of them slows the import."""


def _columns(table: type[Table]) -> dict[str, tuple[Any, bool]]:
    """Type and nullability of every annotated column, those of the bases first. Raises SchemaError for another type."""
    columns = {}
    for owner in reversed(table.__mro__):
        for column, hint in inspect.get_annotations(owner).items():
            text = hint if isinstance(hint, str) else ""
            if text.startswith("ClassVar"):
                continue
            found = _SPELLED.get(text) or _evaluated(table, column)
            if found[0] not in _DTYPES:
                raise SchemaError(f"{table.__name__}.{column}: type {found[0]!r} is none of {[t.__name__ for t in _DTYPES]}")
            columns[column] = found
    return columns


def _evaluated(table: type[Table], column: str) -> tuple[Any, bool]:
    hint = typing.get_type_hints(table)[column]
    others = [a for a in typing.get_args(hint) if a is not type(None)]
    optional = type(None) in typing.get_args(hint)
    return (others[0] if optional else hint), optional


class RawTable(Table):
    """Base of the raw tables: a row as one provider gave it, with `source` naming that provider."""

    key: ClassVar[tuple[str, ...]] = ("symbol", "ts", "source")

    source: str = Field(meaning="provider the row came from")


def _bound(name: str, bound: Any, label: str) -> pa.Check:
    import pandera.polars as pa

    makers: dict[str, Any] = {"ge": pa.Check.ge, "gt": pa.Check.gt, "le": pa.Check.le, "lt": pa.Check.lt}
    if name == "isin":
        return pa.Check.isin(list(bound), name=label, error=label)
    return makers[name](bound, name=label, error=label)


def _finite(label: str) -> pa.Check:
    import pandera.polars as pa

    return pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).is_finite()), name=label, error=label)


def _rule(label: str, rule: pl.Expr) -> pa.Check:
    import pandera.polars as pa

    return pa.Check(lambda data: data.lazyframe.select(rule.fill_null(True)), name=label, error=label)
