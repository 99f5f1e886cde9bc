"""A lake's tables in memory, day by day, until a file changes: for whoever asks the same days again every hour.

A scan gives what `Lake.scan` would, rows in the same order; it costs a filter, not hundreds of small files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import polars as pl

from crypto_assets.lake.derivation import Derivation
from crypto_assets.lake.store import PART, Lake, nothing, read_day
from crypto_assets.market.time import DAY


@dataclass
class _Days:
    """The days of one table: what each file was when it was read, and all of them as one frame (None: none)."""

    stamps: dict[date, tuple[int, int]] = field(default_factory=dict)
    frames: dict[date, pl.DataFrame] = field(default_factory=dict)
    whole: pl.DataFrame | None = None
    version: int = 0


class Kept:
    """A Reader. `back` says how far back from the last `look` each table is wanted; other tables are read from the lake."""

    def __init__(self, lake: Lake, back: Mapping[str, timedelta]) -> None:
        self.lake, self.back = lake, dict(back)
        self._tables = {name: _Days() for name in self.back}
        self._from: datetime | None = None
        self.changes = 0
        """Counts looks that found another file than before."""

    def look(self, at: datetime) -> None:
        """Read again what has changed since the last look, let go of what lies too far back from `at`."""
        self._from = at
        found = [self._look(name, (at - back).date()) for name, back in self.back.items()]
        self.changes += any(found)

    def state(self, table: str) -> object:
        """Of what is kept of a table: equal to an earlier one where nothing of it has changed since."""
        return tuple(self._tables[table].stamps.items())

    def frame(self, table: str) -> pl.DataFrame | None:
        """All that is kept of a table, or None where it has no day."""
        return self._tables[table].whole

    def version(self, table: str) -> int:
        """Counts the looks that found another state of a table."""
        return self._tables[table].version if table in self._tables else 0

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        if not self._covers(table, start):
            return self.lake.scan(table, start, end)
        whole = self._tables[table].whole
        if whole is None:
            return nothing(table)
        inside = [pl.col("ts") >= start] + ([pl.col("ts") < end] if end is not None else [])
        return whole.lazy().filter(*inside)

    def _covers(self, table: str, start: datetime | None) -> bool:
        return table in self.back and start is not None and self._from is not None and start >= self._from - self.back[table]

    def _look(self, table: str, first: date) -> bool:
        known, now = self._tables[table], self._stamps(table, first)
        if now == known.stamps:
            return False
        frames = {
            day: known.frames[day] if known.stamps.get(day) == stamp else read_day(self.lake, table, day)
            for day, stamp in now.items()
        }
        whole = pl.concat(list(frames.values()), rechunk=True) if frames else None
        self._tables[table] = _Days(now, frames, whole, known.version + 1)
        return True

    def _stamps(self, table: str, first: date) -> dict[date, tuple[int, int]]:
        """Time and size of each day's file from `first` on, in order."""
        found, prefix = {}, f"date={first.isoformat()}"
        try:
            names = sorted(e.name for e in os.scandir(self.lake.folder(table)) if e.name >= prefix)
        except FileNotFoundError:
            return {}
        for name in names:
            try:
                stat = (self.lake.folder(table) / name / PART).stat()
            except FileNotFoundError:
                continue
            found[date.fromisoformat(name.removeprefix("date="))] = (stat.st_mtime_ns, stat.st_size)
        return found


def reach_of(steps: Iterable[Derivation], slack: timedelta = 8 * DAY) -> dict[str, timedelta]:
    """Table -> how far back it is read by any of the steps, and `slack` more."""
    back: dict[str, timedelta] = {}
    for step in steps:
        for table, far in step.reach().items():
            back[table] = max(back.get(table, slack), far + slack)
    return back
