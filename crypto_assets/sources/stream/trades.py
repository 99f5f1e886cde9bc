"""Aggregate trades of one provider, added up by minute: each number counted once, missing numbers known and asked for.

Binance numbers the aggregate trades of a symbol without a hole, in order of time. A connection that was lost may have taken the
last trades of a minute with it, which nothing shows before the next one: after each loss every symbol is unsure, and none of
its minutes is stored, until the exchange was asked for its newest number.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crypto_assets.sources.stream.bars import Emit, finite
from crypto_assets.sources.stream.stats import Stats

MINUTE_MS = 60_000
GRACE_MS = 2_000
"""How long after its end a minute waits for trades that are on their way."""
TRIES = 3
LONGEST = 100_000
"""Trades: a hundred calls by REST."""
HELD_MS = 5 * MINUTE_MS
"""How long a stored minute is held, to be stored again if a late trade belongs to it."""


class _Trade(NamedTuple):
    id: int
    ms: int
    price: float
    amount: float
    trades: int
    is_buy: bool


def _read(t: Mapping[str, Any]) -> _Trade:
    """A trade by WebSocket or REST; nothing is counted before all of it could be read."""
    if not isinstance(t["m"], bool):
        raise ValueError(f"m must be true or false, found {t['m']!r}")
    count = int(t["l"]) - int(t["f"]) + 1
    return _Trade(int(t["a"]), int(t["T"]), finite(t["p"]), finite(t["q"]), count, not t["m"])


@dataclass(slots=True)
class _Minute:
    first_id: int
    last_id: int
    aggregates: int = 0
    trades: int = 0
    volume: float = 0.0
    quote_volume_usd: float = 0.0
    taker_buy_volume: float = 0.0
    largest_usd: float = 0.0
    is_complete: bool = True
    is_new: bool = True

    def values(self) -> dict[str, Any]:
        names = ("first_id", "last_id", "aggregates", "trades", "volume", "quote_volume_usd", "taker_buy_volume")
        return {name: getattr(self, name) for name in (*names, "largest_usd", "is_complete")}


@dataclass
class Missing:
    """Numbers `first` to `last` of a symbol that have not come; their trades lie between `after` and `before` (ms)."""

    symbol: str
    first: int
    last: int
    after: int
    before: int
    tries: int = 0


@dataclass
class _Series:
    last_id: int | None = None
    last_ms: int = 0
    since: int = 0
    """Minutes before this one (ms) are not whole, because listening began within: they are not stored."""
    minutes: dict[int, _Minute] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    is_sure: bool = False


class Trades:
    """Minutes of one provider, by symbol."""

    def __init__(self, provider: str, emit: Emit, stats: Stats) -> None:
        self.provider, self._emit, self._stats = provider, emit, stats
        self._series: dict[str, _Series] = {}
        self._is_heard = False
        self.epoch = 0
        """Grows with each connection and each loss."""

    def start(self, symbol: str, last_id: int | None = None, last_ms: int = 0) -> None:
        """Look after a symbol from the minute after the one that began at `last_ms`, whose last number was `last_id`.

        Without a number: from the first whole minute heard.
        """
        self._series[symbol] = _Series(last_id, last_ms + MINUTE_MS, last_ms + MINUTE_MS if last_id is not None else 0)

    def on_trade(self, symbol: str, t: Mapping[str, Any]) -> None:
        """One aggTrade message. Raises KeyError, TypeError or ValueError for another shape."""
        series = self._series.get(symbol)
        if series is None:
            return
        if not self._is_heard:
            self.heard()
        trade, last = _read(t), series.last_id
        if last is None:
            series.since = (trade.ms // MINUTE_MS + 1) * MINUTE_MS
        elif trade.id <= last:
            if not self._was_missing(series, trade.id):
                self._stats.count("duplicates", self.provider, "trades")
                return
        elif trade.id > last + 1:
            self._stats.count("gaps", self.provider, "trades")
            series.missing.append(Missing(symbol, last + 1, trade.id - 1, series.last_ms, trade.ms))
        self._add(series, trade)
        if last is None or trade.id > last:
            series.last_id, series.last_ms = trade.id, trade.ms

    def heard(self, is_heard: bool = True) -> None:
        """The subscription began anew, or was lost."""
        self._is_heard, self.epoch = is_heard, self.epoch + 1
        for series in self._series.values():
            series.is_sure = False

    def unsure(self) -> list[str]:
        """Symbols whose newest number should be asked for, now that they are heard."""
        return [symbol for symbol, series in self._series.items() if not series.is_sure] if self._is_heard else []

    def confirm(self, symbol: str, number: int | None, now_ms: int, epoch: int) -> None:
        """The exchange was asked, when `epoch` was this, and said that its newest number is `number` (None: no trade ever)."""
        series = self._series[symbol]
        if epoch != self.epoch:
            return
        series.is_sure = True
        if series.last_id is None:
            series.since = (now_ms // MINUTE_MS + 1) * MINUTE_MS
        elif number is not None and number > series.last_id:
            series.missing.append(Missing(symbol, series.last_id + 1, number, series.last_ms, max(now_ms, series.last_ms)))
        if number is not None and number > (series.last_id or -1):
            series.last_id, series.last_ms = number, max(now_ms, series.last_ms)

    def missing(self) -> list[Missing]:
        """Every range of numbers that has not come."""
        return [missing for series in self._series.values() for missing in series.missing]

    def repaired(self, missing: Missing, rows: Iterable[Mapping[str, Any]]) -> None:
        """What a repair brought, as REST rows (`a f l p q T m`).

        What a few repairs in a row did not bring, and any range longer than `LONGEST`, is given up: its minutes are incomplete.
        Raises KeyError, TypeError or ValueError for rows of another shape, before any of them counts.
        """
        series, found = self._series[missing.symbol], 0
        for trade in [_read(row) for row in rows]:
            if self._was_missing(series, trade.id):
                self._add(series, trade)
                found += 1
        self._stats.count("repaired", self.provider, "trades", found)
        for left in [m for m in series.missing if missing.first <= m.first and m.last <= missing.last]:
            left.tries = 0 if found else missing.tries + 1
            if left.tries >= TRIES or left.last - left.first >= LONGEST:
                self._give_up(series, left)

    def close(self, now_ms: int) -> None:
        """Store the minutes that have ended and miss nothing; forget those stored long ago."""
        for symbol, series in self._series.items():
            for ts in sorted(series.minutes):
                minute = series.minutes[ts]
                if minute.is_new and ts + MINUTE_MS + GRACE_MS <= now_ms and not self._is_blocked(series, ts):
                    minute.is_new = False
                    if ts >= series.since:
                        self._emit("trades_1m", symbol, ts, minute.values(), time.monotonic())
                if not minute.is_new and ts + HELD_MS < now_ms:
                    del series.minutes[ts]

    def _give_up(self, series: _Series, missing: Missing) -> None:
        series.missing.remove(missing)
        self._stats.count("absent", self.provider, "trades", missing.last - missing.first + 1)
        for minute in (m for ts, m in series.minutes.items() if missing.after - MINUTE_MS < ts <= missing.before):
            minute.is_complete, minute.is_new = False, True

    @staticmethod
    def _add(series: _Series, trade: _Trade) -> None:
        opened = trade.ms - trade.ms % MINUTE_MS
        minute = series.minutes.get(opened)
        if minute is None:
            minute = series.minutes[opened] = _Minute(trade.id, trade.id)
        value = trade.price * trade.amount
        minute.aggregates += 1
        minute.trades += trade.trades
        minute.volume += trade.amount
        minute.quote_volume_usd += value
        if trade.is_buy:
            minute.taker_buy_volume += trade.amount
        minute.largest_usd = max(value, minute.largest_usd)
        minute.first_id = min(trade.id, minute.first_id)
        minute.last_id = max(trade.id, minute.last_id)
        minute.is_new = True

    @staticmethod
    def _was_missing(series: _Series, found: int) -> bool:
        """Whether `found` is one of the missing; it no longer is then."""
        for n, m in enumerate(series.missing):
            if m.first <= found <= m.last:
                parts = ((m.first, found - 1), (found + 1, m.last))
                series.missing[n : n + 1] = [Missing(m.symbol, a, b, m.after, m.before, m.tries) for a, b in parts if a <= b]
                return True
        return False

    @staticmethod
    def _is_blocked(series: _Series, ts: int) -> bool:
        """Whether a missing trade may belong to the minute or to one before it.

        Minutes are stored in order, so that after a stop the number that the newest one ended with says all.
        """
        return not series.is_sure or any(m.after - MINUTE_MS < ts for m in series.missing)
