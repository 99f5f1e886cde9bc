"""CoinGecko: the day a stamp belongs to, the 365-day wall, three shapes of an error, the key, snapshots."""

from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    NotPublishedYetError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
)
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _coingecko, coingecko_categories, coingecko_global, coingecko_market
from crypto_assets.sources._http import Http
from crypto_assets_tests.sources.loopback import NOW, Clock, client, market
from crypto_assets_tests.sources.test_payloads import answering

MARKET, GLOBAL, CATEGORIES = coingecko_market.SOURCE, coingecko_global.SOURCE, coingecko_categories.SOURCE
ONE = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))
MIDNIGHT_MS = 1728345600000
"""2024-10-08 00:00, the close of the 7th."""


def chart(points: str, caps: str = "[]", volumes: str = "[]") -> str:
    return f'{{"prices":{points},"market_caps":{caps},"total_volumes":{volumes}}}'


def test_the_point_of_midnight_is_the_close_of_the_day_before():
    body = chart(f"[[{MIDNIGHT_MS - 86_400_000}, 1.0], [{MIDNIGHT_MS}, 2.0], [{MIDNIGHT_MS + 1_234_000}, 3.0]]")
    with client(application=answering(body), symbols="BTC") as http:
        rows = MARKET.fetch(ONE, http)
    assert rows.select("ts", "price_usd", "market_cap_usd", "circulating_supply").rows() == [(ONE.start, 2.0, None, None)]
    assert rows["available_at"].to_list() == [datetime(2024, 10, 8, 0, 45, tzinfo=UTC)]


def test_the_sandboxs_price_is_the_last_close_of_the_day():
    with client(symbols="BTC") as http:
        price = MARKET.fetch(ONE, http)["price_usd"][0]
    close = market().candles("BTC", "perp", ONE.start, ONE.end)["close"][-1]
    assert price == pytest.approx(close, rel=1e-6)


def test_a_day_is_not_known_before_it_is_published():
    clock = Clock(datetime(2024, 10, 8, 0, 44, tzinfo=UTC))
    with client(clock, symbols="BTC") as http:
        assert MARKET.fetch(ONE, http).is_empty()
        with clock.at(clock.now + timedelta(minutes=1)), Http.of(http.settings, clock) as fresh:
            assert MARKET.fetch(ONE, fresh).height == 1


def test_no_day_before_the_wall_is_asked_for():
    with client(symbols="BTC") as http:
        rows = MARKET.fetch(Window.of_days(date(2023, 10, 1), date(2023, 11, 5)), http)
        assert rows["ts"].min() > NOW - 366 * DAY
        with pytest.raises(PlanRestrictedError, match="10012"):
            _coingecko.ask(http, "/coins/bitcoin/market_chart/range", asked(NOW - 400 * DAY))


def asked(start: datetime) -> dict[str, object]:
    return {"vs_currency": "usd", "interval": "daily", "from": int(start.timestamp()), "to": int(NOW.timestamp())}


ERRORS = {
    "text": ('{"error":"coin not found"}', BadPayloadError),
    "status": ('{"status":{"error_code":429,"error_message":"too many"}}', RateLimitedError),
    "nested": ('{"error":{"status":{"error_code":10005,"error_message":"plan"}}}', PlanRestrictedError),
    "no key": ('{"error":{"status":{"error_code":10002,"error_message":"API key missing"}}}', AuthFailedError),
    "wrong host": ('{"status":{"error_code":10010,"error_message":"use the other host"}}', AuthFailedError),
    "unknown code": ('{"status":{"error_code":1,"error_message":"?"}}', BadPayloadError),
    "empty series": (chart("[]"), NotPublishedYetError),
    "series missing": ('{"prices":[]}', BadPayloadError),
    "price that is text": (chart(f'[[{MIDNIGHT_MS},"x"]]'), BadPayloadError),
    "stamp in seconds": (chart("[[1728345600, 1.0]]"), BadPayloadError),
    "a page": ("<html></html>", BadPayloadError),
}


@pytest.mark.parametrize("case", ERRORS)
def test_every_shape_of_an_error_has_its_class(case: str):
    body, kind = ERRORS[case]
    with client(application=answering(body), symbols="BTC") as http, pytest.raises(kind) as caught:
        MARKET.fetch(ONE, http)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("coingecko: ")


def test_a_401_with_another_code_is_about_the_key():
    body = '{"status":{"error_code":10002,"error_message":"API key missing"}}'
    with client(application=answering(body, 401), symbols="BTC") as http, pytest.raises(AuthFailedError):
        MARKET.fetch(ONE, http)


def test_the_key_travels_in_a_header_alone():
    seen = []

    async def endpoint(request):
        seen.append((str(request.url), request.headers.get("x-cg-demo-api-key")))
        return Response('{"error":"refused for CG-secret-1"}', 403, media_type="application/json")

    refusing = Starlette(routes=[Route("/{rest:path}", endpoint)])
    with client(application=refusing, symbols="BTC", coingecko_key="CG-secret-1") as http, pytest.raises(SourceError) as caught:
        MARKET.fetch(ONE, http)
    assert seen[0][1] == "CG-secret-1"
    assert "CG-secret-1" not in seen[0][0]
    assert "CG-secret-1" not in str(caught.value)


@pytest.mark.parametrize("source", [GLOBAL, CATEGORIES], ids=["global", "categories"])
def test_a_snapshot_is_of_now_and_of_no_other_time(source):
    with client() as http:
        assert source.fetch(ONE, http).is_empty()
        assert http.seen == []
        rows = source.fetch(Window.of_days(NOW.date(), NOW.date()), http)
    assert rows["ts"].unique().to_list() == [NOW.replace(second=0)]


def test_shares_of_the_market_are_per_cent():
    with client() as http:
        row = GLOBAL.fetch(Window.of_days(NOW.date(), NOW.date()), http).row(0, named=True)
        sectors = CATEGORIES.fetch(Window.of_days(NOW.date(), NOW.date()), http)
    assert 10 < row["btc_dominance_pct"] < 90
    assert 1 < row["eth_dominance_pct"] < 60
    assert sectors["category"].is_unique().all()
    assert sectors["market_cap_usd"].null_count() == 0
    assert sectors["change_24h_pct"].abs().max() < 50


@pytest.mark.parametrize(
    "body", ['{"data":[]}', '{"data":{"total_market_cap":{"usd":1}}}', '{"data":{"total_market_cap":3}}', "[]"]
)
def test_a_snapshot_of_another_shape_is_named(body: str):
    with client(application=answering(body)) as http, pytest.raises(BadPayloadError, match="coingecko: /global"):
        GLOBAL.fetch(Window.of_days(NOW.date(), NOW.date()), http)
