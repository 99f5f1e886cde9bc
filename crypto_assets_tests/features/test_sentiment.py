"""Sentiment features against hand-made texts whose answer is plain."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from crypto_assets.curation.text_scores import TextScores
from crypto_assets.features.sentiment import FAMILY
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window

START = datetime(2024, 1, 1, tzinfo=UTC)
AT = START + timedelta(days=20)
WINDOW = Window.of_days(date(2024, 1, 1), date(2024, 2, 9))
KEEP = 1 - 2 / 25
"""Share of a text's weight that is left after an hour, decayed over 24 h."""


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    ts = pl.datetime_range(START, START + timedelta(days=40), "1h", closed="left", time_unit="us", eager=True)
    candles = pl.concat(pl.DataFrame({"symbol": s, "ts": ts}) for s in ("BTC", "ETH")).with_columns(
        **{c: pl.lit(1.0) for c in ("open", "high", "low", "close", "volume")}
    )
    return {
        "curated/candles": candles,
        "raw/fear_greed": pl.DataFrame(schema={"ts": ts.dtype, "available_at": ts.dtype, "value_pct": pl.Float64}),
        "raw/binance_funding": pl.DataFrame(
            schema={"symbol": pl.String, "ts": ts.dtype, "available_at": ts.dtype, "funding_rate": pl.Float64}
        ),
    }


def text(name: str, symbol: str, score: float, known: float = 0.0, **more: object) -> dict[str, object]:
    """A text written at AT and known `known` hours later."""
    return {"id": name, "symbol": symbol, "score": score, "ts": AT, "available_at": AT + timedelta(hours=known)} | more


def found(tables: dict[str, pl.DataFrame], *texts: dict[str, object]) -> pl.DataFrame:
    schema = TextScores.schema()
    rows = pl.DataFrame([{c: t.get(c) for c in schema} for t in texts], schema=schema)
    return derive(FAMILY.derivation(), Frames({**tables, "curated/text_scores": rows}), WINDOW)


def value(rows: pl.DataFrame, column: str, hours: float = 0.0, symbol: str = "BTC") -> float | None:
    return rows.filter(pl.col("symbol") == symbol, pl.col("ts") == AT + timedelta(hours=hours))[column].item()


def test_an_emotion_is_the_decayed_mean_of_the_texts_that_have_it(tables):
    rows = found(
        tables,
        text("a", "BTC", 0.1, fear=0.5, urgency=0.2),
        text("b", "BTC", 0.1, known=2, fear=0.1, urgency=0.8),
        text("old", "BTC", 0.1, known=2),
        text("c", "ETH", 0.1, known=2, fear=0.9, urgency=0.0),
    )
    assert value(rows, "fear_24h", -1) is None
    assert value(rows, "fear_24h") == pytest.approx(0.5)
    weight = KEEP**2
    assert value(rows, "fear_24h", 2) == pytest.approx((0.5 * weight + 0.1) / (weight + 1))
    assert value(rows, "urgency_24h", 2) == pytest.approx((0.2 * weight + 0.8) / (weight + 1))
    assert value(rows, "market_fear_24h", 2) == pytest.approx((0.5 * weight + 0.1 + 0.9) / (weight + 2))
    assert value(rows, "joy_24h", 2) is None
    assert value(rows, "count_24h", 2) == pytest.approx(math.log1p(weight + 2))


def test_a_coins_own_clauses_count_for_it(tables):
    rows = found(tables, text("a", "BTC", 0.1, entity_score=0.8), text("a", "ETH", 0.1, entity_score=-0.6))
    assert value(rows, "entity_score_24h") == pytest.approx(0.8)
    assert value(rows, "entity_score_24h", symbol="ETH") == pytest.approx(-0.6)
    assert value(rows, "score_24h") == value(rows, "score_24h", symbol="ETH") == pytest.approx(0.1)
    assert value(rows, "market_count_24h") == pytest.approx(math.log(2)), "one text, however many coins it names"


def test_votes_weigh_from_when_they_are_known(tables):
    post = {"channel": "reddit", "name": "p", "symbol": "BTC", "score": 0.9}
    rows = found(
        tables,
        text(**post, known=0),
        text(**post, known=48, influence=3.0),
        text("q", "BTC", -0.3, known=48, channel="reddit", influence=0.0),
    )
    assert value(rows, "score_1h") == pytest.approx(0.9)
    assert value(rows, "influence_score_24h", 47) is None
    assert value(rows, "influence_score_24h", 48) == pytest.approx((0.9 * 4 - 0.3) / 5)
    assert value(rows, "market_influence_score_24h", 48) == pytest.approx((0.9 * 4 - 0.3) / 5)
    assert value(rows, "score_1h", 48) == pytest.approx(-0.3), "the first post was counted two days ago"


def test_ids_of_two_channels_are_two_texts(tables):
    rows = found(tables, text("1", "BTC", 0.5, channel="x"), text("1", "BTC", -0.1, channel="rss"))
    assert value(rows, "count_1h") == pytest.approx(math.log(3))
    assert value(rows, "score_1h") == pytest.approx(0.2)
    assert value(rows, "market_count_24h") == pytest.approx(math.log(3))


def test_volume_is_compared_with_its_own_past(tables):
    steady = [text(f"s{h}", "BTC", 0.0, known=h) for h in range(-480, 1)]
    rows = found(tables, *steady, *[text(f"n{i}", "BTC", 0.0, known=1) for i in range(20)])
    assert value(rows, "count_surprise", -2) == pytest.approx(0, abs=0.02)
    assert value(rows, "count_surprise", 1) > 1
    assert value(rows, "count_surprise", 30) < 0
    quiet = value(rows, "count_surprise", symbol="ETH")
    assert quiet == pytest.approx(0)


def test_readers_who_disagree(tables):
    rows = found(tables, text("a", "BTC", 0.6), text("b", "BTC", -0.6), text("c", "ETH", 0.6))
    assert value(rows, "disagreement_24h") == pytest.approx(0.6)
    assert value(rows, "disagreement_24h", symbol="ETH") == pytest.approx(0)
    assert value(rows, "market_disagreement_24h") == pytest.approx(math.sqrt(0.36 - 0.04))


def test_rows_written_before_a_column_existed_count_as_before(tables):
    rows = found(tables, text("a", "BTC", 0.4), text("b", "BTC", 0.2, known=1))
    assert value(rows, "score_24h", 1) == pytest.approx((0.4 * KEEP + 0.2) / (KEEP + 1))
    for column in ("entity_score_24h", "influence_score_24h", "fear_24h", "market_anger_24h", "market_urgency_24h"):
        assert rows[column].null_count() == rows.height, column
