"""Rows of an hour that has not closed yet, of tables for which a bar is only a place: made early, used if it comes as expected.

What such a table says of an hour hangs on slow tables, which rarely change in its last minutes, and on which coins have a bar,
which is nearly always all of those that had one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from crypto_assets.evaluation.closed_hour import Since
from crypto_assets.lake import Derivation, derive
from crypto_assets.market.time import HOUR, Window

KEYS = ("symbol", "ts", "available_at")


@dataclass(frozen=True)
class _Made:
    """`rows` of `window`, from inputs in a state, on a grid."""

    window: Window
    state: tuple[object, ...]
    start: datetime
    grid: pl.DataFrame
    rows: pl.DataFrame

    def fits(self, reader: Since, window: Window, state: tuple[object, ...], grid: pl.DataFrame) -> bool:
        """Whether deriving it now would give the same rows."""
        same = (self.window, self.state, self.start) == (window, state, reader.start)
        return same and self.grid.equals(grid)


class Early:
    """The last rows made early of each table."""

    def __init__(self) -> None:
        self._made: dict[str, _Made] = {}
        self.used = 0
        """How often rows that were made early have been used."""

    def make(self, step: Derivation, reader: Since, window: Window, state: tuple[object, ...]) -> None:
        """Derive a table's rows of `window`, unless they are there."""
        grid = _grid(step, reader)
        known = self._made.get(step.name)
        if known is None or not known.fits(reader, window, state, grid):
            self._made[step.name] = _Made(window, state, reader.start, grid, derive(step, reader, window))

    def found(self, step: Derivation, reader: Since, window: Window, state: tuple[object, ...]) -> pl.DataFrame | None:
        """The rows that were made early, where they are what would be made now."""
        known = self._made.get(step.name)
        if known is None or not known.fits(reader, window, state, _grid(step, reader)):
            return None
        self.used += 1
        return known.rows


def expected(candles: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The candles with one more bar, which closes at `at`, of every coin that has one in the newest hour."""
    newest = candles.filter(pl.col("ts") == pl.col("ts").max(), pl.col("ts") < at - HOUR)
    more = newest.with_columns(
        ts=pl.lit(at - HOUR, pl.Datetime("us", "UTC")), available_at=pl.lit(at, pl.Datetime("us", "UTC"))
    )
    return pl.concat([candles, more.select(candles.columns)])


def _grid(step: Derivation, reader: Since) -> pl.DataFrame:
    return reader.newer[step.grid].select(KEYS).sort(KEYS)
