"""The sandbox's time: standing, real, fast, and put where a test wants it, for every endpoint at once."""

import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.sandbox.clock import Clock
from crypto_assets.sandbox.server import app, running, serving
from crypto_assets_tests.sandbox.sockets import sandbox
from crypto_assets_tests.sources.loopback import market

AT = datetime(2024, 10, 20, 12, 0, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)


def test_without_a_start_it_is_the_real_time():
    assert abs(Clock()() - datetime.now(UTC)) < timedelta(seconds=1)


def test_with_a_start_it_stands_until_it_is_given_a_speed():
    clock = Clock(AT)
    assert (clock(), clock(), clock.speed) == (AT, AT, 0.0)
    clock.set(advance_s=90)
    assert clock() == AT + timedelta(seconds=90)
    began = time.time()
    clock.set(now=AT, speed=3600.0)
    time.sleep(0.05)
    took = (clock() - AT).total_seconds() / 3600
    assert 0.05 <= took <= time.time() - began


def test_a_new_speed_goes_on_from_where_it_is():
    clock = Clock(AT, 1000.0)
    clock.set(speed=0.0)
    stopped = clock()
    assert clock() == stopped >= AT


@pytest.mark.parametrize(
    "wrong", [{"now": AT.replace(tzinfo=None)}, {"speed": -1.0}, {"speed": float("nan")}, {"advance_s": -5.0}]
)
def test_what_is_no_time_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Clock(AT).set(**wrong)


def test_every_endpoint_follows_the_clock():
    with sandbox(AT) as server:

        def seen():
            spot = server.get("/binance_spot/api/v3/time")["serverTime"]
            bar = server.get("/binance_futures/fapi/v1/klines", symbol="BTCUSDT", interval="1h", limit=1)[0][0]
            point = server.get("/defillama/v2/historicalChainTvl")[-1]["date"]
            return spot, bar, datetime.fromtimestamp(point, UTC).date()

        assert seen() == (MS, MS - 3_600_000, AT.date())  # at noon sharp no trade of the new bar has happened
        answer = httpx.post(f"{server.url}/clock", json={"advance_s": 86_400.0}, trust_env=False).json()
        assert answer == {"now": (AT + timedelta(days=1)).isoformat(), "speed": 0.0}
        assert seen() == (MS + 86_400_000, MS + 82_800_000, AT.date() + timedelta(days=1))
        httpx.post(f"{server.url}/clock", json={"now": "2024-10-20T12:00:00Z", "speed": 2}, trust_env=False)
        health = server.get("/health")
        assert health["speed"] == 2.0
        assert AT.isoformat() <= health["now"] < (AT + timedelta(seconds=60)).isoformat()


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"time": 1}', '{"now": "noon"}', '{"speed": "fast"}', '{"now": "2024-01-01"}']
)
def test_a_wrong_request_says_so_and_changes_nothing(body):
    with sandbox(AT) as server:
        answer = httpx.post(f"{server.url}/clock", content=body, trust_env=False)
        assert answer.status_code == 400
        assert "clock" in answer.json()["error"]
        assert server.clock() == AT


def test_a_clock_that_belongs_to_the_caller_cannot_be_set():
    with serving(app(market(), lambda: AT)) as url:
        answer = httpx.post(f"{url}/clock", json={"speed": 1}, trust_env=False)
        assert (answer.status_code, "--speed" in answer.json()["error"]) == (400, True)


def test_a_process_runs_at_its_speed():
    with running("null", 3, at=AT, speed=3600.0) as url:
        first, second = (httpx.get(f"{url}/health", trust_env=False).json() for _ in range(2))
    assert first["speed"] == 3600.0
    assert AT < datetime.fromisoformat(first["now"]) < datetime.fromisoformat(second["now"])
