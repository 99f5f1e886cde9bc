"""The rows an audit works on: some weeks of a reader's tables, with the rare rows of real data.

The rows are seasoned (`seasoning.py`): a leak that shows only where a bar is missing, a value null or a move extreme cannot be
found in rows that have none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl

from crypto_assets.audit.alternatives import in_key_order, is_closed, key_of
from crypto_assets.audit.seasoning import seasoned
from crypto_assets.curation import discover as curated
from crypto_assets.lake import TABLES, Frames, Reader, derive
from crypto_assets.lake.store import nothing
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sources import discover

CANDLES = "curated/candles"
DAYS = 45
"""Length of a sample: a month's turn lies in it wherever it begins, and windows of four weeks fill."""
HISTORY, LONG_HISTORY = 110 * DAY, 420 * DAY
"""How much further back slow tables are read: their scores look back 90 days; a few columns a year, where the rows are few."""
HISTORY_ROWS = 8_000
COINS = 12
SLOW_ROWS_A_DAY = 200
"""A table with more rows a day than this begins with the sample."""
MOST_ROWS = 60_000
"""Of a table with more rows the last days alone are taken."""
PROBE = 2 * DAY


class Sample:
    """Frames by table name, made when first asked for; `rough` ones have seasoning, `plain` ones are as they were read."""

    def __init__(self, reader: Reader, window: Window, symbols: Sequence[str], origin: str) -> None:
        curated(), discover()  # tables are known once their modules are imported
        self.reader = reader
        self.window = window
        self.symbols = tuple(symbols)
        self.origin = origin
        """Where the rows come from, in words."""
        self._plain: dict[str, pl.DataFrame] = {}
        self._rough: dict[str, pl.DataFrame] = {}

    def plain(self, table: str) -> pl.DataFrame:
        """The table's rows, in the order of its key. Raises LakeError for a table nobody knows."""
        if table not in self._plain:
            self._plain[table] = in_key_order(table, self._read(table))
        return self._plain[table]

    def rough(self, table: str) -> pl.DataFrame:
        """The same rows, seasoned."""
        if table not in self._rough:
            self._rough[table] = seasoned(table, self.plain(table), self.window, self.symbols)
        return self._rough[table]

    def frames(self, tables: Iterable[str], *, rough: bool = True) -> dict[str, pl.DataFrame]:
        """Frames of these tables."""
        return {name: self.rough(name) if rough else self.plain(name) for name in tables}

    @property
    def read(self) -> tuple[str, ...]:
        """The tables that have been read so far."""
        return tuple(self._plain)

    def provide(self, table: str, rows: pl.DataFrame) -> None:
        """Use these rows for a table, as they are: what was derived from the others."""
        self._plain[table] = self._rough[table] = in_key_order(table, rows)

    def fewer(self, coins: int) -> Sample:
        """The sample of the first coins and of the last two, which are listed late and delisted early."""
        chosen = [*self.symbols[: coins - 2], *self.symbols[-2:]]
        smaller = Sample(self.reader, self.window, chosen, self.origin)
        for kept, found in ((smaller._plain, self._plain), (smaller._rough, self._rough)):
            kept |= {
                n: f.filter(pl.col("symbol").is_in([*chosen, "ALL"])) if "symbol" in f.columns else f for n, f in found.items()
            }
        return smaller

    def _read(self, table: str) -> pl.DataFrame:
        rows = self.reader.scan(table, self._start(table), self.window.end).collect()
        short = table.removeprefix("curated/")
        if rows.is_empty() and table.startswith("curated/") and short in curated():
            derivation = curated()[short]
            inputs = Frames({name: self.plain(name) for name in derivation.inputs.values()})
            rows = derive(derivation, inputs, Window(self._start(table), self.window.end))
        return _of_coins(rows, self.symbols)

    def _start(self, table: str) -> datetime:
        """Where reading begins: before the sample for slow tables, with it for others, later for those with very many rows."""
        end = self.window.end
        probed = self.reader.scan(table, end - PROBE, end).select(pl.len()).collect().item() if table in TABLES else 0
        a_day = max(probed / (PROBE / DAY), 1)
        if a_day <= SLOW_ROWS_A_DAY and not is_closed(table):
            return self.window.start - min(LONG_HISTORY, max(HISTORY, HISTORY_ROWS / a_day * DAY))
        return max(self.window.start, end - max(MOST_ROWS / a_day, 2) * DAY)


def of_reader(reader: Reader, origin: str, *, last: datetime | None = None, symbols: Sequence[str] | None = None) -> Sample:
    """The last weeks of a reader's candles (before `last`, where it is given), of the coins with most bars.

    Raises LakeError where there are no candles.
    """
    curated(), discover()
    rows = _candles(reader, last)
    counts = rows.group_by("symbol").len().sort("len", "symbol", descending=[True, False])
    chosen = list(symbols) if symbols is not None else counts["symbol"].to_list()
    if symbols is None and "BTC" in chosen:
        chosen = ["BTC", *[s for s in chosen if s != "BTC"]]
    first, end = rows["ts"].min(), rows["ts"].max()
    assert isinstance(first, datetime)
    assert isinstance(end, datetime)
    start = max(first, end + HOUR - DAYS * DAY)
    return Sample(reader, Window(start.replace(minute=0, second=0, microsecond=0), end + 2 * HOUR), chosen[:COINS], origin)


def _candles(reader: Reader, last: datetime | None) -> pl.DataFrame:
    """Symbol and ts of the last candles of the first table that has any."""
    for table in (CANDLES, "raw/binance_perp_candles", "raw/binance_candles"):
        scan = reader.scan(table) if last is None else reader.scan(table, None, last)
        newest = scan.select(pl.col("ts").max()).collect().item()
        if newest is not None:
            return scan.filter(pl.col("ts") > newest - DAYS * DAY).select("symbol", "ts").collect()
    raise LakeError("there are no candles to audit on: build the lake, import some, or leave --lake out for a simulated market")


def closes(sample: Sample, *, rough: bool = True) -> pl.DataFrame:
    """Symbol and ts of every candle's close; empty where the sample has no candles."""
    try:
        rows = sample.rough(CANDLES) if rough else sample.plain(CANDLES)
    except LakeError:
        rows = nothing(CANDLES).collect()
    return rows.select("symbol", ts=pl.col("ts") + HOUR)


def _of_coins(rows: pl.DataFrame, symbols: Sequence[str]) -> pl.DataFrame:
    """The rows of these coins, of the whole market, and of tables that have no coins."""
    return rows.filter(pl.col("symbol").is_in([*symbols, "ALL"])) if "symbol" in rows.columns else rows


def day_order(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """As a lake yields them: day after day, each in the order of its key."""
    return rows.sort(pl.col("ts").dt.date(), *key_of(table, rows), "available_at")


def time_order(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """As a stream yields them: in order of time."""
    return rows.sort("ts", *[c for c in key_of(table, rows) if c != "ts"], "available_at")
