"""Texts scored and assigned to the coins they name.

Score: the compound score of VADER (Hutto & Gilbert, ICWSM 2014) with the words of the trade added, in [-1, 1]. VADER is a
lexicon of social media English: it knows "approval" and "fraud" but not "rally", "plunges" or "liquidated".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake import Derivation, Field, Table
from crypto_assets.market.coins import COINS

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

NO_COIN = "ALL"
"""`symbol` of a text that names no coin."""

_READ = pl.Schema({"title": pl.String(), "symbol": pl.List(pl.String()), "score": pl.Float64()})

_STRENGTHS: dict[float, str] = {
    3.0: "moon mooning skyrocket skyrockets skyrocketed skyrocketing",
    2.5: "bullish surge surges surged surging soar soars soared soaring rally rallies rallied rallying breakout breakouts",
    2.0: "rebound rebounds rebounded jump jumps jumped climb climbs climbed outperform outperforms outperformed undervalued "
    "accumulate accumulates accumulating accumulation adoption inflow inflows halving ath pump pumps pumped uptrend recover "
    "recovers recovered recovery",
    1.0: "upgrade upgrades upgraded partnership partners listing lists unveils launches rises rose hodl buyback uptick green",
    -1.0: "dip dips dipped slips slipped delays delayed outage stalls stalled unlock unlocks resistance red probe probes",
    -2.0: "slide slides slid drop drops dropped slump slumps slumped tumble tumbles tumbled outflow outflows overvalued "
    "selloff downtrend correction delist delists delisted delisting liquidation liquidations liquidated lawsuit sues sued "
    "subpoena underperform underperforms underperformed sinks sank fud exploit exploits exploited dumps dumped dumping",
    -2.5: "bearish plunge plunges plunged plunging plummet plummets plummeted crash crashes crashed crashing capitulation "
    "breach breached hack hacks hacked hacker hackers depeg depegs depegged insolvent insolvency bankruptcy bankrupt ponzi",
    -3.0: "rug rugpull rugged collapse collapses collapsed",
}
LEXICON: dict[str, float] = {word: strength for strength, words in _STRENGTHS.items() for word in words.split()}
"""Words of the trade on VADER's scale, -4 to 4. Strengths follow VADER's own for their nearest English neighbours
("soared" like "triumph" 2.1, "crash" -1.7 made heavier: in this field it means a loss)."""


class TextScores(Table):
    """One row a text and coin it names; `ts` and `available_at` are the text's."""

    name = "curated/text_scores"
    key = ("id", "symbol", "ts")

    id: str = Field(meaning="the text's id at its provider")
    symbol: str = Field(meaning=f"coin the text names, or {NO_COIN} where it names none")
    score: float = Field(ge=-1, le=1, meaning="sentiment, -1 bad to 1 good")


def compute(news: pl.LazyFrame) -> pl.LazyFrame:
    """Score every title once and give a row to each coin it names; the columns of TextScores."""
    texts = news.select("id", "ts", "available_at", "title").unique(["id", "ts", "available_at"], keep="first")
    read = texts.select(pl.col("title").unique()).map_batches(
        _read, schema=_READ, predicate_pushdown=False, projection_pushdown=False, slice_pushdown=False
    )
    return texts.join(read, on="title").explode("symbol").select("id", "symbol", "ts", "available_at", "score")


def coins_in(title: str) -> list[str]:
    """Our symbols of the coins a title names, sorted; `["ALL"]` where it names none.

    A name counts in any case ("bitcoin"), a ticker only in capitals ("LINK", "$SOL"), because many tickers are English
    words; a name that is the ticker's word counts as it is written ("Aave"). The longest name wins: Ethereum Classic is not
    Ethereum.
    """
    pattern, meanings = _names()
    found = {meanings[m.lower()] for m in pattern.findall(title)}
    return sorted(found) or [NO_COIN]


def score(title: str) -> float:
    """VADER's compound score with LEXICON, in [-1, 1]."""
    return float(_analyzer().polarity_scores(title)["compound"])


def _read(titles: pl.DataFrame) -> pl.DataFrame:
    rows: list[dict[str, Any]] = [{"title": t, "symbol": coins_in(t), "score": score(t)} for t in titles["title"]]
    return pl.DataFrame(rows, schema=_READ)


@lru_cache(maxsize=1)
def _analyzer() -> SentimentIntensityAnalyzer:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    analyzer.lexicon.update(LEXICON)
    return analyzer


@lru_cache(maxsize=1)
def _names() -> tuple[re.Pattern[str], dict[str, str]]:
    """One pattern of all names, longest first, and what each (in lower case) means."""
    meanings: dict[str, str] = {}
    alternatives: dict[str, str] = {}
    for coin in COINS.values():
        tickers = [coin.symbol, *(old for old, _ in coin.former)]
        for ticker in tickers:
            meanings[ticker.lower()] = coin.symbol
            alternatives[ticker.lower()] = ticker
        for word in coin.words:
            meanings[word] = coin.symbol
            own = f"(?i:{re.escape(word)})"
            alternatives[word] = own if word.upper() not in tickers else f"(?:{word.upper()}|{re.escape(coin.name)})"
    ordered = [alternatives[name] for name in sorted(alternatives, key=lambda n: (-len(n), n))]
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(ordered)})(?![A-Za-z0-9])"), meanings


DERIVATION = Derivation(
    TextScores, {"news": "raw/news"}, compute, doc="Sentiment of each text (VADER and the words of the trade), by coin named."
)
