"""Headlines that express the sentiment level of a coin in plain English.

Every wording of a level has nearly the same VADER compound score (Hutto and Gilbert 2014), 0.2 for each level away from
neutral, using only everyday words of its stock lexicon. One file an hour, stamped xx:30, holds one or two headlines for each
coin and now and then one about the market at large; what is stamped half an hour before decision time t is the level of t.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market import coins as market_coins
from crypto_assets.sandbox.planting import COINS, EPOCH, LEVELS
from crypto_assets.sandbox.randomness import Randomness

STAMP_BEFORE = timedelta(minutes=30)
"""A file's stamp precedes the decision time that first knows it by this much."""
MARKET_HEADLINES = 0.3
"""Chance, each hour, of one headline that names no coin."""
SECOND_HEADLINE = 0.5
"""Chance of a second headline for a coin in an hour."""

TEMPLATES: tuple[tuple[str, ...], ...] = (
    (
        "{} has its worst week after terrible results",
        "Failure of the {} network leaves users in misery",
        "{} schedule called a disaster and an awful sign",
        "Awful month for {} ends in disaster",
        "{} has a terrible start and its worst finish",
        "Survey calls the {} roadmap a disaster and its team tired",
    ),
    (
        "{} has its worst day since spring",
        "{} schedule called a disaster by users",
        "Survey of {} holders turns negative",
        "Misery for {} holders over the weekend",
        "{} sentiment reads negative in the monthly poll",
    ),
    (
        "{} holders voice worries over the roadmap",
        "Users report problems on the {} network",
        "{} developers run into trouble with the release",
        "{} holders unhappy with the new schedule",
        "Commentary finds {} price action dull",
    ),
    (
        "Analyst calls the {} schedule risky",
        "{} chart looks strange to traders",
        "Desk sees a risky setup in {}",
        "Strange patterns in {} order books",
    ),
    (
        "{} trades in a narrow range",
        "{} volumes in line with last week",
        "What to watch for {} this week",
        "{} price in line with the desk estimate",
        "{} developers publish the monthly report",
    ),
    (
        "{} chart looks fine to traders",
        "{} user numbers in fine shape",
        "Report finds {} fundamentals solid",
        "{} volumes growing at a measured pace",
    ),
    (
        "Large funds interested in {} this quarter",
        "Wallet teams find {} tools helpful",
        "Analyst calls {} roadmap promising",
        "{} network activity looks healthy",
        "Desk calls the {} schedule smart",
    ),
    (
        "{} has a wonderful week on the exchanges",
        "Developers call the {} release outstanding",
        "{} holders happy with the new schedule",
        "Survey finds the {} community brilliant",
        "{} posts great numbers for the month",
    ),
    (
        "Excellent numbers and impressive activity for {}",
        "{} community praised after wonderful numbers",
        "{} holders happy after an impressive release",
        "Excellent month: {} volumes impressive",
        "Outstanding week for {} as users praise the release",
    ),
)
"""Wordings of each level, most negative first; {} takes the coin's name."""

SCHEMA = pl.Schema({"ts": UTC_US, "id": pl.String(), "title": pl.String(), "url": pl.String(), "domain": pl.String()})

MARKET = (
    "Crypto traders look to the central bank minutes",
    "Crypto volumes in line with last month",
    "What desks are watching this week",
    "Exchanges publish monthly volume reports",
)
ENDINGS = ("", ", report says", ", desk note says", " as the week begins", " ahead of the data", ", poll shows")
OUTLETS = tuple(f"{name}.example.com" for name in ("chain-courier", "block-gazette", "token-herald", "market-post"))


def names(symbol: str, former: bool = False) -> tuple[str, ...]:
    """The ways a title names a coin: full name, name with ticker, cashtag, ticker; with its former ticker if asked."""
    coin = market_coins.COINS[symbol]
    ticker = coin.former[0][0] if former and coin.former else symbol
    return (coin.name, f"{coin.name} ({ticker})", f"${ticker}", ticker)


@cache
def _pool() -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """All titles of coins, then those of `MARKET`; where each `[former, coin, level]` starts; how many a level has."""
    flat: list[str] = []
    starts = np.empty((2, len(COINS), len(LEVELS)), dtype=np.int64)
    for former in (0, 1):
        for i, coin in enumerate(COINS):
            called = names(coin.symbol, bool(former))
            for level, wordings in enumerate(TEMPLATES):
                starts[former, i, level] = len(flat)
                flat += [w.format(name) + ending for w in wordings for name in called for ending in ENDINGS]
    sizes = np.array([len(w) * len(called) * len(ENDINGS) for w in TEMPLATES])
    return pl.Series("title", [*flat, *MARKET]), starts, sizes


def headlines(randomness: Randomness, days: range, level: np.ndarray, listed: np.ndarray, former: np.ndarray) -> pl.DataFrame:
    """The headlines known at the decision times of `days` (since `EPOCH`), in the order of their files.

    `level`, `listed` and `former` (the old ticker still holds) are `[hour, coin]` from the first hour of `days` on. Columns ts
    (file stamp, half an hour before the decision time), id, title, url, domain.
    """
    parts = [_day(randomness, day, *(x[n * 24 : n * 24 + 24] for x in (level, listed, former))) for n, day in enumerate(days)]
    if not parts:
        return pl.DataFrame(schema=SCHEMA)
    hour, sequence, title, outlet = (np.concatenate(column) for column in zip(*parts, strict=True))
    micros = int((EPOCH - STAMP_BEFORE).timestamp()) * 1_000_000 + hour * 3_600_000_000
    texts = _pool()[0].gather(title)
    domain = pl.Series("domain", OUTLETS).gather(outlet)
    frame = pl.DataFrame({"ts": pl.Series(micros).cast(UTC_US), "n": sequence, "title": texts, "domain": domain})
    named = frame.with_columns(id=pl.format("{}-{}", pl.col("ts").dt.strftime("%Y%m%d%H%M%S"), "n"))
    return named.select("ts", "id", "title", pl.format("https://{}/news/{}", "domain", "id").alias("url"), "domain")


def _day(
    randomness: Randomness, day: int, level: np.ndarray, listed: np.ndarray, former: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Hour since `EPOCH`, place in the file, title and outlet of each headline of one day."""
    rng = randomness.generator("headlines", day)
    coins = level.shape[1]
    second = rng.random((24, coins)) < SECOND_HEADLINE
    pick = rng.random((24, coins, 2))
    general = rng.random(24) < MARKET_HEADLINES
    general_pick = rng.integers(len(MARKET), size=24)
    outlet = rng.integers(len(OUTLETS), size=(24, 2 * coins + 1))

    titles, starts, sizes = _pool()
    size = sizes[level]
    one = (pick[..., 0] * size).astype(np.int64)
    other = (one + 1 + (pick[..., 1] * (size - 1)).astype(np.int64)) % size
    start = starts[former.astype(int), np.arange(coins), level]
    title = np.stack([start + one, start + other], axis=-1).reshape(24, -1)
    title = np.concatenate([title, len(titles) - len(MARKET) + general_pick[:, None]], axis=1)
    keep = np.stack([listed, listed & second], axis=-1).reshape(24, -1)
    keep = np.concatenate([keep, general[:, None]], axis=1)
    hour, _ = np.nonzero(keep)
    sequence = (np.cumsum(keep, axis=1) - 1)[keep]
    return 24 * day + hour, sequence, title[keep], outlet[keep]
