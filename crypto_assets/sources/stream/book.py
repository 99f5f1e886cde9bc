"""Order books of one provider from differences, looked at once a second and averaged by minute.

The recipe is the exchange's: take a snapshot, drop the updates it holds already, apply the others in order. On spot each update
begins with the number after the last one's end (`U = u + 1`), on futures it names the end of the last (`pu = u`). Where that
breaks the book is thrown away and a new snapshot is asked for.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crypto_assets.sources.stream.bars import Emit, finite
from crypto_assets.sources.stream.stats import Stats

SECOND_MS, MINUTE_MS = 1_000, 60_000
GRACE_MS = 2_000
LEVELS = 20
DEEPEST = 1_000
"""Prices a side keeps; the book is cut back to it each minute."""
MOST_WAITING = 2_000
"""Updates that wait for a snapshot; more mean that the snapshot does not come, and the oldest are let go."""


@dataclass
class _Book:
    bids: dict[float, float] = field(default_factory=dict)
    asks: dict[float, float] = field(default_factory=dict)
    last: int | None = None
    """Number of the last update applied; None while a snapshot is awaited."""
    is_fresh: bool = False
    """Whether no update was applied since the snapshot."""
    waiting: list[Mapping[str, Any]] = field(default_factory=list)
    second: int = 0
    """Up to when it was looked at; 0 while it is unknown."""
    minute: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 5)
    samples: int = 0
    bid: float = 0.0
    ask: float = 0.0


class Books:
    """Books of one provider, by symbol."""

    def __init__(self, provider: str, emit: Emit, stats: Stats) -> None:
        self.provider, self._emit, self._stats = provider, emit, stats
        self._books: dict[str, _Book] = {}

    def start(self, symbol: str) -> None:
        """Look after a symbol."""
        self._books[symbol] = _Book()

    def lost(self, symbols: Sequence[str] | None = None) -> None:
        """The connection began anew: the books of `symbols` (all by default) await a snapshot."""
        for symbol in self._books if symbols is None else symbols:
            if symbol in self._books:
                self._forget(self._books[symbol])

    def awaited(self) -> list[str]:
        """Symbols that have updates waiting for a snapshot."""
        return [symbol for symbol, book in self._books.items() if book.last is None and book.waiting]

    def best(self, symbol: str) -> tuple[float, float] | None:
        """Best bid and ask at the last look, or None while the book is unknown."""
        book = self._books.get(symbol)
        return (book.bid, book.ask) if book and book.last is not None and book.bid else None

    def on_depth(self, symbol: str, d: Mapping[str, Any]) -> None:
        """One depthUpdate message. Raises KeyError, TypeError or ValueError for another shape."""
        book = self._books.get(symbol)
        if book is None:
            return
        if book.last is None:
            int(d["U"]), int(d["u"]), int(d["E"])  # what waits must be of the right shape
            book.waiting.append(d)
            del book.waiting[:-MOST_WAITING]
            return
        self._apply(symbol, book, d)

    def snapshot(self, symbol: str, answer: Mapping[str, Any]) -> None:
        """A REST snapshot (`lastUpdateId`, `bids`, `asks`): the updates that waited are applied to it."""
        book = self._books[symbol]
        number = int(answer["lastUpdateId"])
        if book.waiting and int(book.waiting[0]["U"]) > number + 1:
            return  # older than the first update that waited: another is asked for
        book.bids = {finite(p): finite(q) for p, q in answer["bids"]}
        book.asks = {finite(p): finite(q) for p, q in answer["asks"]}
        book.last, book.is_fresh, waiting, book.waiting = number, True, book.waiting, []
        self._stats.count("repaired", self.provider, "depth")
        for d in waiting:
            if book.last is None:
                book.waiting.append(d)
            elif int(d["u"]) > book.last:
                self._apply(symbol, book, d)

    def close(self, now_ms: int) -> None:
        """Store the minutes that have ended, also of books in which nothing moves."""
        for symbol, book in self._books.items():
            if book.minute and now_ms >= book.minute + MINUTE_MS + GRACE_MS:
                self._look(symbol, book, book.minute + MINUTE_MS)

    def _apply(self, symbol: str, book: _Book, d: Mapping[str, Any]) -> None:
        first, last, known = int(d["U"]), int(d["u"]), book.last or 0
        if last <= known:
            self._stats.count("duplicates", self.provider, "depth")
            return
        follows = int(d["pu"]) == known or (book.is_fresh and first <= known + 1) if "pu" in d else first <= known + 1
        if not follows:
            self._lose(book)
            book.waiting.append(d)
            return
        self._look(symbol, book, int(d["E"]))
        for side, changes in ((book.bids, d["b"]), (book.asks, d["a"])):
            for price, amount in changes:
                if (found := finite(amount)) > 0:
                    side[finite(price)] = found
                else:
                    side.pop(finite(price), None)
        book.last, book.is_fresh = last, False

    def _look(self, symbol: str, book: _Book, ms: int) -> None:
        """Account for the book as it stands from the second it was last looked at to that of `ms`, minute by minute."""
        second = ms - ms % SECOND_MS
        while book.second and book.second < second and book.last is not None:
            until = min(second, book.minute + MINUTE_MS)
            self._sample(book, (until - book.second) // SECOND_MS)
            book.second = until if book.last is not None else 0
            if until == book.minute + MINUTE_MS:
                self._store(symbol, book)
                book.minute = until
        if second - second % MINUTE_MS > book.minute:
            self._store(symbol, book)
            book.minute = second - second % MINUTE_MS
        if book.last is not None:
            book.second = max(second, book.second)

    def _sample(self, book: _Book, seconds: int) -> None:
        if not book.bids or not book.asks:
            return
        bids = [(p, book.bids[p]) for p in heapq.nlargest(LEVELS, book.bids)]
        asks = [(p, book.asks[p]) for p in heapq.nsmallest(LEVELS, book.asks)]
        (bid, bid_1), (ask, ask_1) = bids[0], asks[0]
        if bid >= ask:  # a book is never crossed: an update was lost
            self._lose(book)
            return
        bid_20, ask_20 = sum(q for _, q in bids), sum(q for _, q in asks)
        found = (
            (ask - bid) / (ask + bid) * 2e4,
            (bid_1 - ask_1) / (bid_1 + ask_1),
            (bid_20 - ask_20) / (bid_20 + ask_20),
            sum(p * q for p, q in bids),
            sum(p * q for p, q in asks),
        )
        book.bid, book.ask = bid, ask
        book.sums = [total + seconds * x for total, x in zip(book.sums, found, strict=True)]
        book.samples += seconds

    def _store(self, symbol: str, book: _Book) -> None:
        if book.samples:
            names = ("spread_bps", "imbalance_1", "imbalance_20", "bid_usd_20", "ask_usd_20")
            means = {name: total / book.samples for name, total in zip(names, book.sums, strict=True)}
            row = {"bid": book.bid, "ask": book.ask, **means, "samples": book.samples}
            self._emit("depth_1m", symbol, book.minute, row, time.monotonic())
        book.sums, book.samples = [0.0] * 5, 0
        if len(book.bids) > DEEPEST:
            book.bids = {p: book.bids[p] for p in heapq.nlargest(DEEPEST, book.bids)}
        if len(book.asks) > DEEPEST:
            book.asks = {p: book.asks[p] for p in heapq.nsmallest(DEEPEST, book.asks)}

    def _lose(self, book: _Book) -> None:
        self._stats.count("gaps", self.provider, "depth")
        self._forget(book)

    @staticmethod
    def _forget(book: _Book) -> None:
        book.bids, book.asks, book.last, book.waiting, book.second = {}, {}, None, [], 0
