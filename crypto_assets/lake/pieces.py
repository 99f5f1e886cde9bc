"""A derived table in pieces, each small enough for memory: what `derive` gives, some days at a time.

Pieces of days alone where that repeats little: a piece reads the lookback in front of it again. Where the lookback is longer
than the days that fit, a table whose coins do not look at each other is made some coins at a time over all days, into a file
for each; the files are then read back some days at a time. So a market of any number of coins goes through the same memory.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from crypto_assets.lake.derivation import Derivation, derive, in_order
from crypto_assets.lake.store import Reader
from crypto_assets.market.time import DAY, Window

CELLS = 40_000_000
"""Values of a piece, its lookback included: 320 MB, of which a derivation makes a few copies."""
ROW_GROUP = 24 * 250
"""Rows a group in a spilt file, which lies in the order of time: reading some days leaves the other groups alone."""


def in_pieces(
    derivation: Derivation, reader: Reader, window: Window, *, spill: Path | None = None, cells: int = CELLS
) -> Iterator[tuple[Window, pl.DataFrame]]:
    """Consecutive windows of whole days that make up `window`, each with its rows as `derive` gives them.

    `spill`: a folder for what does not fit, removed afterwards; the system's own without it.
    """
    rate, back = _load(derivation, reader, window)
    days = int(cells / (rate * len(derivation.table.dtypes))) if rate else window.hours
    if window.end - window.start <= (days - back) * DAY or window.hours <= 24 or not rate:
        yield window, derive(derivation, reader, window)
    elif days >= 2 * back or not derivation.by_coin:
        for piece in window.chunks(max(1, int(days - back), math.ceil(back / 3))):
            yield piece, derive(derivation, reader, piece)
    else:
        yield from _coins_apart(derivation, reader, window, spill, cells, max(1, days))


def _load(derivation: Derivation, reader: Reader, window: Window) -> tuple[float, float]:
    """Rows a day of the largest input (the first of them), and the days that it is read before `window`."""
    counts = {arg: reader.scan(table, window.start, window.end).select(pl.len()) for arg, table in derivation.inputs.items()}
    if not counts:
        return 0.0, 0.0
    rows = dict(zip(counts, (f.item() for f in pl.collect_all(list(counts.values()))), strict=True))
    most = max(rows.values())
    back = derivation.back(next(arg for arg, n in rows.items() if n == most))
    return most / ((window.end - window.start) / DAY), back / DAY


def _coins_apart(
    derivation: Derivation, reader: Reader, window: Window, spill: Path | None, cells: int, days: int
) -> Iterator[tuple[Window, pl.DataFrame]]:
    sizes = _sizes(derivation, reader, window)
    if spill is not None:
        spill.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pieces-", dir=spill) as name:
        files = []
        for n, some in enumerate(_groups(sizes, cells // len(derivation.table.dtypes))):
            rows = derive(derivation, reader, window, symbols=some).sort("ts", "symbol")
            files.append(Path(name) / f"{n:05}.parquet")
            rows.write_parquet(files[-1], compression="lz4", row_group_size=ROW_GROUP)
            del rows
        for piece in window.chunks(days):
            inside = pl.col("ts").is_between(piece.start, piece.end, closed="left")
            rows = pl.scan_parquet(files).filter(inside).collect() if files else derive(derivation, reader, piece)
            yield piece, in_order(rows, [*derivation.table.key, "available_at"])


def _sizes(derivation: Derivation, reader: Reader, window: Window) -> dict[str, int]:
    """Each coin's most rows in one of the inputs that are read by coin, lookback included."""
    sizes: dict[str, int] = {}
    for arg in derivation.by_coin:
        end = window.end + derivation.lookahead
        rows = reader.scan(derivation.inputs[arg], window.start - derivation.back(arg), end)
        for symbol, n in rows.group_by("symbol").len().collect().iter_rows():
            sizes[symbol] = max(sizes.get(symbol, 0), n)
    return dict(sorted(sizes.items()))


def _groups(sizes: dict[str, int], rows: int) -> Iterator[list[str]]:
    """The coins in groups of at most `rows` rows, or of one coin."""
    total = itertools.accumulate(sizes.values())
    group: list[str] = []
    before = 0
    for symbol, upto in zip(sizes, total, strict=True):
        if group and upto - before > rows:
            yield group
            group, before = [], upto - sizes[symbol]
        group.append(symbol)
    if group:
        yield group
