"""Rows that fail their schema: set aside with the reason and the payload, never dropped in silence, never let through."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from datetime import date

import polars as pl

from crypto_assets.lake.store import Lake, write_parquet
from crypto_assets.lake.tables import Table
from crypto_assets.market.errors import LakeError, SchemaError
from crypto_assets.market.time import Window

if typing.TYPE_CHECKING:
    from pandera.errors import SchemaErrors

SCHEMA = pl.Schema({"ts": pl.String, "reason": pl.String, "payload": pl.String})


@dataclass(frozen=True)
class Split:
    """Good rows in table shape, and the bad ones as `(ts, reason, payload)` with the payload as JSON text."""

    good: pl.DataFrame
    bad: pl.DataFrame

    @property
    def share(self) -> float:
        """Share of rows that were set aside."""
        total = self.good.height + self.bad.height
        return self.bad.height / total if total else 0.0


def split(table: type[Table], frame: pl.DataFrame) -> Split:
    """Validate with pandera, row by row.

    Raises SchemaError when the shape itself is wrong (a column missing, a type that cannot be read). Exact repeats of a row
    are dropped; different rows for one key and `available_at` are all but the first set aside.
    """
    frame = table.shape(frame).unique(maintain_order=True)
    reasons = _violations(table, frame)
    repeated = frame.with_row_index("_row").filter(pl.struct([*table.key, "available_at"]).is_first_distinct().not_())
    for row in repeated["_row"].to_list():
        reasons.setdefault(row, []).append(f"a second row for {', '.join([*table.key, 'available_at'])}")
    if not reasons:
        return Split(frame, pl.DataFrame(schema=SCHEMA))
    rows = sorted(reasons)
    bad = frame[rows]
    set_aside = pl.DataFrame(
        {
            "ts": bad["ts"].cast(pl.String),
            "reason": ["; ".join(reasons[r]) for r in rows],
            "payload": bad.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
        },
        schema=SCHEMA,
    )
    good = frame.with_row_index("_row").filter(~pl.col("_row").is_in(rows)).drop("_row")
    return Split(good, set_aside)


def keep(lake: Lake, table: str, day: date, bad: pl.DataFrame) -> None:
    """Write what was set aside for `day` (an empty frame removes an earlier verdict)."""
    path = lake.root / "quarantine" / table / f"date={day.isoformat()}" / "part.parquet"
    if bad.height:
        write_parquet(path, bad)
    elif path.exists():
        path.unlink()


def keep_window(lake: Lake, table: str, window: Window, bad: pl.DataFrame) -> None:
    """Write what was set aside, by the day of each row (rows whose day cannot be read go to the window's first day)."""
    days = [_day_of(text, window) for text in bad["ts"].to_list()]
    labelled = bad.with_columns(pl.Series("_day", days, dtype=pl.Date))
    for day in window.days:
        keep(lake, table, day, labelled.filter(pl.col("_day") == day).drop("_day"))


def read(lake: Lake, table: str | None = None) -> pl.DataFrame:
    """All rows set aside, with their table and day (for rows refused by an import: `imports/<table>` and the import)."""
    root = lake.root / "quarantine"
    if table is not None and not (root / table).exists() and not lake.folder(table).exists():
        raise LakeError(f"nothing is known of a table {table!r}: quarantined are {[str(p) for p in root.glob('*/*')]}")
    frames = []
    for path in sorted([*root.glob(f"{table or '*/*'}/date=*/part.parquet"), *root.glob(f"{table or 'imports/*'}/*.parquet")]):
        is_day = path.parent.name.startswith("date=")
        name = (path.parent.parent if is_day else path.parent).relative_to(root).as_posix()
        day = path.parent.name.removeprefix("date=") if is_day else path.stem
        frames.append(pl.read_parquet(path).select(pl.lit(name).alias("table"), pl.lit(day).alias("date"), pl.all()))
    return pl.concat(frames) if frames else pl.DataFrame(schema={"table": pl.String, "date": pl.String, **SCHEMA})


def _day_of(text: str | None, window: Window) -> date:
    try:
        day = date.fromisoformat((text or "")[:10])
    except ValueError:
        return window.start.date()
    return day if day in window.days else window.start.date()


def _violations(table: type[Table], frame: pl.DataFrame) -> dict[int, list[str]]:
    """Row number -> reasons, from pandera's lazy report."""
    from pandera.errors import SchemaErrors

    try:
        table.pandera().validate(frame, lazy=True)
    except SchemaErrors as report:
        return _rows_of(table, report)
    return {}


def _rows_of(table: type[Table], report: SchemaErrors) -> dict[int, list[str]]:
    cases = report.failure_cases
    whole = cases.filter(pl.col("index").is_null())
    if whole.height:
        found = "; ".join(sorted({f"{c['column']}: {c['check']} ({c['failure_case']})" for c in whole.to_dicts()}))
        raise SchemaError(f"{table.name}: the frame as a whole is wrong: {found}")
    reasons: dict[int, list[str]] = {}
    for case in cases.unique(maintain_order=True).to_dicts():
        label = case["check"] if case["check"] != "not_nullable" else f"{case['column']} is missing"
        known = reasons.setdefault(int(case["index"]), [])
        if label not in known:
            known.append(label)
    return reasons
