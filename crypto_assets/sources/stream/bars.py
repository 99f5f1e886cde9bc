"""Closed bars of one provider: each stored once, in any order, and a list of those that are due and have not come."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crypto_assets.sources.stream.stats import Stats

STEP_MS = {"1m": 60_000, "1h": 3_600_000}
GRACE_MS = 5_000
"""How long after its end a bar may still come by itself; Binance sends a bar's last update within two seconds."""
TRIES = 3
HELD = 100
"""Bars for which it is remembered that they came by REST."""
"""A bar that the exchange has not given after so many repairs is taken for absent: it had an outage."""

Emit = Callable[[str, str, int, Mapping[str, Any], float], None]
"""Called with table, symbol, ts in milliseconds, values, and when the message came (monotonic seconds)."""


def finite(value: Any) -> float:
    """A finite number, or one in text. Raises TypeError or ValueError for anything else."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"a finite number, found {value!r}")
    return found


@dataclass
class _Series:
    """`done`: every bar up to here (open, ms) is stored or absent. `ahead`: stored ones after a hole."""

    done: int
    ahead: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)
    """Given up; if one comes after all it is stored."""
    by_rest: set[int] = field(default_factory=set)
    """Of a repair. The stream says of a bar that it is final, REST does not: where both come, the stream's counts."""
    tries: int = 0


@dataclass(frozen=True)
class Hole:
    """Bars that are due: opens from `first` to `last`, milliseconds."""

    symbol: str
    interval: str
    first: int
    last: int


class Bars:
    """Bars of one provider, by symbol and interval. A series begins with `start`; what is not started is not looked after."""

    def __init__(self, provider: str, emit: Emit, stats: Stats) -> None:
        self.provider, self._emit, self._stats = provider, emit, stats
        self._series: dict[tuple[str, str], _Series] = {}

    def start(self, symbol: str, interval: str, done: int, stored: Iterable[int] = ()) -> None:
        """Look after a series from the bar after the open `done` (ms); of the later ones, `stored` are there already."""
        series = self._series[symbol, interval] = _Series(done, {ts for ts in stored if ts > done})
        self._advance(series, STEP_MS[interval])

    def on_kline(self, symbol: str, k: Mapping[str, Any], received: float) -> None:
        """One kline message; only a final one counts. Raises KeyError, TypeError or ValueError for another shape."""
        if k["x"] is True:
            values = {
                "open": finite(k["o"]),
                "high": finite(k["h"]),
                "low": finite(k["l"]),
                "close": finite(k["c"]),
                "volume": finite(k["v"]),
                "quote_volume_usd": finite(k["q"]),
                "trades": int(k["n"]),
                "taker_buy_volume": finite(k["V"]),
            }
            ts, series = int(k["t"]), self._series.get((symbol, k["i"]))
            if series is not None and ts in series.by_rest:
                series.by_rest.discard(ts)
                self._emit(f"candles_{k['i']}", symbol, ts, values, received)
            else:
                self._take(symbol, k["i"], ts, values, received)

    def repaired(self, hole: Hole, rows: Iterable[tuple[int, Mapping[str, Any]]], received: float) -> None:
        """What a repair of `hole` brought, as (open in ms, values); what is still missing is asked for a few times more."""
        series = self._series[hole.symbol, hole.interval]
        before = self._missing(series, hole)
        for ts, values in rows:
            if ts in before:
                series.by_rest = {t for t in series.by_rest if t > ts - HELD * STEP_MS[hole.interval]} | {ts}
                self._take(hole.symbol, hole.interval, ts, values, received)
        missing = self._missing(series, hole)
        self._stats.count("repaired", self.provider, "klines", len(before) - len(missing))
        series.tries = series.tries + 1 if missing else 0
        if series.tries >= TRIES:
            self._stats.count("absent", self.provider, "klines", len(missing))
            series.ahead |= missing
            series.absent |= missing
            self._advance(series, STEP_MS[hole.interval])
            series.tries = 0

    def holes(self, now_ms: int) -> list[Hole]:
        """Every series with bars that ended `GRACE_MS` ago or longer and have not come."""
        found = []
        for (symbol, interval), series in self._series.items():
            step = STEP_MS[interval]
            last = (now_ms - GRACE_MS) // step * step - step
            if last > series.done:
                hole = Hole(symbol, interval, series.done + step, last)
                if missing := self._missing(series, hole):
                    found.append(Hole(symbol, interval, min(missing), max(missing)))
        return found

    def complete_until(self, interval: str) -> int | None:
        """End (ms) of the newest bar up to which every series of this interval is whole; None without a series."""
        done = [series.done for (_, found), series in self._series.items() if found == interval]
        return min(done) + STEP_MS[interval] if done else None

    def _take(self, symbol: str, interval: str, ts: int, values: Mapping[str, Any], received: float) -> None:
        series, step = self._series.get((symbol, interval)), STEP_MS[interval]
        if series is None:
            return
        if ts in series.absent:
            series.absent.discard(ts)
        elif ts <= series.done or ts in series.ahead:
            self._stats.count("duplicates", self.provider, "klines")
            return
        if ts % step:
            raise ValueError(f"a bar of {interval} opens at {ts}")
        if ts > max(series.ahead, default=series.done) + step:
            self._stats.count("gaps", self.provider, "klines")
        if ts > series.done:
            series.ahead.add(ts)
        self._advance(series, step)
        key = (self.provider, interval)
        self._stats.last_bar[key] = max(ts + step, self._stats.last_bar.get(key, 0))
        self._emit(f"candles_{interval}", symbol, ts, values, received)

    @staticmethod
    def _missing(series: _Series, hole: Hole) -> set[int]:
        step = STEP_MS[hole.interval]
        return {t for t in range(hole.first, hole.last + step, step) if t > series.done and t not in series.ahead}

    @staticmethod
    def _advance(series: _Series, step: int) -> None:
        while series.done + step in series.ahead:
            series.done += step
            series.ahead.discard(series.done)
