"""Which coins a text names, how it is scored, and one row for each."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from crypto_assets.curation._mentions import coins_in
from crypto_assets.curation.scorers._lexicon import LEXICON
from crypto_assets.curation.scorers.vader import score
from crypto_assets.curation.text_scores import DERIVATION, TextScores
from crypto_assets.lake import Frames, derive
from crypto_assets.lake.quarantine import split
from crypto_assets.market.coins import COINS
from crypto_assets.market.time import Window

START = datetime(2024, 1, 1, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("title", "coins"),
    [
        ("Bitcoin and ETHEREUM rally", ["BTC", "ETH"]),
        ("$SOL breaks out while ADA lags", ["ADA", "SOL"]),
        ("Ethereum Classic fork", ["ETC"]),
        ("Bitcoin Cash against bitcoin", ["BCH", "BTC"]),
        ("MATIC is now POL", ["POL"]),
        ("Polygon ships upgrade; Chainlink joins", ["LINK", "POL"]),
        ("How to link a wallet: the dot near the top", ["ALL"]),
        ("A united universe of solar dots", ["ALL"]),
        ("LINK, UNI and DOT slide", ["DOT", "LINK", "UNI"]),
        ("Central bank holds rates", ["ALL"]),
        ("", ["ALL"]),
    ],
)
def test_coins_named(title, coins):
    assert coins_in(title) == coins


@pytest.mark.parametrize("coin", COINS.values(), ids=lambda c: c.symbol)
def test_every_coin_is_found_by_its_ticker_and_its_name(coin):
    assert coin.symbol in coins_in(f"Traders watch {coin.symbol} today")
    assert coin.symbol in coins_in(f"Traders watch {coin.name} today")


def test_scores_are_vaders_where_no_word_of_the_trade_stands():
    plain = SentimentIntensityAnalyzer()
    for title in ("This is a great day for everyone", "A terrible, horrible fraud", "The committee met on Tuesday"):
        assert score(title) == plain.polarity_scores(title)["compound"]


def test_words_of_the_trade_count_in_their_direction():
    assert score("Bitcoin surges as traders turn bullish") > 0.5
    assert score("Exchange hacked, token plunges, longs liquidated") < -0.5
    assert score("Bitcoin rallies") > score("Bitcoin rises") > score("Bitcoin trades") > score("Bitcoin dips")
    assert score("Bitcoin dips") > score("Bitcoin plunges")
    assert all(-4 <= strength <= 4 and word == word.lower() for word, strength in LEXICON.items())


def test_a_row_for_each_coin_named_and_every_version_of_the_text():
    texts = pl.DataFrame(
        {
            "id": ["a", "a", "b", "c"],
            "ts": [START, START, START, START + timedelta(hours=1)],
            "available_at": [START + timedelta(minutes=m) for m in (30, 90, 30, 90)],
            "title": ["Bitcoin and Solana soar", "Bitcoin and Solana soar", "Stocks fall", "Bitcoin and Solana soar"],
            "url": ["u"] * 4,
            "domain": ["d"] * 4,
            "source": ["gdelt_bulk"] * 4,
        }
    ).with_columns(pl.col("ts", "available_at").cast(pl.Datetime("us", "UTC")))
    window = Window.of_days(date(2024, 1, 1), date(2024, 1, 1))
    rows = derive(DERIVATION, Frames({"raw/news": texts}), window)
    assert rows.group_by("id").len().sort("id").rows() == [("a", 4), ("b", 1), ("c", 2)]
    assert rows.filter(id="b")["symbol"].to_list() == ["ALL"]
    assert rows.filter(id="a")["symbol"].to_list() == ["BTC", "BTC", "SOL", "SOL"]
    assert rows["available_at"].min() == START + timedelta(minutes=30)
    assert split(TextScores, rows).bad.is_empty()
    assert derive(DERIVATION, Frames({"raw/news": texts.clear()}), window).is_empty()
