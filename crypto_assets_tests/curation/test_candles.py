"""Canonical candles: which venue, which version, what is disputed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from crypto_assets.curation import discover
from crypto_assets.curation.candles import DERIVATION, CuratedCandles
from crypto_assets.lake import Frames, derive
from crypto_assets.lake.quarantine import split
from crypto_assets.market.time import Window
from crypto_assets_tests.features import invariance
from crypto_assets_tests.features.market import random_market

START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = Window.of_days(date(2024, 1, 1), date(2024, 1, 10))
HOUR = timedelta(hours=1)
PERP, SPOT = "raw/binance_perp_candles", "raw/binance_candles"
COINBASE, KRAKEN = "raw/coinbase_candles", "raw/kraken_candles"


def bar(hour: int, close: float, source: str, symbol: str = "BTC", known_after: timedelta = HOUR) -> dict:
    ts = START + hour * HOUR
    return {
        "symbol": symbol,
        "ts": ts,
        "available_at": ts + known_after,
        **{"open": close, "high": close * 1.1, "low": close * 0.9, "close": close, "volume": 5.0},
        **{"quote_volume_usd": None, "trades": 3, "taker_buy_volume": 2.0, "source": source},
    }


SCHEMA = {
    "symbol": pl.String,
    **dict.fromkeys(("ts", "available_at"), pl.Datetime("us", "UTC")),
    **dict.fromkeys(("open", "high", "low", "close", "volume", "quote_volume_usd"), pl.Float64),
    **{"trades": pl.Int64, "taker_buy_volume": pl.Float64, "source": pl.String},
}


def curated(perp: list[dict], spot: list[dict], coinbase: list[dict] = (), kraken: list[dict] = ()) -> pl.DataFrame:
    rows = {PERP: perp, SPOT: spot, COINBASE: coinbase, KRAKEN: kraken}
    return derive(DERIVATION, Frames({name: pl.DataFrame(list(r), schema=SCHEMA) for name, r in rows.items()}), WINDOW)


def test_the_perpetual_where_there_is_one_else_spot_else_nothing():
    rows = curated(
        [bar(1, 100.0, "perp"), bar(2, 102.0, "perp")], [bar(0, 90.0, "spot"), bar(1, 100.5, "spot"), bar(5, 99.0, "spot")]
    )
    assert rows.select("ts", "close", "spot_close", "source", "is_disputed").rows() == [
        (START, 90.0, None, "spot", False),
        (START + HOUR, 100.0, 100.5, "perp", False),
        (START + 2 * HOUR, 102.0, None, "perp", False),
        (START + 5 * HOUR, 99.0, None, "spot", False),
    ]
    assert (rows["available_at"] - rows["ts"]).unique().to_list() == [HOUR]


@pytest.mark.parametrize(("spot", "disputed"), [(100.99, False), (101.02, True), (98.9, True), (99.1, False)])
def test_more_than_one_per_cent_apart_is_disputed(spot, disputed):
    assert curated([bar(0, 100.0, "perp")], [bar(0, spot, "spot")])["is_disputed"].to_list() == [disputed]


@pytest.mark.parametrize("venue", ["spot", "coinbase", "kraken"])
@pytest.mark.parametrize(("close", "disputed"), [(100.9, False), (103.0, True), (97.0, True)])
def test_any_venue_can_dispute_and_its_close_is_shown(venue, close, disputed):
    rows = curated([bar(0, 100.0, "perp")], **{"spot": [], venue: [bar(0, close, venue)]})
    assert rows.select("close", f"{venue}_close", "is_disputed").row(0) == (100.0, close, disputed)
    others = {"spot_close", "coinbase_close", "kraken_close"} - {f"{venue}_close"}
    assert all(rows[name].to_list() == [None] for name in others)


def test_other_venues_never_fill_a_missing_hour():
    rows = curated([bar(0, 100.0, "perp")], [], [bar(1, 100.0, "coinbase")], [bar(2, 100.0, "kraken")])
    assert rows["ts"].to_list() == [START]


def test_where_spot_is_canonical_the_others_are_compared_with_it():
    rows = curated([], [bar(0, 100.0, "spot")], [bar(0, 105.0, "coinbase")])
    assert rows.select("source", "spot_close", "coinbase_close", "is_disputed").row(0) == ("spot", None, 105.0, True)


def test_a_close_of_another_venue_known_too_late_is_not_looked_at():
    late = bar(0, 150.0, "kraken", known_after=timedelta(days=1))
    assert curated([bar(0, 100.0, "perp")], [], [], [late]).select("kraken_close", "is_disputed").row(0) == (None, False)


def test_a_correction_does_not_change_what_was_known_at_the_close():
    rows = curated([bar(0, 100.0, "perp"), bar(0, 120.0, "perp", known_after=timedelta(days=2))], [])
    assert rows["close"].to_list() == [100.0]


def test_a_bar_first_known_after_its_close_is_no_bar():
    assert curated([bar(0, 100.0, "perp", known_after=timedelta(hours=2))], []).is_empty()


def test_of_two_sources_the_first_by_name_counts():
    for pair in ([bar(0, 1.0, "b"), bar(0, 2.0, "a")], [bar(0, 2.0, "a"), bar(0, 1.0, "b")]):
        assert curated(pair, [])["source"].to_list() == ["a"]


def test_candles_keep_their_schema_and_see_no_future():
    candles = random_market(("BTC", "ETH"), date(2024, 1, 1), 10)["curated/candles"]
    perp = candles.drop("is_disputed", "spot_close")
    spot = perp.with_columns(pl.col("open", "high", "low", "close") * 1.001, source=pl.lit("spot")).gather_every(3)
    late = perp.sample(40, seed=1).with_columns(pl.col("close") * 1.01, available_at=pl.col("available_at") + 30 * HOUR)
    coinbase, kraken = (
        spot.with_columns(pl.col("close") * f, source=pl.lit(n)) for f, n in ((1.002, "coinbase"), (0.98, "kraken"))
    )
    tables = {PERP: pl.concat([perp, late]), SPOT: spot, COINBASE: coinbase, KRAKEN: kraken}
    rows = derive(DERIVATION, Frames(tables), WINDOW)
    own = [c for c in rows.columns if c in perp.columns]
    assert rows.select(own).equals(perp.select(own))
    assert rows["is_disputed"].sum() == kraken.height
    assert split(CuratedCandles, rows).bad.is_empty()
    cuts = [START + timedelta(days=4, hours=5)]

    def make(given, window):
        return derive(DERIVATION, Frames(given), window).with_columns(ts=pl.col("available_at"))

    assert invariance.leaks(make, tables, WINDOW, cuts) == {}


def test_curated_tables_are_discovered():
    assert set(discover()) == {"candles", "text_scores", "candle_anomalies"}
    assert list(discover())[-1] == "candle_anomalies"
    assert all(derivation.name == f"curated/{name}" for name, derivation in discover().items())
