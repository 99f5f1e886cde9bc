"""Micro-batches into the hot store, and whole hours from there into the `live` tables.

Rows wait here for at most `every` seconds; one key that is set twice meanwhile is stored once. When more than `MOST` rows wait,
because the store is slow or away, the readers wait too (`room`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from crypto_assets.lake import Lake
from crypto_assets.lake.hot import Hot, HotStore
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sources.stream.stats import Stats
from crypto_assets.sources.stream.tables import LIVE, LiveCandles1h, frame, kind

MOST = 20_000
"""Rows that may wait: some ten minutes of 20 streams."""
HOURS = ("hours", "ALL")
"""Kind and symbol of the marks of closed hours."""
log = logging.getLogger(__name__)


class Writer:
    """Everything that is stored passes here."""

    def __init__(self, hot: HotStore, stats: Stats, every: float) -> None:
        self.hot, self._stats, self._every = hot, stats, every
        self._pending: dict[tuple[str, str, int], tuple[Mapping[str, Any], float]] = {}
        self._quotes: dict[tuple[str, str], tuple[int, Mapping[str, Any], float]] = {}
        self._has_room = asyncio.Event()
        self._has_room.set()

    def add(self, provider: str, table: str, symbol: str, ms: int, values: Mapping[str, Any], received: float) -> None:
        """A row of a live table, to be stored with the next batch."""
        self._pending[f"{provider}.{table}", symbol, ms] = (values, received)
        self._stats.pending = len(self._pending)
        if len(self._pending) >= MOST:
            self._has_room.clear()

    def quote(self, provider: str, symbol: str, ms: int, values: Mapping[str, Any], received: float) -> None:
        """The newest price; each batch stores the newest of each symbol, its delay counted from the first that waited."""
        key = (provider, symbol)
        before = self._quotes.get(key)
        if before is None:
            self._quotes[key] = (ms, values, received)
        elif ms >= before[0]:
            self._quotes[key] = (ms, {**before[1], **values}, before[2])

    async def room(self) -> None:
        """Returns when more may be read."""
        if not self._has_room.is_set():
            self._stats.stalls += 1
            await self._has_room.wait()

    async def run(self, stopping: asyncio.Event) -> None:
        """Store what waits, every `every` seconds, until `stopping`; a store that is away is tried again and again."""
        failures = 0
        while not stopping.is_set():
            pause = self._every if not failures else min(30.0, self._every * 2**failures)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pause)
            try:
                await self.flush()
                failures = 0
            except LakeError as error:
                failures += 1
                if failures == 1:
                    log.warning("%s", error)

    async def flush(self) -> None:
        """Store everything that waits. Raises LakeError, with the rows still waiting, when the store refuses."""
        pending, self._pending = self._pending, {}
        quotes, self._quotes = self._quotes, {}
        rows = [Hot(name, symbol, _utc(ms), values) for (name, symbol, ms), (values, _) in pending.items()]
        rows += [Hot(kind(p, "quotes"), symbol, _utc(ms), values) for (p, symbol), (ms, values, _) in quotes.items()]
        if not rows:
            return
        try:
            await asyncio.to_thread(self.hot.put, rows)
        except LakeError:
            self._pending = {**pending, **self._pending}
            self._stats.failed_batches += 1
            raise
        now = time.monotonic()
        self._stats.delays.extend(now - received for _, received in pending.values())
        self._stats.delays.extend(now - received for _, _, received in quotes.values())
        self._stats.rows += len(rows)
        self._stats.batches += 1
        self._stats.pending = len(self._pending)
        if len(self._pending) < MOST:
            self._has_room.set()


def roll(lake: Lake, hot: HotStore, providers: Sequence[str], first: date, until: datetime) -> dict[str, int]:
    """Bring the `live` tables up to `until`, from the day `first` on, from the hot store; returns rows by table.

    A day's file is replaced whole, by what it holds and what the store holds, so that it never lies there half written and
    doing it again changes nothing.
    """
    written = {}
    for table in LIVE:
        day, count = Window.of_days(first, first), 0
        while day.start < until:
            fresh = frame(hot, table, providers, day.start, min(day.end, until))
            if fresh.height:
                kept = lake.scan(table.name, day.start, day.end).collect()
                rows = pl.concat([fresh, kept]).unique(list(table.key), keep="first").sort(list(table.key))
                write_parquet(lake.path(table.name, day.start.date()), rows)
                count += rows.height
            day = Window(day.start + DAY, day.end + DAY)
        written[table.name] = count
    return written


def mark(hot: HotStore, providers: Sequence[str], closed: datetime) -> bool:
    """Say in the hot store that the hour which ended at `closed` is whole or given up; False if it was said before.

    The value counts the bars of each provider: `{"binance_spot": 8, ...}`.
    """
    if any(row.ts == closed for row in hot.range(*HOURS, closed, closed + HOUR)):
        return False
    counts = {p: frame(hot, LiveCandles1h, [p], closed - HOUR, closed).height for p in providers}
    hot.put([Hot(*HOURS, closed, counts)])
    return True


def closed_hours(hot: HotStore, n: int = 1) -> list[datetime]:
    """Ends of the newest closed hours, oldest first."""
    return [row.ts for row in hot.newest(*HOURS, n)]


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
