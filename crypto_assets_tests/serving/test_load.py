"""The claims of `benchmarks/serving.py` for seconds instead of minutes: nothing is lost. How fast, only the benchmark says."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
import websockets
from pydantic import SecretStr

from crypto_assets.evaluation.model_registry import ModelRegistry
from crypto_assets.market.time import HOUR
from crypto_assets.serving.answers import moment
from crypto_assets_tests.lake.test_hot import free_port, serving_redis
from crypto_assets_tests.serving.conftest import AT, NOW, SYMBOLS, World, bundle, served

pytestmark = pytest.mark.slow
CLIENTS, RATE, SECONDS, DEADLINE_S = 10, 50, 5.0, 120.0


async def asking(url: str, client: int, done: asyncio.Event) -> list[httpx.Response]:
    """One client: at its fixed times, late or not, until it is done; every other question brings a row."""
    answers = []
    async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as http:
        row = (await http.get("/features", params={"symbol": "ETH"})).json()["features"]
        began = time.monotonic()
        while not done.is_set():
            body: dict[str, Any] = {"symbol": SYMBOLS[client % len(SYMBOLS)], "timeframe": "4h"}
            if len(answers) % 2:
                body = {"symbol": "ETH", "features": row}
            answers.append(await http.post("/predict", json=body))
            await asyncio.sleep(max(0.0, began + len(answers) * CLIENTS / RATE - time.monotonic()))
    return answers


async def lived(url: str, own: World, second: int) -> list[list[httpx.Response]]:
    """Load for `SECONDS` at least, and until another champion has taken over and an hour has closed under it."""
    done, began = asyncio.Event(), time.monotonic()
    clients = [asyncio.create_task(asking(url, k, done)) for k in range(CLIENTS)]
    async with (
        httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as http,
        websockets.connect(url.replace("http", "ws") + "/ws/predictions") as socket,
    ):
        await asyncio.sleep(1)
        await asyncio.to_thread(ModelRegistry(own.settings).promote, second)
        while (await http.get("/model")).json()["number"] != second:
            assert time.monotonic() - began < DEADLINE_S, "the other champion was not taken"
            await asyncio.sleep(0.1)
        hot = own.hot()
        await asyncio.to_thread(own.close_hour, hot, AT + HOUR)
        hot.close()
        while json.loads(await asyncio.wait_for(socket.recv(), DEADLINE_S)).get("at") != moment(AT + HOUR):
            assert time.monotonic() - began < DEADLINE_S, "the closed hour was not served"
        await asyncio.sleep(max(1.0, began + SECONDS - time.monotonic()))
        done.set()
    return await asyncio.gather(*clients)


def test_nothing_is_lost_while_the_champion_is_swapped_and_an_hour_closes(own):
    second = ModelRegistry(own.settings).register(bundle(own.panel, seed=1, members=("logistic", "har_x"))).number
    with served(own.service(NOW + HOUR)) as url:
        each = asyncio.run(lived(url, own, second))
    assert {a.status_code for answers in each for a in answers} == {200}
    for answers in each:
        said = [a.json() for a in answers]
        states = [(s["timestamp"], s["model_number"]) for s in said]
        assert all(a <= b for a, b in pairwise(states)), "nobody is taken back to an hour or a champion before"
        assert (states[0], states[-1]) == ((moment(AT), 1), (moment(AT + HOUR), second))
        assert all(s["is_custom"] == bool(i % 2) for i, s in enumerate(said))


def test_a_server_on_redis_answers_as_one_on_the_file_and_follows_it(own, url, tmp_path_factory):
    with serving_redis(tmp_path_factory.mktemp("redis"), free_port()) as where:
        other = replace(own, settings=own.settings.model_copy(update={"redis_url": SecretStr(where)}))
        hot = other.hot()
        other.close_hour(hot, AT)
        with served(other.service(NOW + HOUR)) as there:
            for timeframe in ("1h", "4h", "24h"):
                asked = {"params": {"timeframe": timeframe}, "timeout": 60}
                one, two = (httpx.get(f"{u}/predictions", **asked).json() for u in (url, there))
                assert one["predictions"] == two["predictions"]
            other.close_hour(hot, AT + HOUR)
            late = time.monotonic() + DEADLINE_S
            while httpx.get(f"{there}/ready", timeout=60).json()["at"] != moment(AT + HOUR):
                assert time.monotonic() < late, "the hour that closed in Redis was not served"
                time.sleep(0.1)
        hot.close()
