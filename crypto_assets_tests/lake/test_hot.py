"""One contract, two stores: the file inside the lake and Redis."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from crypto_assets.lake.hot import Hot, HotStore, RedisHot, SqliteHot, keep_of, open_hot
from crypto_assets.market.errors import LakeError
from crypto_assets.settings import Settings

T0 = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Open = Callable[[], HotStore]


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory) -> Iterator[str]:
    with serving_redis(tmp_path_factory.mktemp("redis"), free_port()) as url:
        yield url


class serving_redis:
    """A Redis server on loopback that writes every change to disk before it answers."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"redis://127.0.0.1:{port}/0"

    def __enter__(self) -> str:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self.url
            time.sleep(0.05)
        raise AssertionError("redis-server did not start")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(params=["sqlite", "redis"])
def opened(request, tmp_path) -> Open:
    """Opens the store of this test, again and again."""
    if request.param == "sqlite":
        return lambda: SqliteHot(tmp_path / "hot.db")
    url = request.getfixturevalue("redis_url")
    return lambda: RedisHot(url, tmp_path.name + request.node.name)


@pytest.fixture
def hot(opened) -> Iterator[HotStore]:
    store = opened()
    yield store
    store.close()


def bars(n: int, symbol: str = "BTC", kind: str = "venue.candles_1m") -> list[Hot]:
    return [Hot(kind, symbol, T0 + k * MINUTE, {"close": 0.1 + k, "trades": k}) for k in range(n)]


def test_what_is_put_is_found_to_the_last_digit(hot):
    value = {"p": 0.1 + 0.2, "n": 3, "name": "ö", "none": None, "more": {"1h": {"p_up": 1 / 3}}}
    hot.put([Hot("forecasts", "BTC", T0, value)])
    assert hot.newest("forecasts", "BTC") == [Hot("forecasts", "BTC", T0, value)]


def test_newest_and_range_are_in_order_of_time_whatever_the_order_of_putting(hot):
    rows = bars(10)
    hot.put(rows[5:])
    hot.put(rows[:5][::-1])
    assert hot.newest("venue.candles_1m", "BTC", 3) == rows[-3:]
    assert hot.newest("venue.candles_1m", "BTC", 100) == rows
    assert hot.newest("venue.candles_1m", "BTC", 0) == []
    assert hot.range("venue.candles_1m", "BTC", T0 + 2 * MINUTE, T0 + 4 * MINUTE) == rows[2:4]


def test_series_do_not_see_each_other(hot):
    hot.put([*bars(2), *bars(3, "ETH"), *bars(4, kind="other.candles_1m")])
    assert len(hot.newest("venue.candles_1m", "BTC", 9)) == 2
    assert hot.symbols("venue.candles_1m") == ["BTC", "ETH"]
    assert hot.kinds() == ["other.candles_1m", "venue.candles_1m"]
    assert hot.newest("venue.candles_1m", "SOL") == []
    assert hot.symbols("nothing") == []


def test_a_row_put_again_is_replaced(hot):
    hot.put(bars(3))
    hot.put([Hot("venue.candles_1m", "BTC", T0 + MINUTE, {"close": 9.0})])
    rows = hot.newest("venue.candles_1m", "BTC", 9)
    assert [row.value["close"] for row in rows] == [0.1, 9.0, 2.1]
    hot.put([Hot("venue.candles_1m", "BTC", T0, {"close": c}) for c in (5.0, 6.0)])
    assert hot.range("venue.candles_1m", "BTC", T0, T0 + MINUTE)[0].value == {"close": 6.0}


def test_only_the_newest_are_kept(hot):
    n = keep_of("quotes")
    hot.put(bars(n + 7, kind="quotes"))
    kept = hot.newest("quotes", "BTC", 2 * n)
    assert len(kept) == n
    assert kept == bars(n + 7, kind="quotes")[7:]


@pytest.mark.parametrize("bad", [Hot("k", "BTC", T0, {"x": float("nan")}), Hot("k", "BTC", T0.replace(tzinfo=None), {"x": 1})])
def test_a_batch_with_a_bad_row_leaves_nothing(hot, bad):
    with pytest.raises(LakeError, match="hot store"):
        hot.put([*bars(3, kind="k"), bad])
    assert hot.newest("k", "BTC", 9) == []


def test_reopened_it_holds_the_same(opened):
    store = opened()
    store.put(bars(5))
    store.close()
    again = opened()
    assert again.newest("venue.candles_1m", "BTC", 9) == bars(5)
    again.close()


def test_a_reader_sees_what_another_connection_writes(opened):
    writer, reader = opened(), opened()
    assert reader.newest("venue.candles_1m", "BTC") == []
    writer.put(bars(2))
    assert reader.newest("venue.candles_1m", "BTC", 9) == bars(2)
    writer.close()
    reader.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 30), st.floats(allow_nan=False, allow_infinity=False))))
def test_it_is_a_sorted_map(opened, puts):
    """The oracle is a dict."""
    store = opened()
    truth: dict[tuple[str, int], float] = {}
    for symbol in "AB":
        store.put([Hot("map", symbol, T0 + k * MINUTE, {"x": None}) for k in range(31)])
        truth |= {(symbol, k): None for k in range(31)}
    for symbol, k, x in puts:
        store.put([Hot("map", symbol, T0 + k * MINUTE, {"x": x})])
        truth[symbol, k] = x
    for symbol in "AB":
        rows = store.range("map", symbol, T0, T0 + 31 * MINUTE)
        assert [(row.ts, row.value["x"]) for row in rows] == [(T0 + k * MINUTE, truth[symbol, k]) for k in range(31)]
    store.close()


WRITER = """
import sys
from datetime import timedelta
from crypto_assets_tests.lake.test_hot import T0, MINUTE, Hot, RedisHot, SqliteHot
kind, where, lake = sys.argv[1:]
store = SqliteHot(where) if kind == "sqlite" else RedisHot(where, lake)
for k in range(10**6):
    store.put([Hot("pair.candles_1m", s, T0 + k * MINUTE, {"k": k}) for s in ("A", "B", "C")])
    print(k, flush=True)
"""


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_killed_in_the_middle_every_batch_is_there_whole_or_not_at_all(kind, tmp_path, request):
    """What the writer said it had put is there; the batch it died in is there for all symbols or for none."""
    where = str(tmp_path / "hot.db") if kind == "sqlite" else request.getfixturevalue("redis_url")
    code = WRITER.replace("SqliteHot(where)", "SqliteHot(__import__('pathlib').Path(where))")
    command = [sys.executable, "-c", code, kind, where, tmp_path.name]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    said = -1
    while said < 40:
        said = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    said = max([said, *(int(line) for line in child.stdout if line.endswith("\n"))])
    child.wait()
    store = SqliteHot(Path(where)) if kind == "sqlite" else RedisHot(where, tmp_path.name)
    counts = {s: len(store.newest("pair.candles_1m", s, 10**6)) for s in "ABC"}
    store.close()
    assert len(set(counts.values())) == 1
    assert said + 1 <= counts["A"] <= said + 2


def test_redis_killed_and_started_again_has_what_was_put(tmp_path):
    server = serving_redis(tmp_path, free_port())
    with server as url:
        store = RedisHot(url)
        store.put(bars(5))
    with pytest.raises(LakeError, match="does not answer"):
        store.newest("venue.candles_1m", "BTC")
    with server as url:
        again = RedisHot(url)
        assert again.newest("venue.candles_1m", "BTC", 9) == bars(5)


def test_settings_choose_the_store(tmp_path, redis_url):
    assert isinstance(open_hot(Settings(lake=tmp_path)), SqliteHot)
    assert (tmp_path / "hot.db").exists()
    mine, other = (open_hot(Settings(lake=tmp_path / n, redis_url=SecretStr(redis_url))) for n in ("a", "b"))
    assert isinstance(mine, RedisHot)
    mine.put(bars(1))
    assert other.newest("venue.candles_1m", "BTC") == [], "two lakes on one server do not mix"


def test_an_unreachable_redis_is_named_without_its_password(tmp_path):
    with pytest.raises(LakeError, match="CRYPTO_ASSETS_REDIS_URL") as found:
        open_hot(Settings(lake=tmp_path, redis_url=SecretStr(f"redis://:hunter2@127.0.0.1:{free_port()}/0")))
    assert "hunter2" not in str(found.value)


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "hot.db").write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(LakeError, match=r"hot\.db"):
        SqliteHot(tmp_path / "hot.db")
