"""Paging, names of the day, listings: what the three Binance tables share."""

from datetime import date, timedelta
from urllib.parse import parse_qs

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.market.coins import COINS
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import Window, midnight
from crypto_assets.sources import discover
from crypto_assets.sources._binance import spans
from crypto_assets_tests.sources.loopback import NOW, client, truth

SOURCES = discover()
RENAMED = date(2024, 9, 10)


@pytest.mark.parametrize(
    ("name", "days", "files", "calls"),
    [
        ("binance_candles", 100, 3, 1),
        ("binance_perp_candles", 100, 3, 1),
        ("binance_basis", 100, 3, 1),
        ("binance_funding", 400, 0, 2),
    ],
)
def test_a_window_longer_than_a_page_comes_whole(name: str, days: int, files: int, calls: int):
    window = Window.of_days(date(2024, 10, 15) - timedelta(days=days - 1), date(2024, 10, 15))
    with client(symbols="BTC") as http:
        rows = SOURCES[name].fetch(window, http)
        assert_frame_equal(rows, truth(SOURCES[name], window, NOW, http))
    assert len(http.seen) == 2 * files + calls


@pytest.mark.parametrize(("name", "calls"), [("binance_candles", 3), ("binance_perp_candles", 2)])
def test_without_an_archive_every_page_is_asked_for(name: str, calls: int, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._binance.SHORT", timedelta(days=101))
    window = Window.of_days(date(2024, 7, 8), date(2024, 10, 15))
    with client(symbols="BTC") as http:
        rows = SOURCES[name].fetch(window, http)
        assert_frame_equal(rows, truth(SOURCES[name], window, NOW, http))
    assert len(http.seen) == calls


@pytest.mark.parametrize("name", ["binance_candles", "binance_perp_candles", "binance_funding"])
def test_a_renamed_coin_is_asked_under_the_name_of_the_day(name: str):
    window = Window.of_days(date(2024, 9, 8), date(2024, 9, 12))
    with client(symbols="POL") as http:
        rows = SOURCES[name].fetch(window, http)
        assert_frame_equal(rows, truth(SOURCES[name], window, NOW, http))
    assert rows["symbol"].unique().to_list() == ["POL"]
    asked = [parse_qs(query) for _, query in http.seen]
    change = int(midnight(RENAMED).timestamp() * 1000)
    assert {(q["symbol"][0], int(q["startTime"][0]) < change) for q in asked} == {("MATICUSDT", True), ("POLUSDT", False)}


def test_the_window_is_split_at_the_rename_and_cut_at_the_delisting():
    window = Window.of_days(date(2024, 9, 1), date(2024, 9, 30))
    change = midnight(RENAMED)
    assert spans(COINS["POL"], window, "binance_futures") == [
        ("MATICUSDT", Window(window.start, change)),
        ("POLUSDT", Window(change, window.end)),
    ]
    from dataclasses import replace

    gone = replace(COINS["EOS"], delisted=date(2024, 9, 5))
    assert spans(gone, window, "binance_spot") == [("EOSUSDT", Window(window.start, midnight(date(2024, 9, 5))))]
    assert spans(replace(gone, delisted=date(2024, 5, 28)), window, "binance_spot") == []


@pytest.mark.parametrize(("coin", "day"), [("ARB", date(2023, 3, 1)), ("EOS", date(2024, 6, 3))])
@pytest.mark.parametrize("name", ["binance_candles", "binance_perp_candles", "binance_funding"])
def test_a_coin_that_is_not_listed_gives_no_rows_and_no_error(name: str, coin: str, day: date):
    with client(symbols=f"BTC,{coin}") as http:
        rows = SOURCES[name].fetch(Window.of_days(day, day), http)
    assert rows["symbol"].unique().to_list() == ["BTC"]


def test_no_bars_of_any_listed_coin_is_an_error():
    with client(symbols="EOS") as http, pytest.raises(NotPublishedYetError, match="EOS"):
        SOURCES["binance_candles"].fetch(Window.of_days(date(2024, 7, 1), date(2024, 7, 2)), http)


def test_an_unknown_symbol_is_named():
    with client(symbols="BTC,XRP") as http, pytest.raises(BadPayloadError, match=r"XRPUSDT.*HTTP 400.*-1121"):
        SOURCES["binance_candles"].fetch(Window.of_days(date(2024, 7, 1), date(2024, 7, 2)), http)


def test_an_unknown_symbol_before_its_listing_gives_no_rows():
    with client(symbols="BTC,SUI") as http:
        rows = SOURCES["binance_candles"].fetch(Window.of_days(date(2023, 2, 1), date(2023, 2, 1)), http)
    assert rows["symbol"].unique().to_list() == ["BTC"]


def test_the_open_bar_is_left_out():
    with client(symbols="BTC") as http:
        rows = SOURCES["binance_candles"].fetch(Window.of_days(NOW.date(), NOW.date()), http)
    assert rows["ts"].max() == NOW.replace(hour=11, minute=0)
    assert rows.filter(pl.col("volume") == 0).is_empty()
