"""Atomic, hive-partitioned Parquet: `<root>/<layer>/<table>/date=YYYY-MM-DD/part.parquet`, one file a UTC day of `ts`.

A file is written beside its place, synced and renamed, so a reader sees the old rows or the new ones and a killed writer
leaves nothing half done. The same frame gives the same bytes, and unchanged bytes are not written again.
"""

from __future__ import annotations

import difflib
import io
import os
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from crypto_assets.lake.tables import TABLES, Table
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import Window

PART = "part.parquet"
LAYERS = ("raw", "curated", "features", "labels", "models", "forecasts", "fusion", "backtests", "monitoring")
GROWING = ("raw", "curated")
"""Layers whose tables have columns of their own; the others' follow from the chosen features and models."""


class Reader(Protocol):
    """Anything that yields the rows of a table with `start <= ts < end`."""

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table`; an empty frame of the right schema where there are none."""
        ...


def nothing(table: str) -> pl.LazyFrame:
    """An empty frame of a known table. Raises LakeError for an unknown name, with near ones."""
    if table not in TABLES:
        near = difflib.get_close_matches(table, TABLES, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise LakeError(f"no table named {table!r} and no data under that name{hint}")
    return TABLES[table].empty().lazy()


class Frames:
    """A reader over frames in memory, falling back on `base` for tables it does not hold."""

    def __init__(self, frames: Mapping[str, pl.DataFrame] | None = None, base: Reader | None = None) -> None:
        self.frames: dict[str, pl.DataFrame] = dict(frames or {})
        self.base = base

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        if table in self.frames:
            return _between(self.frames[table].lazy(), start, end)
        return self.base.scan(table, start, end) if self.base else nothing(table)


class Lake:
    """The lake at `root`. Reads never lock; writes are atomic by day and safe beside any number of readers."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().resolve()

    def folder(self, table: str) -> Path:
        """Where the table lies."""
        return self.root / table

    def path(self, table: str, day: date) -> Path:
        """The file that holds one day."""
        return self.folder(table) / f"date={day.isoformat()}" / PART

    def days(self, table: str) -> list[date]:
        """Days that have been written (an empty day counts), in order."""
        found = (p.parent.name.removeprefix("date=") for p in self.folder(table).glob(f"date=*/{PART}"))
        return sorted(date.fromisoformat(text) for text in found)

    def tables(self) -> list[str]:
        """Every table with at least one day, as `layer/table`."""
        return sorted({f"{layer}/{p.name}" for layer in LAYERS for p in (self.root / layer).glob("*") if any(p.glob("date=*"))})

    def ensure_writable(self) -> None:
        """Raise LakeError unless a file can be made under the root."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise LakeError(
                f"the lake {self.root} cannot be written ({error.strerror}): choose another folder with --lake or "
                f"CRYPTO_ASSETS_LAKE, or make this one writable"
            ) from error

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`, read lazily; empty where nothing was written."""
        last = None if end is None else end.date()
        days = [d for d in self.days(table) if (start is None or d >= start.date()) and (last is None or d <= last)]
        if not days:
            return nothing(table)
        return _between(_scan(table, [self.path(table, d) for d in days]), start, end)

    def write(self, table: type[Table], frame: pl.DataFrame, window: Window) -> dict[date, int]:
        """Replace every day of `window` by the rows of `frame`; returns rows by day.

        A day without rows gets an empty file: it was looked at. Raises SchemaError for a wrong shape and LakeError for a
        row outside the window, or when the folder cannot be written.
        """
        frame = table.shape(frame).sort([*table.key, "available_at"])
        outside = frame.filter((pl.col("ts") < window.start) | (pl.col("ts") >= window.end))
        if outside.height:
            raise LakeError(
                f"{table.name}: {outside.height} rows outside {window.start} -> {window.end}, first {outside.row(0)}"
            )
        by_day = frame.with_columns(_day=pl.col("ts").dt.date()).partition_by("_day", as_dict=True, include_key=False)
        counts = {}
        for day in window.days:
            rows = by_day.get((day,), frame.clear())
            write_parquet(self.path(table.name, day), rows)
            counts[day] = rows.height
        return counts


def read_day(lake: Lake, table: str, day: date) -> pl.DataFrame:
    """One day's file as `Lake.scan` reads it, whatever `ts` its rows have."""
    return _scan(table, [lake.path(table, day)]).collect()


def write_parquet(path: Path, frame: pl.DataFrame) -> bool:
    """Write atomically; False if the same bytes were there already."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", statistics=True)
    return write_bytes(path, buffer.getvalue())


def write_bytes(path: Path, content: bytes) -> bool:
    """Write `content` to `path` by way of a synced temporary file; False if it held the same bytes already."""
    try:
        if path.exists() and path.read_bytes() == content:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise LakeError(f"cannot write {path} ({error.strerror}): free space or make the lake writable") from error
    return True


def _scan(table: str, files: list[Path]) -> pl.LazyFrame:
    """The rows of the files; a file written before its raw or curated table gained a column has nulls there."""
    if table.split("/")[0] not in GROWING or table not in TABLES:
        return pl.scan_parquet(files, hive_partitioning=False)
    return pl.scan_parquet(files, schema=TABLES[table].schema(), missing_columns="insert", hive_partitioning=False)


def _between(frame: pl.LazyFrame, start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    if start is not None:
        frame = frame.filter(pl.col("ts") >= start)
    if end is not None:
        frame = frame.filter(pl.col("ts") < end)
    return frame
