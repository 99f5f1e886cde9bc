"""What runs beside the requests: an hour closes, another champion comes, a bad one comes; and the way back from an answer."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import websockets

from crypto_assets.evaluation.model_registry import CHAMPION, MODEL, ModelRegistry
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.serving.answers import moment
from crypto_assets.serving.batching import Batcher
from crypto_assets.serving.security import Limiter
from crypto_assets.serving.tracing import reach, trace
from crypto_assets_tests.serving.conftest import AT, NOW, bundle, served


def test_a_closed_hour_is_told_to_who_listens(own):
    async def listen(url: str) -> tuple[dict, dict]:
        async with websockets.connect(url.replace("http", "ws") + "/ws/predictions") as socket:
            before = json.loads(await socket.recv())
            hot = own.hot()
            own.close_hour(hot, AT + HOUR)
            hot.close()
            return before, json.loads(await asyncio.wait_for(socket.recv(), 60))

    with served(own.service(NOW + HOUR)) as url:
        before, after = asyncio.run(listen(url))
        assert (before["at"], after["at"]) == (moment(AT), moment(AT + HOUR))
        assert httpx.post(f"{url}/predict", json={"symbol": "BTC"}).json()["timestamp"] == moment(AT + HOUR)
        past = httpx.get(f"{url}/history", params={"symbol": "BTC"}).json()["predictions"]
        assert [p["timestamp"] for p in past] == [moment(AT), moment(AT + HOUR)]


def test_another_champion_takes_over_and_no_request_is_dropped_and_a_damaged_one_does_not(own):
    registry = ModelRegistry(own.settings)
    second = registry.register(bundle(own.panel, seed=1, members=("logistic", "har_x")))
    third = registry.register(bundle(own.panel, seed=2, members=("logistic",)))
    header = Path(urlsplit(third.source).path) / "bundle.json"
    header.write_text(header.read_text().replace(third.bundle, "f" * 16))
    with served(own.service()) as url:
        answers, stop = [], threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=30) as client:
                row = client.get("/features", params={"symbol": "ETH"}).json()["features"]
                while not stop.is_set():
                    answers.append(client.post("/predict", json={"symbol": "ETH"}))
                    answers.append(client.post("/predict", json={"symbol": "ETH", "features": row}))

        asking = threading.Thread(target=ask)
        asking.start()
        registry.promote(second.number)
        _until(lambda: httpx.get(f"{url}/model").json()["number"] == second.number)
        registry.promote(third.number)
        _until(lambda: httpx.get(f"{url}/health").json()["problem"])
        time.sleep(0.2)
        stop.set()
        asking.join()
        assert {a.status_code for a in answers} == {200}
        assert {a.json()["model_number"] for a in answers} == {1, second.number}
        assert "the one before goes on" in httpx.get(f"{url}/health").json()["problem"]
        assert "crypto_assets_serve_swaps_total 1.0" in httpx.get(f"{url}/metrics").text
        registry.rollback()
        _until(lambda: not httpx.get(f"{url}/health").json()["problem"])


def test_without_a_champion_it_waits_and_says_so(own):
    ModelRegistry(own.settings).client.delete_registered_model_alias(MODEL, CHAMPION)
    with served(own.service()) as url:
        assert httpx.get(f"{url}/ready").status_code == 503
        assert "no champion is registered" in httpx.get(f"{url}/health").json()["problem"]
        assert httpx.post(f"{url}/predict", json={"symbol": "BTC"}).json()["error"] == "stale"


def test_an_answer_leads_back_to_rows_fits_and_code(own):
    with served(own.service()) as url:
        answer = httpx.post(f"{url}/predict", json={"symbol": "SOL", "timeframe": "4h"}).json()
        row = httpx.get(f"{url}/features", params={"symbol": "SOL"}).json()["features"]
        sent = httpx.post(f"{url}/predict", json={"symbol": "SOL", "features": row}).json()
    found = trace(own.settings, answer["prediction_id"][:10])
    assert found["prediction"] == answer
    tables = {t["table"]: t for t in found["raw"]}
    bars = tables["raw/binance_perp_candles"]
    assert bars["newest_rows"][-1]["ts"] == (AT - HOUR).isoformat()
    assert bars["newest_rows"][-1]["close"] == pytest.approx(answer["price"], rel=1e-5)
    assert all((own.lake.root / file).exists() for t in tables.values() for file in t["partitions"])
    registered = ModelRegistry(own.settings).load()
    assert found["bundle"]["version"] == answer["model_version"] == registered.version
    assert {n: f["version"] for n, f in found["bundle"]["fits"].items()} == registered.versions
    assert found["bundle"]["lineage"]["revision"] == "seed 0"
    assert trace(own.settings, sent["prediction_id"])["features"]["row"] == row
    with pytest.raises(SettingsError, match="no single prediction"):
        trace(own.settings, "nothing")


def test_reach_adds_up_through_the_tables_between():
    far = reach()
    assert far["raw/coinmetrics_onchain"] >= 390 * DAY
    assert far["raw/binance_perp_candles"] >= 99 * DAY
    assert all(back >= timedelta(hours=2) for back in far.values())


def test_questions_that_wait_are_answered_together_and_each_gets_its_own_answer():
    sizes = []

    def answer(questions):
        sizes.append(len(questions))
        time.sleep(0.02)
        return [ValueError(q) if q < 0 else q * q for q in questions]

    async def run():
        batcher = Batcher(answer, most=8)
        found = await asyncio.gather(*(batcher.ask(q) for q in [3, -1, *range(20)]), return_exceptions=True)
        batcher.close()
        return found

    found = asyncio.run(run())
    assert found[0] == 9
    assert isinstance(found[1], ValueError)
    assert found[2:] == [q * q for q in range(20)]
    assert max(sizes) == 8


def test_a_bucket_refills_at_its_rate_and_forgets_nobody_it_owes():
    now = [0.0]
    limiter = Limiter(rate=2, burst=4, clock=lambda: now[0])
    assert [limiter.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert limiter.wait("b") == 0
    now[0] = 0.5
    assert limiter.wait("a") == 0
    assert limiter.wait("a") == pytest.approx(0.5)


def _until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.05)
