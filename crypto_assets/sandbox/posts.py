"""Posts about a coin, a few an hour, that express the level of its sentiment in the wordings of the headlines.

A post written between two decision times expresses the level of the later one, like the headlines between them, so it says
what they say and nothing earlier. Channels (`reddit`, `x`) have posts of their own. Days before `EPOCH` have
numbers but no texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from crypto_assets.market.coins import COINS
from crypto_assets.market.time import DAY, HOUR, midnight
from crypto_assets.sandbox import texts
from crypto_assets.sandbox.planting import EPOCH, SYMBOLS
from crypto_assets.sandbox.series import ORIGIN

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

PER_HOUR = {"BTC": 3.0, "ETH": 2.5}
"""Mean number of posts; other coins have 1.5."""
QUIET_S = 90
"""No post appears so shortly before or after a full hour: what is known at a decision time is beyond doubt."""
AUTHORS = 400
SETTLED = timedelta(hours=36)
"""Score and number of comments keep moving for so long."""


@dataclass(frozen=True)
class Post:
    """One post. `score` and `comments` are the settled ones."""

    ts: datetime
    symbol: str
    number: int
    """Unlike that of any other post of the channel, rising with time."""
    title: str
    author: str
    score: int
    comments: int


def between(market: SimulatedMarket, channel: str, symbol: str, start: datetime, end: datetime) -> list[Post]:
    """The posts of `[start, end)` in order of time."""
    if end <= start:
        return []
    days = [start.date() + n * DAY for n in range((end.date() - start.date()).days + 1)]
    return [post for day in days for post in _posts(market, channel, symbol, day) if start <= post.ts < end]


def numbers(market: SimulatedMarket, channel: str, symbol: str, day: date) -> np.ndarray:
    """How many posts each hour of `day` has; zero where the coin is not listed."""
    drawn = _generator(market, f"{channel} numbers", symbol, day).poisson(PER_HOUR.get(symbol, 1.5), 24)
    first, last = market.listing(symbol)
    is_early = first > EPOCH and day < first.date()
    return np.zeros(24, dtype=np.int64) if is_early or (last is not None and day >= last.date()) else drawn


@lru_cache(maxsize=4096)
def _posts(market: SimulatedMarket, channel: str, symbol: str, day: date) -> tuple[Post, ...]:
    if day < EPOCH.date():
        return ()
    counts = numbers(market, channel, symbol, day)
    rng = _generator(market, f"{channel} texts", symbol, day)
    level = _levels(market, day)[symbol]
    found = []
    for hour in np.flatnonzero(counts):
        seconds = np.sort(rng.choice(3600 - 2 * QUIET_S, counts[hour], replace=False)) + QUIET_S
        wordings = texts.TEMPLATES[level.get(int(hour), len(texts.TEMPLATES) // 2)]
        for second in seconds:
            ts = midnight(day) + int(hour) * HOUR + timedelta(seconds=int(second))
            found.append(_post(rng, symbol, ts, wordings))
    return tuple(found)


def _post(rng: np.random.Generator, symbol: str, ts: datetime, wordings: tuple[str, ...]) -> Post:
    called = texts.names(symbol, COINS[symbol].symbol_on(ts.date()) != symbol)
    one, name, ending, author = (int(rng.integers(n)) for n in (len(wordings), len(called), len(texts.ENDINGS), AUTHORS))
    return Post(
        ts,
        symbol,
        int(ts.timestamp()) * 64 + SYMBOLS.index(symbol),
        wordings[one].format(called[name]) + texts.ENDINGS[ending],
        f"holder_{author:03d}",
        int(rng.geometric(0.05)),
        int(rng.geometric(0.1)) - 1,
    )


@lru_cache(maxsize=512)
def _levels(market: SimulatedMarket, day: date) -> dict[str, dict[int, int]]:
    """By coin and hour of the day, which wordings fit: the level known at the end of that hour."""
    frame = market.truth(midnight(day) + HOUR, midnight(day) + DAY + HOUR)
    found: dict[str, dict[int, int]] = {symbol: {} for symbol in SYMBOLS}
    for symbol, ts, level in frame.select("symbol", "ts", "level").iter_rows():
        found[symbol][(ts - midnight(day)) // HOUR - 1] = round(2 * level) + len(texts.TEMPLATES) // 2
    return found


def _generator(market: SimulatedMarket, what: str, symbol: str, day: date) -> np.random.Generator:
    return market.randomness.generator("series", (day - ORIGIN).days, f"posts {what} {symbol}")
