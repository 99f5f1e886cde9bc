"""Headlines that express the sentiment level of a coin in plain English.

Every wording of a level has nearly the same VADER compound score (Hutto and Gilbert 2014), 0.2 for each level away from neutral, using
only everyday words of its stock lexicon. One file an hour, stamped xx:30, holds one or two headlines for each coin and now and then one
about the market at large; what is stamped half an hour before decision time t is the level of t.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

import numpy as np
import polars as pl

from crypto_assets.market import coins as market_coins
from crypto_assets.sandbox.planting import COINS, EPOCH, LEVELS
from crypto_assets.sandbox.randomness import Randomness

STAMP_BEFORE = timedelta(minutes=30)
"""A file's stamp precedes the decision time that first knows it by this much."""
MARKET_HEADLINES = 0.3
"""Chance, each hour, of one headline that names no coin."""

TEMPLATES: tuple[tuple[str, ...], ...] = (
    (
        "{} has its worst week after terrible results",
        "Failure of the {} network leaves users in misery",
        "{} outage is a disaster and an awful sign",
        "Poor planning and bad luck: {} sees losing month",
        "{} users describe a horrible day and a sad outlook",
        "Survey calls the {} roadmap a disaster and its team tired",
    ),
    (
        "{} has its worst day since spring",
        "{} outage called a disaster by users",
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
        "{} price unchanged as desks await data",
        "{} developers publish the monthly report",
    ),
    (
        "{} chart looks fine to traders",
        "Number of {} users is growing",
        "Report finds {} fundamentals solid",
        "{} volumes growing at a measured pace",
    ),
    (
        "Large funds interested in {} this quarter",
        "Wallet makers find {} tools helpful",
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
        "{} has its best month with wonderful numbers",
        "{} holders happy after an impressive release",
        "Superb quarter: {} release called great",
        "Outstanding week for {} as users praise the release",
    ),
)
"""Wordings of each level, most negative first; {} takes the coin's name."""

SCHEMA = {"ts": pl.Datetime("us", "UTC"), "id": pl.String, "title": pl.String, "url": pl.String, "domain": pl.String}

MARKET = (
    "Crypto traders await central bank minutes",
    "Digital asset volumes in line with last month",
    "What desks are watching this week",
    "Exchanges publish monthly volume reports",
)
ENDINGS = ("", ", report says", ", desk note says", " as the week begins", " ahead of the data", ", poll shows")
OUTLETS = ("coinledger", "blockdesk", "chaintimes", "marketwire", "tokenpost", "theblockreport")


def names(symbol: str, day_matic: bool = False) -> tuple[str, ...]:
    """The ways a title names a coin: full name, name with ticker, cashtag, ticker."""
    coin = market_coins.COINS[symbol]
    ticker = coin.former[0][0] if day_matic and coin.former else symbol
    return (coin.name, f"{coin.name} ({ticker})", f"${ticker}", ticker)


@cache
def _pool() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All titles `[former ticker, coin, level, wording * name * ending]` as one flat array, its offsets and the sizes by level."""
    flat: list[str] = []
    starts = np.empty((2, len(COINS), len(LEVELS)), dtype=np.int64)
    for former in (0, 1):
        for i, coin in enumerate(COINS):
            called = names(coin.symbol, bool(former))
            for level, wordings in enumerate(TEMPLATES):
                starts[former, i, level] = len(flat)
                flat += [w.format(name) + ending for w in wordings for name in called for ending in ENDINGS]
    sizes = np.array([len(w) * 4 * len(ENDINGS) for w in TEMPLATES])
    return np.array(flat, dtype=object), starts, sizes


def day_headlines(
    randomness: Randomness, first_hour: int, level: np.ndarray, listed: np.ndarray, former: np.ndarray
) -> pl.DataFrame:
    """The headlines of one day, known at decision times `first_hour` ... `+ 23` (hours since `EPOCH`, a multiple of 24).

    `level` and `listed` are `[24, coin]`; `former[coin]` says whether the old ticker holds. Columns ts, id, title, url, domain.
    """
    rng = randomness.generator("headlines", first_hour // 24)
    coins = level.shape[1]
    second = rng.random((24, coins)) < 0.5
    pick = rng.random((24, coins, 2))
    general = rng.random(24) < MARKET_HEADLINES
    general_pick = rng.integers(len(MARKET), size=24)
    outlet = rng.integers(len(OUTLETS), size=(24, 2 * coins + 1))

    flat, starts, sizes = _pool()
    size = sizes[level][..., None]
    title = flat[starts[former.astype(int), np.arange(coins), level][..., None] + (pick * size).astype(np.int64)]
    keep = np.stack([listed, listed & second], axis=-1)
    title = np.concatenate([title.reshape(24, -1), np.array(MARKET, dtype=object)[general_pick][:, None]], axis=1)
    keep = np.concatenate([keep.reshape(24, -1), general[:, None]], axis=1)
    hour, _ = np.nonzero(keep)
    sequence = (np.cumsum(keep, axis=1) - 1)[keep]
    stamp = [EPOCH + timedelta(hours=first_hour + h) - STAMP_BEFORE for h in range(24)]
    return _frame(stamp, hour, sequence, title[keep], outlet[keep])


def _frame(
    stamp: list[datetime], hour: np.ndarray, sequence: np.ndarray, title: np.ndarray, outlet: np.ndarray
) -> pl.DataFrame:
    file = [f"{s:%Y%m%d%H%M%S}" for s in stamp]
    ids = [f"{file[h]}-{n}" for h, n in zip(hour, sequence, strict=True)]
    domain = [f"{OUTLETS[o]}.example.com" for o in outlet]
    return pl.DataFrame(
        {
            "ts": pl.Series([stamp[h] for h in hour], dtype=pl.Datetime("us", "UTC")),
            "id": pl.Series(ids, dtype=pl.String),
            "title": pl.Series(title.tolist(), dtype=pl.String),
            "url": pl.Series([f"https://{d}/news/{i}" for d, i in zip(domain, ids, strict=True)], dtype=pl.String),
            "domain": pl.Series(domain, dtype=pl.String),
        }
    )
