"""Aggregate trades of one provider, added up by minute: each number counted once, missing numbers known and asked for.

Binance numbers the aggregate trades of a symbol without a hole, in order of time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crypto_assets.sources.stream.bars import Emit
from crypto_assets.sources.stream.stats import Stats

MINUTE_MS = 60_000
GRACE_MS = 2_000
"""How long after its end a minute waits for trades that are on their way."""
HELD_MS = 5 * MINUTE_MS
"""How long a stored minute is held, to be stored again if a late trade belongs to it."""


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


@dataclass
class _Series:
    last_id: int | None = None
    last_ms: int = 0
    since: int = 0
    """Minutes before this one (ms) are not whole, because listening began within: they are not stored."""
    minutes: dict[int, _Minute] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)


class Trades:
    """Minutes of one provider, by symbol."""

    def __init__(self, provider: str, emit: Emit, stats: Stats) -> None:
        self.provider, self._emit, self._stats = provider, emit, stats
        self._series: dict[str, _Series] = {}

    def start(self, symbol: str, last_id: int | None = None, last_ms: int = 0) -> None:
        """Look after a symbol from the minute after the one that began at `last_ms`, whose last number was `last_id`.

        Without a number: from the first minute that begins after the first trade heard.
        """
        self._series[symbol] = _Series(last_id, last_ms + MINUTE_MS, last_ms + MINUTE_MS if last_id is not None else 0)

    def on_trade(self, symbol: str, t: Mapping[str, Any]) -> None:
        """One aggTrade message. Raises KeyError, TypeError or ValueError for another shape."""
        series = self._series.get(symbol)
        if series is None:
            return
        number, ms = int(t["a"]), int(t["T"])
        if series.last_id is None:
            series.since = (ms // MINUTE_MS + 1) * MINUTE_MS
        elif number <= series.last_id:
            if not self._was_missing(series, number):
                self._stats.count("duplicates", self.provider, "trades")
                return
        elif number > series.last_id + 1:
            self._stats.count("gaps", self.provider, "trades")
            series.missing.append(Missing(symbol, series.last_id + 1, number - 1, series.last_ms, ms))
        self._add(series, number, ms, t)
        if series.last_id is None or number > series.last_id:
            series.last_id, series.last_ms = number, ms

    def missing(self) -> list[Missing]:
        """Every range of numbers that has not come."""
        return [missing for series in self._series.values() for missing in series.missing]

    def repaired(self, missing: Missing, rows: Iterable[Mapping[str, Any]], is_final: bool) -> None:
        """What a repair brought, as REST rows (`a f l p q T m`). With `is_final` nothing more will come: what is still missing
        leaves its minutes incomplete.
        """
        series, found = self._series[missing.symbol], 0
        for row in rows:
            number, ms = int(row["a"]), int(row["T"])
            if self._was_missing(series, number):
                self._add(series, number, ms, row)
                found += 1
        self._stats.count("repaired", self.provider, "trades", found)
        for left in [m for m in series.missing if is_final and missing.first <= m.first and m.last <= missing.last]:
            series.missing.remove(left)
            self._stats.count("absent", self.provider, "trades", left.last - left.first + 1)
            for minute in (m for ts, m in series.minutes.items() if left.after - MINUTE_MS < ts <= left.before):
                minute.is_complete, minute.is_new = False, True

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

    def _add(self, series: _Series, number: int, ms: int, t: Mapping[str, Any]) -> None:
        minute = series.minutes.get(ms - ms % MINUTE_MS)
        if minute is None:
            minute = series.minutes[ms - ms % MINUTE_MS] = _Minute(number, number)
        price, amount = float(t["p"]), float(t["q"])
        value = price * amount
        minute.aggregates += 1
        minute.trades += int(t["l"]) - int(t["f"]) + 1
        minute.volume += amount
        minute.quote_volume_usd += value
        if not t["m"]:
            minute.taker_buy_volume += amount
        if value > minute.largest_usd:
            minute.largest_usd = value
        if number < minute.first_id:
            minute.first_id = number
        elif number > minute.last_id:
            minute.last_id = number
        minute.is_new = True

    @staticmethod
    def _was_missing(series: _Series, number: int) -> bool:
        """Whether `number` is one of the missing; it no longer is then."""
        for n, m in enumerate(series.missing):
            if m.first <= number <= m.last:
                parts = ((m.first, number - 1), (number + 1, m.last))
                series.missing[n : n + 1] = [Missing(m.symbol, a, b, m.after, m.before) for a, b in parts if a <= b]
                return True
        return False

    @staticmethod
    def _is_blocked(series: _Series, ts: int) -> bool:
        """Whether a missing trade may belong to the minute or to one before it.

        Minutes are stored in order, so that after a stop the number that the newest one ended with says all.
        """
        return any(m.after - MINUTE_MS < ts for m in series.missing)
