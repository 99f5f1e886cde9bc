"""What each fault looks like on the wire, by HTTP and WebSocket, and that no source takes a spoiled answer for a good one."""

import io
import json
import random
import time
import zipfile
from datetime import UTC, datetime

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from crypto_assets.lake import quarantine
from crypto_assets.market.errors import SourceError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sandbox.damage import ADDED, KINDS, RENAMED, damage
from crypto_assets.sandbox.faults import parse
from crypto_assets_tests.sandbox.sockets import ask, sandbox
from crypto_assets_tests.sources.loopback import Clock, client, truth

AT = datetime(2024, 10, 20, 12, 0, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)
KLINES = "/binance_spot/api/v3/klines"
ASKED = {"symbol": "BTCUSDT", "interval": "1h", "startTime": MS - 5 * 3_600_000, "limit": 5}
KEYS = ["binance_futures", "binance_spot", "cboe", "gdelt_bulk"]


def answers(*rules, path=KLINES, params=ASKED, times=1):
    with sandbox(AT, rules) as server, httpx.Client(trust_env=False) as http:
        return [http.get(server.url + path, params=params) for _ in range(times)]


def plain(path=KLINES, params=ASKED):
    return answers(path=path, params=params)[0]


def test_the_beginning_of_several_keys_means_all_of_them():
    rule = parse("binance:429 every 5", KEYS)
    assert [rule.concerns(key) for key in KEYS] == [True, True, False, False]
    assert [parse("*:429 always", KEYS).concerns(key) for key in KEYS] == [True] * 4
    assert [parse("cboe:429 always", [*KEYS, "cboe_more"]).concerns(k) for k in ("cboe", "cboe_more")] == [True, False]
    with sandbox(AT, ["binance:500 always"]) as server:
        status = {k: httpx.get(f"{server.url}/{k}", trust_env=False).status_code for k in KEYS}
    assert {key for key, found in status.items() if found == 500} == {"binance_futures", "binance_spot"}


def test_rules_of_time_strike_once_in_each_span():
    every, first, after = (parse(f"cboe:500 {when} 30s", KEYS) for when in ("every", "first", "after"))
    assert [every.strikes_at(b, a) for a, b in ((0, 29), (29, 31), (31, 59), (59, 125), (125, 126))] == [0, 1, 0, 1, 0]
    assert [(first.strikes_at(b, 0), after.strikes_at(b, 0)) for b in (10, 29.9, 30)] == [(1, 0), (1, 0), (0, 1)]
    assert [rule.next_s(40.0) for rule in (every, after)] == [20.0, 0.0]
    assert first.next_s(40.0) == float("inf")


def test_latency_comes_late_and_adds_to_other_faults():
    began = time.monotonic()
    answer = answers("binance_spot:latency=0.3 always", "binance_spot:500=503 always")[0]
    assert answer.status_code == 503
    assert time.monotonic() - began > 0.3


def test_a_disconnect_ends_in_the_middle_of_the_body():
    with sandbox(AT, ["binance_spot:disconnect first 1"]) as server, httpx.Client(trust_env=False) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(server.url + KLINES, params=ASKED)
        assert len(http.get(server.url + KLINES, params=ASKED).json()) == 5


def test_a_wrong_type_is_one_number_in_another_form():
    good, bad = plain().json(), answers("binance_spot:wrong_type always")[0].json()
    different = [(a, b) for old, new in zip(good, bad, strict=True) for a, b in zip(old, new, strict=True) if a != b]
    ((old, new),) = different
    assert {type(old), type(new)} in ({str, float}, {str, int})
    assert float(old) == float(new)


def test_duplicated_and_shuffled_rows():
    good = plain().json()
    assert answers("binance_spot:duplicated always")[0].json() == [row for row in good for _ in range(2)]
    shuffled = answers("binance_spot:out_of_order always")[0].json()
    assert shuffled != good
    assert sorted(shuffled) == good


def test_a_schema_drifts():
    rows = answers("defillama:schema_drift always", path="/defillama/v2/historicalChainTvl", params={})[0].json()
    assert all(ADDED in row and any(key.endswith(RENAMED) for key in row) for row in rows)
    assert all(len(row) == 13 for row in answers("binance_spot:schema_drift always")[0].json())


def test_a_clock_skew_moves_one_providers_time_only():
    with sandbox(AT, ["binance_spot:clock_skew=-90 always"]) as server:
        assert server.get("/binance_spot/api/v3/time")["serverTime"] == MS - 90_000
        assert server.get("/binance_futures/fapi/v1/time")["serverTime"] == MS
        assert server.get("/health")["now"] == AT.isoformat()


def test_the_same_calls_meet_the_same_faults():
    rules = ["binance_spot:wrong_type chance 0.5", "binance_spot:500 chance 0.3"]
    once, again = ([(a.status_code, a.content) for a in answers(*rules, times=12)] for _ in range(2))
    assert once == again
    assert len(set(once)) > 2


CSV = "DATE,OPEN,HIGH\n01/02/2024,1.5,2\n01/03/2024,2.5,3\n01/04/2024,3.5,4\n"
XML = "<rss><channel><title>News 1</title><item><id>1</id></item><item><id>2</id></item></channel></rss>"


def test_rows_of_tables_and_feeds_come_twice():
    csv, xml = (damage("duplicated", text.encode(), random.Random(3)).decode() for text in (CSV, XML))
    header, *rows = CSV.splitlines()
    assert csv.splitlines() == [header, *(row for row in rows for _ in range(2))]
    assert xml.count("<id>1</id></item><item><id>1</id>") == xml.count("<id>2</id></item><item><id>2</id>") == 1


@pytest.mark.parametrize("text", [CSV, XML])
def test_tables_and_feeds_are_spoiled_too(text):
    spoiled = {kind: damage(kind, text.encode(), random.Random(3)).decode() for kind in KINDS}
    assert text not in spoiled.values()
    assert sorted(spoiled["out_of_order"]) == sorted(text)
    assert spoiled["wrong_type"].count("n/a") == 1
    assert RENAMED in spoiled["schema_drift"]


def test_a_zip_is_spoiled_inside():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", CSV)
    with zipfile.ZipFile(io.BytesIO(damage("wrong_type", buffer.getvalue(), random.Random(3)))) as archive:
        assert archive.read("a.csv") == damage("wrong_type", CSV.encode(), random.Random(3))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b"null", b"plain words\n"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_rows_survives(kind, body):
    assert isinstance(damage(kind, body, random.Random(1)), bytes)


def told(*rules, seconds=125):
    """Messages of one stream of minute bars while two minutes pass."""
    with sandbox(AT, rules) as server, server.socket("/binance_spot/ws/btcusdt@kline_1m") as socket:
        ask(socket, "LIST_SUBSCRIPTIONS")
        server.clock.set(advance_s=seconds)
        texts = []
        while True:
            try:
                texts.append(socket.recv(0.7))
            except TimeoutError:
                return texts


def test_messages_of_a_websocket_are_spoiled():
    good = told()
    assert len(good) == 3  # two closed bars and the open one
    assert told("binance_spot:duplicated after 1") == [text for text in good for _ in range(2)]
    assert told("binance_spot:out_of_order every 3") == [good[0], good[2], good[1]]
    assert told("binance_spot:truncated every 3")[1] == good[1][: len(good[1]) // 2]
    assert "<html>" in told("binance_spot:html every 3")[1]
    drifted = told("binance_spot:schema_drift every 3")[1]
    assert RENAMED in drifted
    assert ADDED in drifted
    assert json.loads(told("binance_spot:wrong_type every 3")[1]) != json.loads(good[1])


def test_a_websocket_is_refused_and_skewed():
    with sandbox(AT, ["binance_spot:429=9 first 1", "binance_spot:clock_skew=60 after 1"]) as server:
        with pytest.raises(InvalidStatus) as refused, server.socket("/binance_spot/ws"):
            pass
        assert (refused.value.response.status_code, refused.value.response.headers["retry-after"]) == (429, "9")
        with server.socket("/binance_spot/ws/btcusdt@kline_1m") as socket:
            ask(socket, "LIST_SUBSCRIPTIONS")
            server.clock.set(advance_s=60)
            assert json.loads(socket.recv(10))["E"] == MS + 120_000


def test_a_websocket_is_closed_by_count_and_by_time():
    with sandbox(AT, ["binance_spot:disconnect every 3"]) as server, server.socket("/binance_spot/ws") as socket:
        ask(socket, "LIST_SUBSCRIPTIONS")
        ask(socket, "LIST_SUBSCRIPTIONS")
        with pytest.raises(ConnectionClosed):
            ask(socket, "LIST_SUBSCRIPTIONS")
    with sandbox(AT, ["binance_spot:disconnect every 0.5s"]) as server:
        began = time.monotonic()
        for _ in range(3):
            with server.socket("/binance_spot/ws") as socket, pytest.raises(ConnectionClosed):
                socket.recv(5)
        assert 0.9 < time.monotonic() - began < 5


WINDOW = Window(AT - 2 * DAY, AT - DAY)
SPOILED = ("wrong_type", "duplicated", "out_of_order", "schema_drift", "empty", "html", "truncated")


def _sources():
    from crypto_assets.sources._spec import discover

    return {name: source for name, source in discover().items() if source.is_core}


@pytest.mark.parametrize("fault", SPOILED)
def test_no_source_takes_a_spoiled_answer_for_a_good_one(fault):
    """Every core source brings the truth in spite of the fault, or says which provider is at fault; never other rows."""
    clock = Clock(AT)
    for name, source in _sources().items():
        with client(clock, [f"*:{fault} every 2"]) as http:
            try:
                found = quarantine.split(source.table, source.fetch(WINDOW, http)).good
            except SourceError:
                continue
            found = found.sort([*source.table.key, "available_at"])
            assert found.equals(truth(source, WINDOW, AT, http)), f"{name} took a {fault} answer"


def test_a_skewed_clock_brings_no_row_before_its_time():
    with client(Clock(AT), ["*:clock_skew=3600 always"]) as http:
        source = _sources()["binance_candles"]
        found = source.fetch(Window(AT - 3 * HOUR, AT + HOUR), http)
        assert found["available_at"].max() <= AT
