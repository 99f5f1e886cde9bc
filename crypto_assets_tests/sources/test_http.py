"""The client: secrets, memory, concurrency, worlds, pace."""

import logging
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from crypto_assets.market.errors import AuthFailedError, BadPayloadError, SettingsError, SourceError, UnavailableError
from crypto_assets.market.time import Window
from crypto_assets.settings import load
from crypto_assets.sources import discover
from crypto_assets.sources._errors import retry_after
from crypto_assets.sources._http import Http
from crypto_assets.sources._providers import PROVIDERS, Bucket, Provider, base_of, provide
from crypto_assets_tests.sources.loopback import Clock, client

SECRET = "s3cr3t-of-the-paid-plan"
DAY = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))


def echo(status: int, as_page: bool = False) -> Starlette:
    """A server that repeats the whole address in its answer, as some do."""

    async def endpoint(request):
        text = str(request.url)
        return PlainTextResponse(f"<html>{text}</html>" if as_page else f"not for {text}", status)

    return Starlette(routes=[Route("/{rest:path}", endpoint)])


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        (echo(401), AuthFailedError),
        (echo(400), BadPayloadError),
        (echo(200, as_page=True), BadPayloadError),
        (echo(200), BadPayloadError),
    ],
)
def test_a_key_never_appears_in_an_error_or_a_log(application, expected, caplog):
    caplog.set_level(logging.DEBUG)
    with client(application=application, coinmetrics_key=SECRET) as http, pytest.raises(expected) as caught:
        discover()["coinmetrics_onchain"].fetch(DAY, http)
    assert any(f"api_key={SECRET}" in query for _, query in http.seen)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.__cause__!r} {caplog.text} {http.settings!r}"


def test_a_key_never_appears_when_nobody_answers(caplog):
    settings = load(world="sandbox", sandbox_url="http://127.0.0.1:9", coinmetrics_key=SECRET)
    expected = pytest.raises(UnavailableError, match="crypto-assets sandbox")
    with Http.of(settings, Clock(DAY.end)) as http, expected as caught:
        discover()["coinmetrics_onchain"].fetch(DAY, http)
    assert SECRET not in f"{caught.value!r} {caplog.text}"


def test_the_key_chooses_the_paid_host_in_world_live():
    keyless, keyed = load(world="live"), load(world="live", coinmetrics_key=SECRET)
    assert base_of(PROVIDERS["coinmetrics"], keyless) == "https://community-api.coinmetrics.io"
    assert base_of(PROVIDERS["coinmetrics"], keyed) == "https://api.coinmetrics.io"


def test_world_archive_asks_nobody():
    with Http.of(load(world="archive")) as http, pytest.raises(SettingsError, match="archive"):
        http.get_json("defillama", "/v2/chains")


def test_an_unknown_provider_is_named():
    with Http.of(load(world="live")) as http, pytest.raises(SettingsError, match="unknown provider 'nobody'"):
        http.get_bytes("nobody", "/")


def test_a_key_cannot_mean_two_providers():
    with pytest.raises(SettingsError, match="already"):
        provide(Provider("cboe", "https://elsewhere.example", 1, 1))


def test_whole_histories_are_fetched_once_for_many_windows():
    with client() as http:
        for day in range(1, 11):
            for name in ("fear_greed", "cboe_vix", "treasury_10y", "defillama_tvl"):
                discover()[name].fetch(Window.of_days(date(2024, 10, day), date(2024, 10, day)), http)
    assert len(http.seen) == 1 + 1 + 1 + 5


def test_a_body_older_than_allowed_is_fetched_again():
    with client() as http:
        for _ in range(3):
            http.get_text("cboe", "/api/global/us_indices/daily_prices/VIX_History.csv", max_age=timedelta(0))
    assert len(http.seen) == 3


@pytest.mark.parametrize(("later", "asked"), [(timedelta(minutes=9), 1), (timedelta(hours=1), 2), (timedelta(hours=-1), 2)])
def test_the_age_of_a_body_is_told_by_the_time_of_the_world(later, asked):
    """A replay lives through an hour in a second: what was published in it is not hidden by an answer kept for ten minutes."""
    clock = Clock(DAY.end)
    with client(clock) as http:
        discover()["fear_greed"].fetch(DAY, http)
        with clock.at(DAY.end + later):
            discover()["fear_greed"].fetch(DAY, http)
    assert len(http.seen) == asked


def test_many_bodies_come_in_order_and_missing_ones_as_none():
    async def endpoint(request):
        number = int(request.path_params["n"])
        return Response(status_code=404) if number % 7 == 3 else JSONResponse(number)

    application = Starlette(routes=[Route("/gdelt_bulk/{n}", endpoint)])
    with client(application=application) as http:
        bodies = list(http.get_many_bytes("gdelt_bulk", [f"/{n}" for n in range(60)]))
    assert bodies == [None if n % 7 == 3 else str(n).encode() for n in range(60)]


def test_the_clock_of_the_sandbox_is_its_servers():
    long_ago = datetime(2024, 3, 1, 5, tzinfo=UTC)
    with client(Clock(long_ago)) as http, Http.of(http.settings) as other:
        assert abs(other.now() - long_ago) < timedelta(seconds=30)


def test_ccxt_asks_no_other_host_than_the_worlds():
    with client() as http:
        for name in ("binance_spot", "binance_futures"):
            addresses = [u for u in http.exchange(name).urls["api"].values() if isinstance(u, str)]
            assert addresses
            assert all(u.startswith(f"{http.settings.sandbox_url}/{name}/") for u in addresses)


def test_ccxts_unified_methods_work_too():
    with client() as http:
        spot, perp = http.exchange("binance_spot"), http.exchange("binance_futures")
        assert "BTC/USDT" in spot.load_markets()
        assert "ETH/USDT:USDT" in perp.load_markets()
        assert len(spot.fetch_ohlcv("BTC/USDT", "1h", limit=24)) == 24


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"x-ratelimit-reset": "3"}, 3.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_pause_is_read_from_the_headers(headers, seconds):
    assert retry_after(headers) == seconds


def test_the_bucket_keeps_the_pace():
    bucket = Bucket(rate=100, per=1)
    start = time.monotonic()
    for _ in range(30):
        bucket.take()
    assert 0.18 < time.monotonic() - start < 2  # 30 calls, 10 of them at once


def test_finding_the_sources_imports_no_client():
    code = "import sys; from crypto_assets.sources import discover; discover(); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ccxt", "httpx", "stamina", "pandera", "dagster"} & set(found)


def test_errors_are_of_one_family():
    assert issubclass(UnavailableError, SourceError)
