"""Which coins a text names, how it is scored, and one row for each."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from crypto_assets.curation._mentions import coins_in
from crypto_assets.curation.scorers._lexicon import LEXICON
from crypto_assets.curation.scorers.vader import VaderScorer, score
from crypto_assets.curation.text_scores import DERIVATION, READERS, TextScores, read
from crypto_assets.lake import Frames, derive
from crypto_assets.lake.quarantine import split
from crypto_assets.market.coins import COINS
from crypto_assets.market.errors import SchemaError
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


def frames(**rows: list[dict]) -> Frames:
    """Raw tables by their names in READERS; all rows are of START and known `known` minutes later, by default at once."""
    tables = {}
    for name, given in rows.items():
        table = READERS[name].table
        rest = {"ts": START, "url": "u", "domain": "d", "source": "s", "kind": "news"}
        whole = [{**rest, "available_at": START + timedelta(minutes=row.get("known", 0)), **row} for row in given]
        tables[table.name] = pl.DataFrame([{c: row.get(c) for c in table.schema()} for row in whole], schema=table.schema())
    return Frames(tables)


DAY = Window.of_days(date(2024, 1, 1), date(2024, 1, 1))


def test_posts_count_beside_headlines_and_are_about_the_coin_they_are_filed_under():
    given = frames(
        news=[{"id": "1", "title": "Bitcoin soars"}],
        reddit=[
            {"id": "1", "symbol": "ETH", "title": "We are doomed, this is a disaster"},
            {"id": "2", "symbol": "ETH", "title": "Solana crashes"},
        ],
        x=[{"id": "1", "symbol": "ADA", "text": "Cardano is wonderful"}],
        rss=[{"id": "1", "title": "Rates stay"}],
        newsapi=[{"url": "1", "title": "LINK falls"}],
        coindesk=[{"id": "1", "title": "Uniswap launches", "taken_in_at": START}],
        cryptopanic=[{"id": "1", "symbol": s, "title": "Both coins surge"} for s in ("BTC", "ETH")],
    )
    rows = derive(DERIVATION, given, DAY)
    about = {(r["channel"], r["id"], r["symbol"]) for r in rows.iter_rows(named=True)}
    assert about == {
        ("gdelt", "1", "BTC"),
        ("reddit", "1", "ETH"),
        ("reddit", "2", "SOL"),
        ("x", "1", "ADA"),
        ("rss", "1", "ALL"),
        ("newsapi", "1", "LINK"),
        ("coindesk", "1", "UNI"),
        ("cryptopanic", "1", "BTC"),
        ("cryptopanic", "1", "ETH"),
    }
    assert rows.select(*TextScores.key, "available_at").is_unique().all()
    assert split(TextScores, rows).bad.is_empty()
    assert rows.filter(channel="reddit", id="1")["score"].item() < -0.3
    assert_frame_equal(derive(DERIVATION, given, DAY), rows, check_exact=True)


def test_votes_that_are_known_later_are_a_later_version():
    post = {"id": "p", "symbol": "BTC", "title": "Bitcoin soars"}
    rows = derive(
        DERIVATION,
        frames(
            reddit=[{**post, "known": 1}],
            reddit_settled=[
                {**post, "known": 2880, "score": 90, "num_comments": 9},
                {**post, "id": "q", "score": -7, "num_comments": 0},
            ],
        ),
        DAY,
    ).sort("id", "available_at")
    assert rows["influence"].to_list() == [None, pytest.approx(math.log(100)), 0.0]
    assert rows["available_at"].to_list()[:2] == [START + timedelta(minutes=1), START + timedelta(days=2)]
    assert rows["score"].n_unique() == 1


def test_each_coin_of_a_text_has_the_score_of_its_clauses():
    rows = derive(DERIVATION, frames(news=[{"id": "1", "title": "Bitcoin soars while Ethereum crashes"}]), DAY)
    by_coin = {r["symbol"]: r for r in rows.iter_rows(named=True)}
    assert by_coin["BTC"]["entity_score"] == score("Bitcoin soars")
    assert by_coin["ETH"]["entity_score"] == score("Ethereum crashes")
    assert by_coin["BTC"]["score"] == by_coin["ETH"]["score"] == score("Bitcoin soars while Ethereum crashes")
    alone = derive(DERIVATION, frames(news=[{"id": "1", "title": "Bitcoin soars, at last"}]), DAY)
    assert alone["entity_score"].equals(alone["score"])


def test_the_settings_choose_the_scorer_and_rows_say_which(monkeypatch):
    given = frames(news=[{"id": "1", "title": "Bitcoin soars"}])
    assert derive(DERIVATION, given, DAY)["scorer"].to_list() == [f"vader {VaderScorer().version}"]
    monkeypatch.setenv("CRYPTO_ASSETS_TEXT_SCORER", "crypto_assets_tests.curation.test_scorers:constant")
    rows = derive(DERIVATION, given, DAY)
    assert rows.select("score", "entity_score", "joy", "scorer").row(0) == (0.5, 0.5, 0.0, "constant 1")


def test_a_scorer_that_breaks_the_protocol_is_refused():
    class Short(VaderScorer):
        def score(self, texts):
            return super().score(texts[1:])

    with pytest.raises(SchemaError, match="scorer vader: expected 2 rows"):
        read(["a", "b"], Short())


def test_the_readers_name_columns_that_are_there():
    for reader in READERS.values():
        columns = reader.table.schema()
        assert columns[reader.id] == columns[reader.text] == pl.String
        assert reader.is_filed == ("symbol" in columns)
        assert reader.influence is None or set(reader.influence.meta.root_names()) <= set(columns)
