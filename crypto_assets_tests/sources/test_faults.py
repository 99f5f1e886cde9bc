"""A provider that misbehaves: recovery where it passes, the right error, naming provider and place, where it does not."""

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
from crypto_assets.sources import Source, discover
from crypto_assets.sources._providers import provider
from crypto_assets_tests.sources.loopback import NOW, client, market, span, truth

SOURCES = discover()
TRANSIENT = ("429=0.02 every 3", "500 every 3", "500=503 first 2", "latency=1.2 first 1")
LASTING = {
    "500 always": UnavailableError,
    "429=900 always": RateLimitedError,
    "truncated always": BadPayloadError,
    "html always": BadPayloadError,
    "empty always": NotPublishedYetError,
    "latency=0.5 always": UnavailableError,
}


@pytest.fixture(scope="module", autouse=True)
def warm():
    """The path of the market is computed before anybody waits for an answer."""
    market().truth(NOW, NOW + HOUR)


def first_day(source: Source) -> Window:
    """The first day of the source's week, or the moment where one keeps no history."""
    whole = span(source)
    return whole if source.history.kind == "none" else Window.of_days(whole.days[0], whole.days[0])


TIERS = {
    "core": [s for s in SOURCES.values() if s.is_core],
    "more": [s for s in SOURCES.values() if not s.is_core],
}
by_tier = pytest.mark.parametrize("tier", ["core", pytest.param("more", marks=pytest.mark.slow)])


@by_tier
@pytest.mark.parametrize("fault", TRANSIENT)
def test_passing_trouble_leaves_no_trace(fault: str, tier: str):
    with client(faults=[f"*:{fault}"], timeout_s=1 if "latency" in fault else 10) as http:
        for source in TIERS[tier]:
            if "first 2" in fault and (provider(source.provider).attempts or 3) < 3:
                continue  # a provider with few calls a day is not asked a third time
            assert_frame_equal(source.fetch(first_day(source), http), truth(source, first_day(source), NOW, http))


@by_tier
@pytest.mark.parametrize("fault", LASTING)
def test_lasting_trouble_has_its_name(fault: str, tier: str, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 2)
    with client(faults=[f"*:{fault}"], timeout_s=0.2 if "latency" in fault else 10) as http:
        for source in TIERS[tier]:
            if fault == "empty always" and not source.is_core:
                continue  # nothing said, nothing voted, nothing searched for: no error
            expected = BadPayloadError if (source.name, fault) == ("news", "empty always") else LASTING[fault]
            with pytest.raises(SourceError) as caught:
                source.fetch(first_day(source), http)
            assert type(caught.value) is expected, f"{source.name}: {caught.value!r}"
            assert str(caught.value).startswith(f"{source.provider}: ")
            assert len(str(caught.value)) < 600


def test_the_pause_a_provider_asks_for_is_passed_on():
    with (
        client(faults=["alternative_me:429=900 always"]) as http,
        pytest.raises(RateLimitedError, match="wait 900 s") as caught,
    ):
        SOURCES["fear_greed"].fetch(first_day(SOURCES["fear_greed"]), http)
    assert caught.value.retry_after == 900
    assert len(http.seen) == 1


def test_a_page_that_comes_empty_once_is_asked_for_again():
    with client(faults=["binance_spot:empty every 3"]) as http:
        source = SOURCES["binance_candles"]
        assert_frame_equal(source.fetch(first_day(source), http), truth(source, first_day(source), NOW, http))
