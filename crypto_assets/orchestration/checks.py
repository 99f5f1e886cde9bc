"""Asset checks made from a table's schema: wrong shape, too many quarantined rows or missing bars block what is downstream."""

import math
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from crypto_assets.lake import Derivation, Lake, Table
from crypto_assets.market.errors import SchemaError
from crypto_assets.market.time import Window

MAX_MISSING = 0.10
"""Share of (coin, hour) slots that may be missing before a write blocks: an exchange's outage of two hours takes every coin's
bars, 8.3 % of a day; more means the fetch was not complete."""


def schema_spec(key: list[str]) -> dg.AssetCheckSpec:
    """The blocking schema check every table has."""
    return dg.AssetCheckSpec(
        "schema", asset=dg.AssetKey(key), blocking=True, description="pandera schema: types, nulls, bounds, row rules"
    )


def schema_result(table: type[Table], rows: pl.DataFrame) -> dg.AssetCheckResult:
    """Validate what was written."""
    bad = bad_rows(table, rows)
    return written_result(table, rows.height, None, [bad] if isinstance(bad, str) or bad.height else [])


def bad_rows(table: type[Table], rows: pl.DataFrame) -> pl.DataFrame | str:
    """The rows that break the table's schema, each with its reason; in words where the shape is wrong."""
    from crypto_assets.lake import quarantine

    try:
        return quarantine.split(table, rows).bad
    except SchemaError as error:
        return str(error)


def written_result(
    table: type[Table], rows: int, rows_by_day: dict | None, problems: Sequence[pl.DataFrame | str]
) -> dg.AssetCheckResult:
    """The verdict on what was written in pieces, from what `bad_rows` found in each."""
    metadata: dict[str, Any] = {"rows": rows}
    if rows_by_day:
        metadata["rows_by_day"] = _day_table(rows_by_day)
    for words in (p for p in problems if isinstance(p, str)):
        return _failed(table, words, metadata)
    found = [p.select("reason") for p in problems if isinstance(p, pl.DataFrame)]
    if found:
        bad = pl.concat(found)
        examples = bad.group_by("reason").len().sort("len", descending=True).head(5)
        return _failed(table, f"{bad.height} rows break {table.name}: {dict(examples.iter_rows())}", metadata)
    return dg.AssetCheckResult(passed=True, check_name="schema", asset_key=_key(table), metadata=metadata)


def firewall_spec(key: list[str]) -> dg.AssetCheckSpec:
    """The leak check every feature table has. It blocks nothing: a leak is a matter of code, which rows do not mend."""
    return dg.AssetCheckSpec(
        "leak_firewall", asset=dg.AssetKey(key), blocking=False, description="no value changes when what came later does"
    )


def firewall_result(derivation: Derivation, lake: Lake, window: Window) -> dg.AssetCheckResult:
    """Two cuts in the last days of what was written."""
    from crypto_assets.audit.check import leaks_of

    try:
        leaks, problem = leaks_of(derivation, lake, window), None
    except Exception as error:
        leaks, problem = [], f"the code fails on a shorter or another future: {type(error).__name__}: {error}"
    metadata: dict[str, Any] = {"leaks": dg.MetadataValue.json([leak.json() for leak in leaks])}
    return dg.AssetCheckResult(
        passed=not leaks and problem is None,
        check_name="leak_firewall",
        asset_key=_key(derivation.table),
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=metadata | ({"reason": problem} if problem else {}),
    )


def ingest_result(table: type[Table], done: Any, reason: str | None = None) -> dg.AssetCheckResult:
    """The verdict on a raw table: quarantined share and missing slots against the table's thresholds."""
    metadata: dict[str, Any] = {
        "rows": done.total,
        "quarantined": done.quarantined.height,
        "missing_share": round(done.missing, 5),
        "rows_by_day": _day_table(done.rows),
    }
    if done.quarantined.height:
        counts = done.quarantined.group_by("reason").len().sort("len", descending=True).head(10)
        metadata["reasons"] = dg.MetadataValue.json(dict(counts.iter_rows()))
    if done.quarantined_share > table.max_quarantined:
        text = f"{done.quarantined_share:.1%} of the rows are quarantined, at most {table.max_quarantined:.1%} may be"
        return _failed(table, text, metadata)
    if done.missing > MAX_MISSING:
        return _failed(table, f"{done.missing:.1%} of the bars are missing, at most {MAX_MISSING:.0%} may be", metadata)
    if reason or done.quarantined.height or done.missing:
        metadata["reason"] = reason or "fewer bad or missing rows than block"
        return dg.AssetCheckResult(
            passed=not reason and not done.quarantined.height,
            check_name="schema",
            asset_key=_key(table),
            severity=dg.AssetCheckSeverity.WARN,
            metadata=metadata,
        )
    return dg.AssetCheckResult(passed=True, check_name="schema", asset_key=_key(table), metadata=metadata)


def column_schema(table: type[Table]) -> dg.TableSchema:
    """The table's columns for the UI: type, meaning, unit, bounds."""
    columns = []
    for name, dtype in table.schema().items():
        field = table.fields[name]
        text = " ".join(t for t in (field.meaning, f"[{field.unit}]" if field.unit else "") if t)
        other = [f"{kind} {bound}" for kind, bound in field.checks()]
        columns.append(
            dg.TableColumn(
                name,
                type=str(dtype),
                description=text or None,
                constraints=dg.TableColumnConstraints(nullable=field.nullable, other=other or None),
            )
        )
    rules = list(table.rules())
    return dg.TableSchema(columns=columns, constraints=dg.TableConstraints(other=rules) if rules else None)


def finite(values: dict[str, Any]) -> dict[str, Any]:
    """Numeric metadata without NaN, which the event log cannot hold."""
    return {k: v for k, v in values.items() if not (isinstance(v, float) and not math.isfinite(v))}


def _day_table(rows: dict) -> dg.MetadataValue:
    records = [dg.TableRecord({"day": day.isoformat(), "rows": n}) for day, n in rows.items()]
    return dg.MetadataValue.table(
        records=records, schema=dg.TableSchema([dg.TableColumn("day"), dg.TableColumn("rows", "int")])
    )


def _failed(table: type[Table], reason: str, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=False,
        check_name="schema",
        asset_key=_key(table),
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={**metadata, "reason": reason},
    )


def _key(table: type[Table]) -> dg.AssetKey:
    return dg.AssetKey(table.name.split("/"))
