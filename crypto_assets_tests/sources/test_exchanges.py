"""Coinbase and Kraken: paging, coins they do not list, names of a renamed coin, their own errors, nasty payloads."""

from datetime import date, timedelta
from urllib.parse import parse_qs

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.market.errors import (
    BadPayloadError,
    NotPublishedYetError,
    RateLimitedError,
    SourceError,
    UnavailableError,
)
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sandbox import venues
from crypto_assets.sources import coinbase_candles, kraken_candles
from crypto_assets_tests.sources.loopback import NOW, client, market, truth
from crypto_assets_tests.sources.test_payloads import answering

COINBASE, KRAKEN = coinbase_candles.SOURCE, kraken_candles.SOURCE
BOTH = pytest.mark.parametrize("source", [COINBASE, KRAKEN], ids=["coinbase", "kraken"])
DAY = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))


def test_coinbase_pages_by_300_bars():
    window = Window.of_days(date(2024, 9, 10), date(2024, 10, 9))
    with client(symbols="BTC") as http:
        assert_frame_equal(COINBASE.fetch(window, http), truth(COINBASE, window, NOW, http))
    spans = [(q["start"][0], q["end"][0]) for q in (parse_qs(query) for _, query in http.seen)]
    assert len(spans) == 3
    assert spans[0] == ("2024-09-10T00:00:00+00:00", "2024-09-22T11:00:00+00:00")


def test_a_day_and_thirty_days_cost_few_calls():
    with client() as http:
        COINBASE.fetch(DAY, http)
        assert len(http.seen) == 9  # eight coins, one of them under two names
        http.seen.clear()
        KRAKEN.fetch(Window.of_days(date(2024, 9, 21), date(2024, 10, 19)), http)
        assert len(http.seen) == 8


def test_coinbase_is_asked_under_former_names_too():
    window = Window.of_days(date(2024, 9, 9), date(2024, 9, 10))
    with client(symbols="POL") as http:
        rows = COINBASE.fetch(window, http)
        assert_frame_equal(rows, truth(COINBASE, window, NOW, http))
    assert {path.split("/")[3] for path, _ in http.seen} == {"POL-USD", "MATIC-USD"}


def test_kraken_has_the_newest_720_bars_only():
    with client(symbols="BTC") as http:
        rows = KRAKEN.fetch(Window.of_days(date(2024, 8, 1), NOW.date()), http)
    hours = int((rows["ts"].max() - rows["ts"].min()) / HOUR)
    assert rows["ts"].max() == NOW.replace(hour=11, minute=0)
    assert 710 <= rows.height <= 719 <= hours + 10


def test_kraken_knows_bitcoin_as_xbt():
    with client(symbols="BTC,ETH,SOL") as http:
        rows = KRAKEN.fetch(DAY, http)
    assert [parse_qs(query)["pair"][0] for _, query in http.seen] == ["XBTUSD", "ETHUSD", "SOLUSD"]
    assert rows["symbol"].unique(maintain_order=True).to_list() == ["BTC", "ETH", "SOL"]
    assert rows["quote_volume_usd"].is_between(rows["low"] * rows["volume"], rows["high"] * rows["volume"]).all()


@BOTH
def test_a_coin_the_exchange_does_not_list_has_no_rows(source):
    with client(symbols="BTC,XRP") as http:
        assert source.fetch(DAY, http)["symbol"].unique().to_list() == ["BTC"]


@BOTH
def test_no_bar_of_any_coin_is_an_error(source):
    with client(symbols="XRP") as http, pytest.raises(NotPublishedYetError, match="XRP"):
        source.fetch(DAY, http)


@BOTH
def test_a_gap_is_no_error_and_the_rest_is_there(source):
    planted = venues.faults(market().randomness, source.provider, "ETH", NOW - timedelta(days=25), NOW).missing
    hour = next((h for h in sorted(planted) if NOW - timedelta(days=25) < h < NOW - timedelta(days=1)), None)
    day = (hour or NOW - timedelta(days=5)).date()
    with client(symbols="ETH") as http:
        rows = source.fetch(Window.of_days(day, day), http)
    assert rows.height == 24 - sum(h.date() == day for h in planted)


CASES = {
    "object for a list": (COINBASE, '{"message": "something"}', "something"),
    "row that is short": (COINBASE, "[[1728259200, 1.0]]", "'high'"),
    "price that is null": (COINBASE, "[[1728259200, 1.0, 2.0, null, 1.5, 3.0]]", "'open'"),
    "time in milliseconds": (COINBASE, "[[1728259200000, 1.0, 2.0, 1.0, 1.5, 3.0]]", "'ts'"),
    "page in HTML": (COINBASE, "<html>blocked</html>", "HTML"),
    "nothing asked for": (KRAKEN, '{"error": []}', "'result'"),
    "list for an object": (KRAKEN, "[1, 2]", "'result'"),
    "pair that is no list": (KRAKEN, '{"error": [], "result": {"XXBTZUSD": {}, "last": 1}}', "expected a list"),
    "price that is no number": (
        KRAKEN,
        '{"error": [], "result": {"XXBTZUSD": [[1728259200, "1", "x", "1", "1", "1", "1", 3]], "last": 1}}',
        "'high'",
    ),
    "refusal with HTTP 200": (KRAKEN, '{"error": ["EGeneral:Invalid arguments"]}', "EGeneral:Invalid arguments"),
}


@pytest.mark.parametrize("case", CASES)
def test_nasty_payloads_are_named(case: str):
    source, body, named = CASES[case]
    with client(application=answering(body), symbols="BTC") as http, pytest.raises(BadPayloadError) as caught:
        source.fetch(DAY, http)
    assert named in str(caught.value)
    assert str(caught.value).startswith(f"{source.provider}: ")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"error": ["EAPI:Rate limit exceeded"]}', RateLimitedError),
        ('{"error": ["EGeneral:Too many requests"]}', RateLimitedError),
        ('{"error": ["EService:Unavailable"]}', UnavailableError),
    ],
)
def test_krakens_errors_come_with_http_200(body: str, kind: type[SourceError], monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 2)
    with client(application=answering(body), symbols="BTC") as http, pytest.raises(kind):
        KRAKEN.fetch(DAY, http)


def test_coinbase_refuses_more_than_300_bars_and_that_is_said(monkeypatch):
    monkeypatch.setattr(coinbase_candles, "MOST_BARS", 400)
    window = Window.of_days(date(2024, 9, 10), date(2024, 10, 9))
    with client(symbols="BTC") as http, pytest.raises(BadPayloadError, match="exceeds 300"):
        COINBASE.fetch(window, http)


@BOTH
def test_the_open_bar_is_left_out(source):
    with client(symbols="BTC") as http:
        rows = source.fetch(Window.of_days(NOW.date(), NOW.date()), http)
    assert rows.filter(pl.col("available_at") > NOW).is_empty()
    assert rows.filter(pl.col("volume") == 0).is_empty()
