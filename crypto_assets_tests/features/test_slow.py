"""The families of slow tables against hand-made histories whose answer is plain."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from crypto_assets.curation.text_scores import TextScores
from crypto_assets.features import built_in
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window
from crypto_assets_tests.features.market import random_market

FIRST = date(2024, 1, 1)
START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = Window.of_days(FIRST, date(2024, 2, 29))
FAMILIES = built_in()
UTC_US = pl.Datetime("us", "UTC")


@pytest.fixture(scope="module")
def tables():
    return random_market(("BTC", "ETH", "DOT"), FIRST, 60, seed=1)


def value(rows: pl.DataFrame, symbol: str, ts: datetime, column: str) -> float | None:
    return rows.filter((pl.col("symbol") == symbol) & (pl.col("ts") == ts)).item(0, column)


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows).with_columns(pl.col("ts", "available_at").cast(UTC_US))


def some_bar(tables, symbol: str, after: datetime) -> datetime:
    closes = tables["curated/candles"].filter(pl.col("symbol") == symbol)["available_at"]
    return closes.filter(closes >= after).min()


def test_a_text_counts_in_the_hour_in_which_it_became_known(tables):
    known = some_bar(tables, "ETH", START + timedelta(days=20, hours=6))
    rows = [
        {"id": "a", "symbol": "ETH", "ts": known - timedelta(minutes=30), "available_at": known, "score": 0.6},
        {
            "id": "b",
            "symbol": "ETH",
            "ts": known - timedelta(minutes=75),
            "available_at": known - timedelta(minutes=45),
            "score": 0.2,
        },
        {"id": "c", "symbol": "ETH", "ts": known, "available_at": known + timedelta(minutes=30), "score": -1.0},
        {"id": "c", "symbol": "BTC", "ts": known, "available_at": known + timedelta(minutes=30), "score": -1.0},
        {"id": "d", "symbol": "ALL", "ts": known - timedelta(minutes=30), "available_at": known, "score": -0.5},
    ]
    rate = 3e-4
    funding = frame([{"symbol": "ETH", "ts": known - timedelta(hours=6), "available_at": known - timedelta(hours=6)}])
    funding = funding.with_columns(funding_rate=pl.lit(rate), source=pl.lit("x"))
    given = {**tables, "curated/text_scores": TextScores.shape(frame(rows)), "raw/binance_funding": funding}
    found = derive(FAMILIES["sentiment"].derivation(), Frames(given), WINDOW)
    assert value(found, "ETH", known, "score_1h") == pytest.approx(0.4)
    assert value(found, "ETH", known, "count_1h") == pytest.approx(math.log(3))
    assert value(found, "ETH", known, "score_funding") == pytest.approx(0.4 * rate)
    assert value(found, "ETH", known, "market_score_1h") == pytest.approx(0.1)
    assert value(found, "BTC", known, "score_1h") is None
    if (after := some_bar(tables, "BTC", known)) == known + timedelta(hours=1):
        assert value(found, "BTC", after, "score_1h") == pytest.approx(-1.0)
        assert value(found, "BTC", after, "market_score_1h") == pytest.approx(-1.0)
    ratio = (1 - 2 / 25) ** 2
    later = known + timedelta(hours=2)
    if value_there := found.filter((pl.col("symbol") == "ETH") & (pl.col("ts") == later)).height:
        wanted = (0.8 * ratio + -1.0 * (1 - 2 / 25)) / (2 * ratio + (1 - 2 / 25))
        assert value_there == 1
        assert value(found, "ETH", later, "score_24h") == pytest.approx(wanted)
    silent = some_bar(tables, "ETH", known + timedelta(days=9))
    assert value(found, "ETH", silent, "score_4h") is None


def test_funding_is_the_last_settled_rate_and_too_old_is_nothing(tables):
    at = START + timedelta(days=10)
    rows = frame(
        [{"symbol": "BTC", "ts": at, "available_at": at}, {"symbol": "BTC", "ts": at + timedelta(hours=8), "available_at": at}]
    )
    rows = rows.with_columns(pl.col("ts").alias("available_at"), funding_rate=pl.Series([1e-4, 5e-4]), source=pl.lit("x"))
    found = derive(FAMILIES["derivatives"].derivation(), Frames({**tables, "raw/binance_funding": rows}), WINDOW)
    btc = found.filter(pl.col("symbol") == "BTC")
    expected = (
        pl.when(pl.col("ts").is_between(at, at + timedelta(hours=8), closed="left"))
        .then(1e-4)
        .when(pl.col("ts").is_between(at + timedelta(hours=8), at + timedelta(hours=32)))
        .then(5e-4)
    )
    assert btc["funding_last"].equals(btc.select(expected).to_series(), null_equal=True)
    assert btc["funding_age"].drop_nulls().max() == 24
    assert found.filter(pl.col("symbol") == "ETH")["funding_last"].null_count() > 0


def test_basis_is_the_perpetual_over_spot(tables):
    found = derive(FAMILIES["derivatives"].derivation(), Frames(tables), WINDOW)
    bars = tables["curated/candles"].filter(pl.col("available_at") < WINDOW.end).sort("symbol", "ts")
    wanted = (bars["close"] / bars["spot_close"] - 1).to_list()
    assert found["basis"].to_list() == pytest.approx(wanted)


def test_tvl_changes_compare_what_was_known_then(tables):
    days = 50
    ts = [START + timedelta(days=d) for d in range(days)]
    tvl = pl.concat(
        frame([{"ts": t, "available_at": t + timedelta(hours=27), "chain": c} for t in ts]).with_columns(
            tvl_usd=pl.Series([base * growth**d for d in range(days)]), source=pl.lit("x")
        )
        for c, base, growth in (("Total", 9e9, 1.01), ("Ethereum", 5e9, 1.03))
    )
    found = derive(FAMILIES["defi"].derivation(), Frames({**tables, "raw/defillama_tvl": tvl}), WINDOW)
    at = some_bar(tables, "ETH", START + timedelta(days=20, hours=3))
    assert value(found, "ETH", at, "chain_change_7d") == pytest.approx(7 * math.log(1.03))
    assert value(found, "ETH", at, "total_step") == pytest.approx(math.log(1.01))
    assert value(found, "ETH", at, "chain_share_change_7d") == pytest.approx(7 * math.log(1.03 / 1.01))
    assert value(found, "DOT", some_bar(tables, "DOT", at), "chain_change_7d") is None


def test_friday_holds_over_the_weekend_and_no_longer_than_six_days(tables):
    friday = START + timedelta(days=18)
    vix = frame([{"ts": friday, "available_at": friday + timedelta(hours=30)}]).with_columns(
        close=pl.lit(20.0), source=pl.lit("x")
    )
    found = derive(FAMILIES["macro"].derivation(), Frames({**tables, "raw/cboe_vix": vix}), WINDOW)
    held = found.filter(pl.col("vix").is_not_null())
    assert held["ts"].min() == some_bar_of_all(found, friday + timedelta(hours=30))
    assert held["ts"].max() <= friday + timedelta(days=6)
    assert held["vix"].unique().to_list() == [pytest.approx(math.log(20))]


def some_bar_of_all(rows: pl.DataFrame, after: datetime) -> datetime:
    return rows.filter(pl.col("ts") >= after)["ts"].min()


def test_bitcoins_chain_speaks_for_every_coin(tables):
    found = derive(FAMILIES["onchain"].derivation(), Frames(tables), WINDOW)
    btc = found.filter(pl.col("symbol") == "BTC").select("ts", wanted="mvrv")
    dot = found.filter(pl.col("symbol") == "DOT").join(btc, on="ts")
    assert dot["btc_mvrv"].equals(dot["wanted"], null_equal=True)
    assert found.filter(pl.col("symbol") == "DOT")["mvrv"].null_count() == found.filter(pl.col("symbol") == "DOT").height
