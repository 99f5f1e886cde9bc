"""A provider that misbehaves: recovery where it passes, the right error, naming provider and place, where it does not."""

from datetime import date

import pytest
from polars.testing import assert_frame_equal

from crypto_assets.market.errors import (
    BadPayloadError,
    NotPublishedYetError,
    RateLimitedError,
    SourceError,
    UnavailableError,
)
from crypto_assets.market.time import Window
from crypto_assets.sources import discover
from crypto_assets_tests.sources.loopback import NOW, client, truth

SOURCES = discover()
WINDOW = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))
TRANSIENT = ("429=0.02 every 3", "500 every 3", "500=503 first 2", "latency=0.5 first 1")
LASTING = {
    "500 always": UnavailableError,
    "429=900 always": RateLimitedError,
    "truncated always": BadPayloadError,
    "html always": BadPayloadError,
    "empty always": NotPublishedYetError,
    "latency=0.5 always": UnavailableError,
}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_passing_trouble_leaves_no_trace(fault: str):
    with client(faults=[f"*:{fault}"], timeout_s=0.4) as http:
        for source in SOURCES.values():
            assert_frame_equal(source.fetch(WINDOW, http), truth(source, WINDOW, NOW, http))


@pytest.mark.parametrize("fault", LASTING)
def test_lasting_trouble_has_its_name(fault: str, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 2)
    with client(faults=[f"*:{fault}"], timeout_s=0.2 if "latency" in fault else 10) as http:
        for source in SOURCES.values():
            expected = BadPayloadError if (source.name, fault) == ("news", "empty always") else LASTING[fault]
            with pytest.raises(SourceError) as caught:
                source.fetch(WINDOW, http)
            assert type(caught.value) is expected, f"{source.name}: {caught.value!r}"
            assert str(caught.value).startswith(f"{source.provider}: ")
            assert len(str(caught.value)) < 600


def test_the_pause_a_provider_asks_for_is_passed_on():
    with (
        client(faults=["alternative_me:429=900 always"]) as http,
        pytest.raises(RateLimitedError, match="wait 900 s") as caught,
    ):
        SOURCES["fear_greed"].fetch(WINDOW, http)
    assert caught.value.retry_after == 900
    assert len(http.seen) == 1


def test_a_page_that_comes_empty_once_is_asked_for_again():
    with client(faults=["binance_spot:empty every 3"]) as http:
        source = SOURCES["binance_candles"]
        assert_frame_equal(source.fetch(WINDOW, http), truth(source, WINDOW, NOW, http))
