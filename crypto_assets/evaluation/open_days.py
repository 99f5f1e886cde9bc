"""The open days, kept warm: what an hour's close is made of lies in memory before it closes, and only the hour is computed.

`closed_hour` reads everything anew each time, which takes seconds and hundreds of files. Here the same derivations see the same
rows from the same beginning, so the rows are the same to the last bit (crypto_assets_tests/evaluation/test_open_days.py), but:
tables of the lake stay in memory until a file changes, open days that are over are not derived again while nothing of them
changes, bars before the open days are read from the hot store once, and the panel of the past is laid out once. What does not
hang on the bars themselves (`FeatureFamily.grid`: two thirds of the work) can be made `ahead`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial

import numpy as np
import polars as pl

from crypto_assets.dataset import labels
from crypto_assets.dataset.assemble import derivations
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.evaluation import early
from crypto_assets.evaluation.closed_hour import Since, first_open_day
from crypto_assets.evaluation.walkforward import CONTEXT
from crypto_assets.features import FeatureFamily
from crypto_assets.features import families as all_families
from crypto_assets.lake import Derivation, Lake, derive
from crypto_assets.lake.hot import HotStore
from crypto_assets.lake.kept import Kept, reach_of
from crypto_assets.market.errors import StaleDataError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sources import Source, discover
from crypto_assets.sources.stream import polling
from crypto_assets.sources.stream.tables import LiveCandles1h, frame

MATRIX, GRID = "features/matrix", "curated/candles"
AT_ONCE = 2
"""Families derived at the same time; most of their work is done outside the interpreter's lock."""


class OpenDays:
    """Rows of `features/matrix` and the panel of the newest closed hour, again and again. Not for several threads at once."""

    def __init__(
        self,
        lake: Lake,
        hot: HotStore,
        symbols: Sequence[str],
        *,
        families: Sequence[FeatureFamily] | None = None,
        sources: Mapping[str, Source] | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        self.lake, self.symbols = lake, tuple(symbols)
        chosen = list(all_families().values()) if families is None else list(families)
        self._steps = [step for step in derivations(chosen) if step.name != labels.DERIVATION.name]
        self._sources = dict(discover() if sources is None else sources)
        derived = {step.name for step in self._steps}
        reach = reach_of(self._steps)
        reach[MATRIX] = CONTEXT + 8 * DAY
        live = {polling.name_of(s): reach[s.table.name] for s in self._sources.values() if s.table.name in reach}
        self._kept = Kept(lake, {**reach, **live})
        self._raw = _Raw(self._kept, hot, [s for s in self._sources.values() if s.table.name in set(reach) - derived])
        self._over: dict[tuple[str, datetime], tuple[object, pl.DataFrame]] = {}
        self._past: tuple[object, Panel] | None = None
        self._reader: Since | None = None
        self._early = early.Early()
        self._pool = ThreadPoolExecutor(at_once, "families") if at_once > 1 else None

    def rows(self, at: datetime) -> pl.DataFrame:
        """Rows of `features/matrix` from the first open day up to `at`: what `closed_hour.matrix_since` gives.

        Raises StaleDataError when more than a week is missing.
        """
        reader, windows = self._look(at)
        for wave in _waves(self._steps):
            made = (self._pool.map if self._pool else map)(partial(self._derived, reader=reader, windows=windows), wave)
            for step, found in zip(wave, list(made), strict=True):
                reader.newer[step.name] = found
        self._reader = reader
        return reader.newer[MATRIX]

    def ahead(self, at: datetime) -> None:
        """Before the hour `at` closes: derive those tables for which a bar is only a place, as if every coin had one again.

        `rows` takes what was derived where the bars come as expected and nothing else of its inputs has changed, and does it
        again where not. Again and again costs little: what is still good is left alone.
        """
        if self._reader is None:
            return
        known = self._reader.newer[GRID]
        reader, windows = self._look(at)
        reader.newer[GRID] = early.expected(known, at)
        for step in self._steps:
            if step.grid == GRID:
                self._early.make(step, reader, windows[-1], self._state(step))
            elif step.name != GRID and GRID not in step.inputs.values():
                reader.newer[step.name] = self._derived(step, reader, windows)

    def _look(self, at: datetime) -> tuple[Since, list[Window]]:
        """Everything as it is now, and the open days."""
        self._kept.look(at)
        first = first_open_day(self.lake, at)
        self._raw.look(first, at)
        return Since(self._raw, first), list(Window(first, at + HOUR).chunks(1))

    def _state(self, step: Derivation) -> tuple[object, ...]:
        """What a step's inputs are but for its grid: another one when a file of theirs has changed."""
        found: list[object] = []
        for table in step.inputs.values():
            live = [polling.name_of(s) for s in self._sources.values() if s.table.name == table]
            found += [(table, *map(self._kept.version, (table, *live)))]
            found += [self._state(other) for other in self._steps if other.name == table != GRID]
        return tuple(found)

    def panel(self, at: datetime) -> Panel:
        """The panel that ends with the hour `at`, with the context every model needs, without labels.

        Raises StaleDataError when no coin has a bar there.
        """
        rows = self.rows(at).filter(pl.col("symbol").is_in(self.symbols))
        if rows.filter(pl.col("ts") == at).is_empty():
            raise StaleDataError(f"no bar closed at {at} in the hot store: run `crypto-assets stream`, and see its gaps")
        rows = rows.filter(pl.col("ts") <= at)
        first = first_open_day(self.lake, at)
        past = self._context(first, tuple(sorted(set(rows.columns) - {"symbol", "ts", "available_at", "return_1h"})))
        new = from_tables(rows, labels.DERIVATION.table.empty(), self.symbols)
        return new if past is None else followed(past, new)

    def closes(self, at: datetime, hours: int) -> dict[str, list[float]]:
        """Each coin's last closes up to `at`, oldest first, as curated: of what `rows` or `panel` was asked for last."""
        if self._reader is None:
            return {}
        rows = self._reader.scan("curated/candles", at - hours * HOUR, at).sort("symbol", "ts").collect()
        return {str(symbol): part["close"].to_list() for (symbol,), part in rows.group_by("symbol", maintain_order=True)}

    def close(self) -> None:
        """End the threads."""
        if self._pool:
            self._pool.shutdown()

    def _derived(self, step: Derivation, reader: Since, windows: list[Window]) -> pl.DataFrame:
        return pl.concat([self._day(step, reader, window, window is windows[-1]) for window in windows])

    def _day(self, step: Derivation, reader: Since, window: Window, is_last: bool) -> pl.DataFrame:
        """One open day of one table; a day that is over is kept while what it was made of stays."""
        made_of = (self._kept.changes, self._raw.state(window.end), reader.start)
        key = (step.name, window.start)
        known = self._over.get(key)
        if known is not None and not is_last and known[0] == made_of:
            return known[1]
        rows = self._early.found(step, reader, window, self._state(step)) if is_last and step.grid == GRID else None
        rows = derive(step, reader, window) if rows is None else rows
        if not is_last:
            self._over[key] = (made_of, rows)
        self._over = {k: v for k, v in self._over.items() if k[1] >= reader.start}
        return rows

    def _context(self, first: datetime, columns: tuple[str, ...]) -> Panel | None:
        """The lake's part of the panel, laid out again only when the matrix changed."""
        key = (first, self._kept.state(MATRIX), columns)
        if self._past is None or self._past[0] != key:
            rows = self._kept.scan(MATRIX, first - CONTEXT, first).collect()
            if rows.is_empty():
                return None
            self._past = (key, from_tables(rows, labels.DERIVATION.table.empty(), self.symbols, columns))
        return self._past[1]


class _Raw:
    """Raw tables in memory with what the stream and the polls have brought laid over them; other tables as they are kept."""

    def __init__(self, kept: Kept, hot: HotStore, sources: Sequence[Source]) -> None:
        self._kept, self._hot = kept, hot
        self._sources = {s.table.name: s for s in sources}
        self._older: dict[str, tuple[datetime, pl.DataFrame]] = {}
        self._bars: dict[str, pl.DataFrame] = {}
        self._merged: dict[str, pl.DataFrame] = {}

    def look(self, first: datetime, at: datetime) -> None:
        """Read the bars of the open days; those before are read once a day."""
        merged: dict[str, pl.DataFrame] = {}
        for name, source in self._sources.items():
            more = self._brought(source, first, at)
            base = self._kept.frame(name)
            if more.height:
                key = [*source.table.key, "available_at"]
                rows = more if base is None else pl.concat([base, more]).unique(key, keep="first", maintain_order=True)
                merged[name] = rows
        self._merged = merged

    def state(self, until: datetime) -> tuple[tuple[int, int], ...]:
        """What the hot store has before `until`: another one where a bar came late or was put right."""
        found = []
        for rows in self._bars.values():
            part = rows.filter(pl.col("ts") < until)
            found.append((part.height, int(part.hash_rows(seed=1).sum() or 0) if part.height else 0))
        return tuple(found)

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        if table not in self._merged or start is None or end is None:
            return self._kept.scan(table, start, end)
        return self._merged[table].lazy().filter(pl.col("ts") >= start, pl.col("ts") < end)

    def _brought(self, source: Source, first: datetime, at: datetime) -> pl.DataFrame:
        if source.name not in polling.STREAMED:
            polled = self._kept.frame(polling.name_of(source))
            return source.table.empty() if polled is None else source.table.shape(polled)
        known = self._older.get(source.name)
        if known is None or known[0] != first:
            back = self._kept.back[source.table.name]
            known = (first, source.table.shape(frame(self._hot, LiveCandles1h, [source.provider], first - back, first)))
            self._older[source.name] = known
        newer = source.table.shape(frame(self._hot, LiveCandles1h, [source.provider], first, at + HOUR))
        self._bars[source.name] = newer
        return pl.concat([known[1], newer])


def followed(past: Panel, new: Panel) -> Panel:
    """One panel after the other, hours between them not listed; of hours that both have, `new` counts."""
    hour = np.timedelta64(1, "h")
    past = _before(past, new.ts[0])
    between = np.arange(past.ts[-1] + hour, new.ts[0], hour).astype(new.ts.dtype)
    gap = (len(between), len(new.symbols))
    return replace(
        new,
        ts=np.concatenate([past.ts, between, new.ts]),
        x_TNF=np.concatenate([past.x_TNF, np.full((*gap, len(new.columns)), np.nan, np.float32), new.x_TNF]),
        r_TN=np.concatenate([past.r_TN, np.full(gap, np.nan), new.r_TN]),
        listed_TN=np.concatenate([past.listed_TN, np.zeros(gap, dtype=bool), new.listed_TN]),
        labels={k: np.concatenate([past.labels[k], np.full(gap, np.nan), v]) for k, v in new.labels.items()},
    )


def _before(panel: Panel, ts: np.datetime64) -> Panel:
    end = int(np.searchsorted(panel.ts, ts))
    return replace(
        panel,
        ts=panel.ts[:end],
        x_TNF=panel.x_TNF[:end],
        r_TN=panel.r_TN[:end],
        listed_TN=panel.listed_TN[:end],
        labels={k: v[:end] for k, v in panel.labels.items()},
    )


def _waves(steps: Sequence[Derivation]) -> list[list[Derivation]]:
    """The steps in groups, each made of tables of the groups before it alone."""
    waves: list[list[Derivation]] = []
    left = list(steps)
    while left:
        waiting = {step.name for step in left}
        wave = [step for step in left if not waiting & set(step.inputs.values())]
        waves.append(wave)
        left = [step for step in left if step not in wave]
    return waves
