"""The interface as a client sees it, over a real socket: answers, refusals, keys, limits, the page's headers."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import websockets

from crypto_assets.evaluation import champion
from crypto_assets.evaluation.fusing import fuse_hour, fusion_at
from crypto_assets.evaluation.model_registry import ModelRegistry
from crypto_assets.evaluation.open_days import OpenDays
from crypto_assets.lake import Lake
from crypto_assets.market.time import HOUR, Window
from crypto_assets.monitoring.state import TRIGGER
from crypto_assets.serving import records, schemas
from crypto_assets.serving.answers import LEVELS, moment
from crypto_assets.serving.metrics import Metrics
from crypto_assets.serving.security import BODY_BYTES, Keys, Limiter, add_key, digest_of
from crypto_assets.sources.stream.stats import Stats
from crypto_assets.sources.stream.stats import serve as serve_stats
from crypto_assets_tests.serving.conftest import AT, FEW, NOW, SYMBOLS, World, served

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "crypto_assets.json"


@pytest.fixture(scope="module")
def ask(url):
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_an_answer_is_the_champions_forecast_of_the_closed_hour(ask, world):
    hot = world.hot()
    panel = OpenDays(world.lake, hot, SYMBOLS, families=FEW, at_once=1).panel(AT)
    hot.close()
    bundle = ModelRegistry(world.settings).load()
    members = champion.predict(bundle, panel, Window(AT, AT + HOUR)).members
    fusion = fusion_at(world.lake, SYMBOLS, AT, bundle.versions)
    fused = fuse_hour(fusion, world.lake, panel, members, bundle.versions, AT, AT)
    expected = {(row["symbol"], row["horizon"]): row for row in fused.to_dicts()}
    for symbol in SYMBOLS:
        for timeframe in ("1h", "4h", "24h"):
            found = ask.post("/predict", json={"symbol": symbol, "timeframe": timeframe}).json()
            assert schemas.Prediction.model_validate(found)
            row = expected[symbol, timeframe]
            for name in ("p_up", "aleatoric", "epistemic", "confidence", "realised_var", "p_beats_median"):
                assert found[name] == (None if row[name] is None else pytest.approx(row[name], rel=1e-5, abs=1e-9)), name
            assert found["timestamp"] == moment(AT)
            assert found["model_version"] == bundle.version
            assert [i["level"] for i in found["intervals"]] == list(LEVELS)
            assert found["prediction"] in ("BUY", "SELL", "HOLD")
            assert sum(m["weight"] for m in found["members"]) == pytest.approx(1)


def test_the_row_that_is_there_gives_the_answer_that_is_there(ask):
    row = ask.get("/features", params={"symbol": "SOL"}).json()["features"]
    plain = ask.post("/predict", json={"symbol": "SOL", "timeframe": "24h"}).json()
    sent = ask.post("/predict", json={"symbol": "SOL", "timeframe": "24h", "features": row}).json()
    differing = {k for k in plain if plain[k] != sent[k]}
    assert differing == {"prediction_id", "is_custom"}
    moved = {**row, **{k: (v or 0) + 3 for k, v in row.items() if k != "return_1h"}}
    other = ask.post("/predict", json={"symbol": "SOL", "timeframe": "24h", "features": moved}).json()
    assert other["p_up"] != plain["p_up"]


def test_many_at_once_are_answered_in_order_and_all_coins_by_one_get(ask):
    asked = [{"symbol": s, "timeframe": t} for s in ("ETH", "BTC") for t in ("4h", "1h")]
    found = ask.post("/predictions", json={"requests": asked}).json()
    assert [(f["symbol"], f["timeframe"]) for f in found] == [(a["symbol"], a["timeframe"]) for a in asked]
    everything = ask.get("/predictions").json()
    assert schemas.Predictions.model_validate(everything)
    assert len(everything["predictions"]) == 3 * len(SYMBOLS)
    assert {p["symbol"] for p in ask.get("/predictions", params={"timeframe": "1h"}).json()["predictions"]} == set(SYMBOLS)


@pytest.mark.parametrize("name", ["BTC", "btc", "BTCUSDT", "bitcoin", "BTC/USDT:USDT"])
def test_a_coin_may_be_asked_for_by_any_of_its_names(ask, name):
    assert ask.post("/predict", json={"symbol": name}).json()["symbol"] == "BTC"


REFUSED = [
    ("POST", "/predict", {"symbol": "BTX"}, 404, "unknown_symbol"),
    ("POST", "/predict", {"symbol": "DOGE"}, 404, "unknown_symbol"),
    ("POST", "/predict", {"symbol": "BTC", "timeframe": "2h"}, 422, "malformed"),
    ("POST", "/predict", {"symbol": 5}, 422, "malformed"),
    ("POST", "/predict", {}, 422, "malformed"),
    ("POST", "/predict", {"symbol": "BTC", "extra": 1}, 422, "malformed"),
    ("POST", "/predict", {"symbol": "BTC", "features": {"macro.vix": 1}}, 422, "malformed"),
    ("POST", "/predict", {"symbol": "BTC", "features": {"a": "text"}}, 422, "malformed"),
    ("POST", "/predictions", {"requests": []}, 422, "malformed"),
    ("GET", "/history?symbol=NOPE", None, 404, "unknown_symbol"),
    ("GET", "/history?symbol=BTC&limit=0", None, 422, "malformed"),
    ("GET", "/predictions/abcdef0123", None, 404, "refused"),
    ("GET", "/predictions/nothing", None, 422, "malformed"),
    ("GET", "/nowhere", None, 404, "refused"),
    ("DELETE", "/predict", None, 405, "refused"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "error"), REFUSED)
def test_a_refusal_says_what_is_wrong_and_nothing_of_the_inside(ask, method, path, body, status, error):
    found = ask.request(method, path, json=body)
    assert (found.status_code, found.json()["error"]) == (status, error)
    assert "Traceback" not in found.text
    assert str(found.json()["message"])


def test_near_names_are_offered_and_missing_columns_named(ask):
    assert ask.post("/predict", json={"symbol": "BTX"}).json()["near"] == ["BTC"]
    said = ask.post("/predict", json={"symbol": "BTC", "features": {"macro.vox": 1}}).json()["message"]
    assert "macro.vox" in said
    assert "missing" in said
    assert ask.post("/predict", content=b"{", headers={"content-type": "application/json"}).status_code == 422
    assert ask.post("/predict", content=b'{"symbol":"BTC","features":{"a":NaN}}').status_code == 422


def test_a_prediction_is_kept_and_the_same_question_is_the_same_record(ask, world):
    first, second = (ask.post("/predict", json={"symbol": "ADA"}).json() for _ in range(2))
    assert first == second
    kept = ask.get(f"/predictions/{first['prediction_id']}").json()
    assert kept.pop("served_at")
    assert kept == first
    row = ask.get("/features", params={"symbol": "ADA"}).json()["features"]
    sent = ask.post("/predict", json={"symbol": "ADA", "features": row}).json()
    for _ in range(50):
        found = records.find(world.lake.root, sent["prediction_id"])
        if found is not None:
            break
    assert found is not None
    assert found["features"] == row
    history = ask.get("/history", params={"symbol": "ADA"}).json()
    assert schemas.History.model_validate(history)
    assert [p["prediction_id"] for p in history["predictions"]] == [first["prediction_id"]]


def test_what_it_says_about_itself(ask, world):
    assert ask.get("/supported_coins").json() == {"symbols": list(SYMBOLS), "timeframes": ["1h", "4h", "24h"]}
    about = ask.get("/model").json()
    assert schemas.ModelInfo.model_validate(about)
    assert about["number"] == 1
    assert set(about["engines"]) == set(about["members"]) == set(ModelRegistry(world.settings).load().members)
    assert ask.get("/health").json()["status"] == "ok"
    assert ask.get("/ready").json()["age_seconds"] == (NOW - AT).total_seconds()
    text = ask.get("/metrics").text
    assert f"crypto_assets_serve_data_age_seconds {(NOW - AT).total_seconds()}" in text
    assert 'crypto_assets_serve_requests_total{path="/model",status="200"}' in text


def test_every_metric_of_the_dashboard_is_at_the_server_or_at_the_stream(ask):
    """As Prometheus finds them: names in what a running server and the stream's port say."""
    stats = Stats()
    port, stop = serve_stats(stats, 0)
    try:
        said = ask.get("/metrics").text + httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    finally:
        stop()
    there = set(re.findall(r"^# TYPE (\S+)", said, re.MULTILINE))
    shown = set(
        re.findall(r"crypto_assets_\w+", json.dumps([p["targets"] for p in json.loads(DASHBOARD.read_text())["panels"]]))
    )
    assert len(shown) > 20
    assert {name for name in shown if name.removesuffix("_bucket") not in there} == set()


def test_monitoring_that_cannot_be_read_is_said_and_the_rest_of_the_metrics_stands(tmp_path):
    (tmp_path / TRIGGER).parent.mkdir()
    (tmp_path / TRIGGER).write_text("{")
    said = Metrics(Lake(tmp_path)).text().decode()
    assert "crypto_assets_serve_swaps_total 0.0" in said
    assert "# monitoring: " in said
    assert "run the job `monitor` again" in said


def test_the_document_has_every_route_with_an_example(ask):
    document = ask.get("/openapi.json").json()
    paths = {"/predict", "/predictions", "/history", "/model", "/health", "/ready", "/metrics", "/supported_coins", "/features"}
    assert paths <= set(document["paths"])
    assert document["components"]["schemas"]["Prediction"]["examples"]
    assert {"404", "422", "503"} <= set(document["paths"]["/predict"]["post"]["responses"])


def test_the_page_allows_its_own_script_alone_and_other_sites_nothing(ask, url):
    page = ask.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in page.text.replace("http://www.w3.org", "").replace("https:' ? 'wss", "").replace("http-equiv", "")
    assert "access-control-allow-origin" not in ask.get("/predictions", headers={"origin": "https://elsewhere"}).headers
    assert ask.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_old_data_is_refused_with_its_age(world):
    with served(world.service(AT + timedelta(hours=3))) as url, httpx.Client(base_url=url) as client:
        for found in (client.post("/predict", json={"symbol": "BTC"}), client.get("/predictions"), client.get("/ready")):
            assert (found.status_code, found.json()["error"]) == (503, "stale")
            assert found.json()["age_seconds"] == 3 * 3600
            assert "3.0 hours ago" in found.json()["message"]
        assert client.get("/health").status_code == 200


def test_keys_limits_and_sizes(world: World):
    key = "ca_test"
    keys = Keys({digest_of(key): "test"})
    with served(world.service(), keys, Limiter(0.001, 6)) as url, httpx.Client(base_url=url) as client:
        mine = {"x-api-key": key}
        assert client.get("/supported_coins").status_code == 401
        assert client.get("/supported_coins", headers={"x-api-key": "wrong"}).json()["error"] == "key"
        assert client.get("/supported_coins", headers=mine).status_code == 200
        large = client.post("/predict", headers=mine, content=b"x" * (BODY_BYTES + 1))
        assert (large.status_code, large.json()["error"]) == (413, "too_large")

        def pieces():
            for _ in range(1 + BODY_BYTES // 65536):
                yield b"x" * 65536

        assert client.post("/predict", headers=mine, content=pieces()).status_code == 413
        codes = [client.get("/supported_coins", headers=mine).status_code for _ in range(8)]
        assert codes[-1] == 429
        assert codes.count(200) < 6
        assert client.get("/supported_coins", headers=mine).headers["retry-after"]

        async def without_and_with() -> list[str]:
            said = []
            for first in ({"key": "wrong"}, {"key": key}):
                async with websockets.connect(url.replace("http", "ws") + "/ws/predictions") as socket:
                    await socket.send(json.dumps(first))
                    try:
                        said.append(json.loads(await socket.recv())["type"])
                    except websockets.ConnectionClosed as closed:
                        said.append(str(closed.rcvd.code))
            return said

        assert asyncio.run(without_and_with()) == ["1008", "predictions"]


def test_a_key_is_kept_as_its_hash(tmp_path):
    key = add_key(tmp_path, "ours")
    text = (tmp_path / "api_keys.json").read_text()
    assert key not in text
    assert Keys.read(tmp_path).name_of(key) == "ours"
    assert Keys.read(tmp_path).name_of(key[:-1]) is None
    assert (tmp_path / "api_keys.json").stat().st_mode & 0o077 == 0


def test_a_socket_is_told_at_once_and_a_page_of_another_site_is_not(url):
    async def listen() -> tuple[dict, int]:
        address = url.replace("http", "ws") + "/ws/predictions"
        async with websockets.connect(address) as socket:
            first = json.loads(await socket.recv())
        async with websockets.connect(address, origin="https://elsewhere.example") as socket:
            try:
                await socket.recv()
            except websockets.ConnectionClosed as closed:
                return first, closed.rcvd.code
        return first, 0

    first, code = asyncio.run(listen())
    assert first["at"] == moment(AT)
    assert len(first["predictions"]) == 3 * len(SYMBOLS)
    assert len(first["closes"]["BTC"]) == 48
    assert code == 1008
