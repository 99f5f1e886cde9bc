"""The server's wire formats and parameters, its faults, and how it is started and stopped."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox.faults import Fault, parse
from crypto_assets.sandbox.server import app, running, serve, serving
from crypto_assets_tests.sources.loopback import NOW, market

START = int(datetime(2024, 10, 7, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000


@pytest.fixture(scope="module")
def get():
    with serving(app(market(), lambda: NOW)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield lambda path, **params: client.get(path, params=params)


def klines(get, **params):
    return get("/binance_spot/api/v3/klines", symbol="BTCUSDT", interval="1h", **params).json()


def test_a_kline_has_twelve_fields_of_the_exchanges_types(get):
    row = klines(get, startTime=START, limit=1)[0]
    assert [type(v) for v in row] == [int, str, str, str, str, str, int, str, int, str, str, str]
    assert (row[0], row[6], row[11]) == (START, START + HOUR - 1, "0")


def test_both_ends_are_inclusive(get):
    assert [r[0] for r in klines(get, startTime=START, endTime=START + 2 * HOUR)] == [START, START + HOUR, START + 2 * HOUR]
    assert [r[0] for r in klines(get, startTime=START + 1, endTime=START + 2 * HOUR - 1)] == [START + HOUR]


def test_limits(get):
    assert len(klines(get, startTime=START - 2000 * HOUR)) == 500
    assert len(klines(get, startTime=START - 2000 * HOUR, limit=5000)) == 1000
    perp = get("/binance_futures/fapi/v1/klines", symbol="BTCUSDT", interval="1h", startTime=START - 2000 * HOUR, limit=5000)
    assert len(perp.json()) == 1500


def test_without_a_start_the_newest_rows_come_and_the_last_one_is_open(get):
    rows = klines(get, limit=3)
    assert rows[-1][0] == int(NOW.replace(minute=0).timestamp() * 1000)
    opened = micro.minute_bars(market(), "BTC", "spot", NOW.replace(minute=0), NOW)
    assert [float(v) for v in rows[-1][1:5]] == [
        opened["open"][0],
        opened["high"].max(),
        opened["low"].min(),
        opened["close"][-1],
    ]
    assert float(rows[-1][5]) == pytest.approx(opened["volume"].sum())
    assert klines(get, endTime=START, limit=2)[-1][0] == START


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "NOPEUSDT", "interval": "1h"}, -1121),
        ({"interval": "1h"}, -1102),
        ({"symbol": "BTCUSDT"}, -1102),
        ({"symbol": "BTCUSDT", "interval": "1H"}, -1120),
        ({"symbol": "BTCUSDT", "interval": "1h", "startTime": "yesterday"}, -1100),
        ({"symbol": "BTCUSDT", "interval": "1h", "limit": "0"}, -1130),
    ],
)
def test_errors_have_the_exchanges_form(get, params, code):
    answer = get("/binance_spot/api/v3/klines", **params)
    assert answer.status_code == 400
    assert answer.json()["code"] == code
    assert answer.json()["msg"]


def test_a_former_name_ends_where_the_new_one_begins(get):
    change = int(datetime(2024, 9, 10, tzinfo=UTC).timestamp() * 1000)
    span = {"interval": "1h", "startTime": change - 2 * HOUR, "endTime": change + HOUR}
    old = get("/binance_spot/api/v3/klines", symbol="MATICUSDT", **span).json()
    new = get("/binance_spot/api/v3/klines", symbol="POLUSDT", **span).json()
    assert [r[0] for r in old] == [change - 2 * HOUR, change - HOUR]
    assert [r[0] for r in new] == [change, change + HOUR]


def test_exchange_info_lists_what_trades_now(get):
    found = {s["symbol"] for s in get("/binance_futures/fapi/v1/exchangeInfo").json()["symbols"]}
    assert {"BTCUSDT", "POLUSDT", "ARBUSDT"} <= found
    assert not {"MATICUSDT", "EOSUSDT"} & found


def test_funding_has_jitter_and_a_rate_type(get):
    rows = get("/binance_futures/fapi/v1/fundingRate", symbol="ETHUSDT", startTime=START, limit=2).json()
    assert [r["fundingTime"] - START for r in rows] == [3, 8 * HOUR + 3]
    assert set(rows[0]) == {"symbol", "fundingTime", "fundingRate", "markPrice", "rateType"}
    assert len(get("/binance_futures/fapi/v1/fundingRate", symbol="ETHUSDT").json()) == 200


def test_fear_and_greed_is_newest_first_in_text(get):
    rows = get("/alternative_me/fng/", limit=0).json()["data"]
    assert [int(r["timestamp"]) for r in rows] == sorted((int(r["timestamp"]) for r in rows), reverse=True)
    assert "time_until_update" in rows[0]
    assert "time_until_update" not in rows[1]
    assert len(get("/alternative_me/fng/").json()["data"]) == 1


def metrics(get, **params):
    asked = {"assets": "btc,eth", "metrics": "AdrActCnt,HashRate", "start_time": "2024-10-01", "end_time": "2024-10-05"}
    return get("/coinmetrics/v4/timeseries/asset-metrics", **{**asked, **params})


def test_coin_metrics_numbers_are_quoted_and_times_have_nanoseconds(get):
    row = metrics(get).json()["data"][0]
    assert row["time"] == "2024-10-01T00:00:00.000000000Z"
    assert isinstance(row["AdrActCnt"], str)
    assert "HashRate" not in metrics(get).json()["data"][-1]


@pytest.mark.parametrize("paging_from", ["start", "end"])
def test_coin_metrics_pages_add_up(get, paging_from):
    whole = metrics(get).json()["data"]
    pages, answer = [], metrics(get, page_size=3, paging_from=paging_from).json()
    while True:
        pages.append(answer["data"])
        if "next_page_url" not in answer:
            break
        answer = httpx.get(answer["next_page_url"], trust_env=False).json()
    assert len(pages) == 4
    rows = [row for page in pages for row in page]
    assert sorted(rows, key=lambda r: (r["asset"], r["time"])) == whole


@pytest.mark.parametrize(
    ("params", "status", "kind"),
    [
        ({"metrics": "AdrActCnt,SOPR"}, 403, "forbidden"),
        ({"assets": "btc,nope"}, 400, "bad_parameter"),
        ({"start_time": "soon"}, 400, "bad_parameter"),
        ({"page_size": "20000"}, 400, "bad_parameter"),
        ({"next_page_token": "?"}, 400, "bad_parameter"),
    ],
)
def test_coin_metrics_errors(get, params, status, kind):
    answer = metrics(get, **params)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def test_the_last_point_of_defillama_is_today(get):
    rows = get("/defillama/v2/historicalChainTvl/Ethereum").json()
    assert datetime.fromtimestamp(rows[-1]["date"], UTC).date() == NOW.date()
    assert isinstance(rows[-1]["tvl"], float)
    assert get("/defillama/v2/historicalChainTvl/Atlantis").status_code == 404


def test_treasury_is_newest_first_and_needs_its_parameters(get):
    path = "/treasury/resource-center/data-chart-center/interest-rates/daily-treasury-rates.csv/2024/all"
    lines = get(path, _format="csv", field_tdr_date_value="2024").text.splitlines()
    assert lines[0].startswith('Date,"1 Mo"')
    assert lines[1].startswith("10/18/2024")
    assert get(path).text.startswith("<!DOCTYPE html>")


def test_vix_is_oldest_first(get):
    lines = get("/cboe/api/global/us_indices/daily_prices/VIX_History.csv").text.splitlines()
    assert lines[0] == "DATE,OPEN,HIGH,LOW,CLOSE"
    assert lines[-1].startswith("10/18/2024")


def test_gdelt_has_half_past_files_and_says_which_is_the_newest(get):
    size, digest, address = get("/gdelt_bulk/gdeltv2/lastupdate.txt").text.split()
    assert address.endswith("/gdeltv2/20241020113000.gkg.csv.zip")
    body = httpx.get(address, trust_env=False).content
    assert (len(body), len(digest)) == (int(size), 32)
    assert get("/gdelt_bulk/gdeltv2/20241020123000.gkg.csv.zip").status_code == 404
    assert get("/gdelt_bulk/gdeltv2/20241020114500.gkg.csv.zip").status_code == 404


def test_health_says_what_world_it_is(get):
    found = get("/health").json()
    assert (found["status"], found["market"], found["seed"], found["now"]) == ("ok", "standard", 7, NOW.isoformat())


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("429 every 5", "form"),
        ("nobody:429 always", "provider 'nobody'"),
        ("cboe:teapot always", "kind 'teapot'"),
        ("cboe:429 sometimes", "'sometimes' is none of"),
        ("cboe:429 every 0", "1 or more"),
        ("cboe:429 every x", "no number"),
        ("cboe:429 chance 2", "between 0 and 1"),
        ("cboe:500=404 always", "500 to 599"),
        ("cboe:latency=-1 always", "0 or more"),
    ],
)
def test_a_wrong_fault_rule_says_what_is_wrong(rule, reason):
    with pytest.raises(SettingsError, match=reason):
        parse(rule, ["cboe"])


def test_fault_rules_strike_when_they_say():
    assert parse("cboe:429=3 every 5", ["cboe"]) == Fault("cboe", "429", 3.0, "every", 5.0)

    def struck(rule, seed=7):
        return [n for n in range(1, 11) if parse(f"cboe:{rule}", ["cboe"]).strikes(n, seed)]

    assert struck("429 every 5") == [5, 10]
    assert struck("429 first 2") == [1, 2]
    assert struck("429 after 8") == [9, 10]
    assert struck("429 always") == list(range(1, 11))
    assert struck("429 chance 0.5") == struck("429 chance 0.5")
    assert struck("429 chance 0.5") != struck("429 chance 0.5", seed=8)


def test_faults_look_like_the_real_ones():
    rules = ["cboe:429=7 first 1", "cboe:html every 3", "cboe:empty always"]
    with serving(app(market(), lambda: NOW, rules)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        answers = [client.get("/cboe/api/global/us_indices/daily_prices/VIX_History.csv") for _ in range(3)]
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (429, "7")
    assert answers[1].text == "DATE,OPEN,HIGH,LOW,CLOSE\n"
    assert "<html>" in answers[2].text


def test_a_truncated_body_is_half_of_the_true_one():
    path = "/defillama/v2/historicalChainTvl"
    with serving(app(market(), lambda: NOW, ["defillama:truncated every 2"])) as url:
        whole, half = (httpx.get(url + path, trust_env=False).content for _ in range(2))
    assert half == whole[: len(whole) // 2]


def test_running_starts_a_process_of_its_own_and_stops_it():
    at = NOW + timedelta(hours=1)
    with running("null", 3, at=at, faults=["cboe:500 always"]) as url:
        found = httpx.get(f"{url}/health", trust_env=False).json()
        assert (found["market"], found["seed"], found["now"]) == ("null", 3, at.isoformat())
        assert httpx.get(f"{url}/cboe/x", trust_env=False).status_code == 500
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", trust_env=False)


def test_ctrl_c_in_a_terminal_does_not_end_the_server_before_its_parent():
    """The terminal interrupts every process of the group at once."""
    parent = """
import signal, time, urllib.request
from crypto_assets.sandbox.server import running
hit = []
signal.signal(signal.SIGINT, lambda *_: hit.append(1))
with running("null", 3) as url:
    print("up", flush=True)
    while not hit:
        time.sleep(0.05)
    print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "/health").status, flush=True)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=pipe, text=True, start_new_session=True, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        os.killpg(child.pid, signal.SIGINT)
        assert child.stdout.readline() == "200\n"
        assert child.wait(60) == 0


def test_running_says_why_it_does_not_start():
    with pytest.raises(SettingsError, match="nowhere"), running("nowhere"):
        pass


def test_the_server_is_on_loopback_only_and_a_taken_port_is_an_error():
    with serving(app(market(), lambda: NOW)) as url:
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(SettingsError, match="--port"):
            serve("null", port=int(url.rsplit(":", 1)[1]))
