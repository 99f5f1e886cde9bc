"""The order book around the last trade, at any tenth of a second, and what changed between two of them.

A pure function of (market, symbol, venue, time). Prices lie on a grid of about a basis point; the last trade lies above the
best bid and not above the best ask; each side has `LEVELS` levels. What rests at a level depends on the level and on a period
of its own: every `PERIOD` ticks it is drawn anew. The update id of a book is its time in tenths of a second since 1970, so a
snapshot and the diffs of any cadence number the same books, and after a gap of any length the next diff carries on.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import numpy as np

from crypto_assets.sandbox.microstructure import Market, hours_between, last_price

TICK_MS = 100
LEVELS = 500
PERIOD_BITS = 6
PERIOD = 1 << PERIOD_BITS
"""Ticks for which a level keeps its quantity."""
LOT = 1000
"""Lots in one coin."""
CHUNK = 2048
"""Levels whose periods are worked out at once."""
SHARE = 2e-4
"""Typical worth of a level relative to the turnover of an hour."""
_MIX = tuple(np.uint64(n) for n in (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31))
_GOLDEN, _SILVER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True)
class Ladder:
    """The price grid of a coin at a venue, fixed by its first bars."""

    decimals: int
    level_usd: float
    key: np.uint64

    def price(self, level: int) -> str:
        """A level as text."""
        return f"{level / 10**self.decimals:.{self.decimals}f}"

    def best_bid(self, last: float) -> int:
        """The level just below the last trade."""
        return math.ceil(last * 10**self.decimals - 1e-9) - 1


@dataclass(frozen=True)
class Side:
    """Levels and what rests there, in lots; best first in a book. In a diff 0 means that a level is gone."""

    level: np.ndarray
    lots: np.ndarray

    def head(self, n: int) -> Side:
        """The first `n`."""
        return Side(self.level[:n], self.lots[:n])


@dataclass(frozen=True)
class Book:
    """A book, or with `first_id` below `update_id` the changes of the ticks `first_id` to `update_id`."""

    ladder: Ladder
    first_id: int
    update_id: int
    bids: Side
    asks: Side

    def best(self, side: Side) -> tuple[str, str]:
        """Price and quantity of the first level of a side."""
        return self.ladder.price(int(side.level[0])), f"{int(side.lots[0]) / LOT:.8f}"

    def text(self, side: Side) -> str:
        """One side as the exchange writes it: rows of price and quantity in text."""
        price = self.ladder.price
        rows = zip(side.level.tolist(), side.lots.tolist(), strict=True)
        return "[" + ",".join([f'["{price(k)}","{lots / LOT:.8f}"]' for k, lots in rows]) + "]"


def book(market: Market, symbol: str, venue: str, at_ms: int) -> Book | None:
    """The book at the last tick up to `at_ms`; None where nothing has traded for long."""
    tick = at_ms // TICK_MS
    last = last_price(market, symbol, venue, tick * TICK_MS)
    if last is None:
        return None
    grid = ladder(market, symbol, venue)
    best = grid.best_bid(last)
    bids, asks = np.arange(best, max(best - LEVELS, 0), -1), np.arange(best + 1, best + 1 + LEVELS)
    lots = _lots(grid, np.concatenate([bids, asks]), tick)
    return Book(grid, tick, tick, Side(bids, lots[: len(bids)]), Side(asks, lots[len(bids) :]))


def changes(market: Market, symbol: str, venue: str, after: int, until: int) -> Book | None:
    """What changed in the ticks after `after` up to `until`: laid over any book of that time it gives the book at `until`.

    That holds for books between the two as well, because a level that left and came back is told again.
    """
    span = _best_bids(market, symbol, venue, after, until)
    if span is None:
        return None
    grid = ladder(market, symbol, venue)
    least, most, now = span
    bottom, top = max(least - LEVELS + 1, 1), most + LEVELS
    anew = ((_phases(grid, bottom, top + 1) + after) & (PERIOD - 1)) >= PERIOD - (until - after)
    bids, asks = np.arange(most, bottom - 1, -1), np.arange(least + 1, top + 1)
    bids = bids[anew[most - bottom :: -1] | (bids > least) | (bids <= most - LEVELS)]
    asks = asks[anew[least + 1 - bottom :] | (asks <= most) | (asks > least + LEVELS)]
    lots = _lots(grid, np.concatenate([bids, asks]), until)
    lots[: len(bids)] *= (bids <= now) & (bids > now - LEVELS)
    lots[len(bids) :] *= (asks > now) & (asks <= now + LEVELS)
    return Book(grid, after + 1, until, Side(bids, lots[: len(bids)]), Side(asks, lots[len(bids) :]))


def best_changed(market: Market, symbol: str, venue: str, after: int, until: int) -> Book | None:
    """The best level of either side at `until`, if one of the two is not what it was at `after`."""
    old, new = (last_price(market, symbol, venue, tick * TICK_MS) for tick in (after, until))
    if new is None:
        return None
    grid = ladder(market, symbol, venue)
    best = grid.best_bid(new)
    levels = np.array([best, best + 1])
    anew = ((_phase(grid, levels) + after) & (PERIOD - 1)) >= PERIOD - (until - after)
    if old is not None and grid.best_bid(old) == best and not anew.any():
        return None
    lots = _lots(grid, levels, until)
    return Book(grid, after + 1, until, Side(levels[:1], lots[:1]), Side(levels[1:], lots[1:]))


@lru_cache(maxsize=256)
def ladder(market: Market, symbol: str, venue: str) -> Ladder:
    """The grid: five digits at the first price, a level worth a share of the first week's turnover."""
    start = market.listing(symbol)[0]
    first = market.candles(symbol, venue, start, start + timedelta(days=7))
    price = float(first["open"][0]) if first.height else 1.0
    turnover = float(np.mean(first["quote_volume_usd"].to_numpy())) if first.height else 0.0
    salt = zlib.crc32(f"{market.randomness.market}/{symbol}/{venue}".encode()) | (market.randomness.seed & 0xFFFFFFFF) << 32
    return Ladder(max(4 - math.floor(math.log10(price)), 0), max(SHARE * turnover, 100.0), np.uint64(salt))


def _best_bids(market: Market, symbol: str, venue: str, after: int, until: int) -> tuple[int, int, int] | None:
    """Lowest, highest and last best bid from the tick `after` to the tick `until`."""
    start, end = after * TICK_MS, until * TICK_MS
    grid, now = ladder(market, symbol, venue), last_price(market, symbol, venue, end)
    if now is None:
        return None
    old = last_price(market, symbol, venue, start)
    prices = [now, now if old is None else old]
    for hour in hours_between(market, symbol, venue, start + 1, end + 1):
        traded = hour.price[hour.between(start + 1, end + 1)]
        prices += [float(traded.min()), float(traded.max())] if len(traded) else []
    return grid.best_bid(min(prices)), grid.best_bid(max(prices)), grid.best_bid(now)


def _lots(grid: Ladder, level: np.ndarray, tick: int) -> np.ndarray:
    """What rests at each level: worth an exponential number of dollars, at least one lot."""
    period = ((_phase(grid, level) + tick) >> PERIOD_BITS).astype(np.uint64)
    bits = _mix(grid.key ^ (level.astype(np.uint64) * _GOLDEN + period * _SILVER))
    worth = -np.log((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54) * grid.level_usd
    return np.maximum(np.rint(worth / level * (LOT * 10**grid.decimals)), 1).astype(np.int64)


def _phases(grid: Ladder, first: int, last: int) -> np.ndarray:
    """`_phase` of the levels `first` up to but not including `last`."""
    chunks = range(first // CHUNK, (last - 1) // CHUNK + 1)
    return np.concatenate([_phase_chunk(grid, c) for c in chunks])[first - chunks.start * CHUNK : last - chunks.start * CHUNK]


@lru_cache(maxsize=512)
def _phase_chunk(grid: Ladder, chunk: int) -> np.ndarray:
    return _phase(grid, np.arange(chunk * CHUNK, (chunk + 1) * CHUNK))


def _phase(grid: Ladder, level: np.ndarray) -> np.ndarray:
    return (_mix(grid.key + level.astype(np.uint64) * _GOLDEN) & np.uint64(PERIOD - 1)).astype(np.int64)


def _mix(bits: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)."""
    bits = (bits ^ (bits >> _MIX[0])) * _MIX[1]
    bits = (bits ^ (bits >> _MIX[2])) * _MIX[3]
    return bits ^ (bits >> _MIX[4])
