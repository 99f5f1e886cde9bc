"""The parts of the service together: the wrong route, a store that is away, metrics, slow tables, the view."""

from __future__ import annotations

import asyncio
import io
import logging
import urllib.request
from contextlib import closing
from datetime import timedelta

import pytest
from rich.console import Console

from crypto_assets.cli import stream as command
from crypto_assets.lake import Lake
from crypto_assets.lake.hot import Hot, SqliteHot
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.clock import Clock as Sandbox
from crypto_assets.sandbox.server import app, serving
from crypto_assets.settings import Settings, load
from crypto_assets.sources import discover
from crypto_assets.sources.stream import exchange, polling, stats, writer
from crypto_assets.sources.stream.clock import LEAP_MS, Clock
from crypto_assets.sources.stream.service import Stream
from crypto_assets_tests.sources.loopback import NOW, client, market
from crypto_assets_tests.sources.loopback import Clock as Frozen
from crypto_assets_tests.sources.stream.feeds import START, ms


def run(stream: Stream, until, within_s: float = 40) -> None:
    """Stream until something is so; fails when it does not come."""

    async def main() -> None:
        stopping = asyncio.Event()
        job = asyncio.ensure_future(stream.run(stopping))
        late = asyncio.get_running_loop().time() + within_s
        while not until() and not job.done():
            assert asyncio.get_running_loop().time() < late, stream.stats.summary()
            await asyncio.sleep(0.1)
        stopping.set()
        await job

    asyncio.run(main())


def test_a_wrong_route_is_noticed_and_bars_come_by_rest_meanwhile(tmp_path, monkeypatch, caplog):
    """The old root of the futures host acknowledges a subscription and then says nothing."""
    monkeypatch.setitem(exchange.SILENCE_S, "klines", 1.5)
    monkeypatch.setattr("crypto_assets.sources.stream.clock.STALE_S", 1.0)
    monkeypatch.setattr(exchange, "socket_of", lambda name, http: f"ws{http.settings.sandbox_url[4:]}/{name}/ws/old")
    with serving(app(market(), Sandbox(START + timedelta(seconds=40), 12.0))) as url, caplog.at_level(logging.WARNING):
        settings = load(world="sandbox", sandbox_url=url, lake=tmp_path, symbols="BTC,ETH")
        hot = SqliteHot(tmp_path / "hot.db")
        stream = Stream(settings, hot, providers=("binance_futures",), channels=("klines",))
        run(stream, lambda: stream.stats.total("silences") >= 2 and hot.newest("binance_futures.candles_1m", "ETH"))
    assert stream.stats.total("messages") == 0
    assert stream.stats.total("reconnects") >= 1
    warned = [r.message for r in caplog.records if "wrong route" in r.message]
    assert len(warned) == 1
    assert warned[0].startswith("binance_futures klines")
    assert hot.newest("binance_futures.candles_1m", "BTC")[0].ts >= START
    hot.close()


class Away(SqliteHot):
    """A store that refuses until it is back."""

    is_away = True

    def put(self, rows):
        if self.is_away:
            raise LakeError("the store is away")
        super().put(rows)


def test_while_the_store_is_away_rows_wait_and_then_readers_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST", 10)
    found = stats.Stats()
    with closing(Away(tmp_path / "hot.db")) as hot:

        async def main() -> None:
            held, stopping = writer.Writer(hot, found, 0.02), asyncio.Event()
            storing = asyncio.ensure_future(held.run(stopping))
            for n in range(10):
                held.add("venue", "candles_1m", "BTC", ms(START) + n * 60_000, {"close": n}, 0.0)
            await asyncio.sleep(0.1)
            reading = asyncio.ensure_future(held.room())
            await asyncio.sleep(0.1)
            assert not reading.done()
            held.add("venue", "candles_1m", "BTC", ms(START), {"close": 99}, 0.0)
            hot.is_away = False
            await asyncio.wait_for(reading, 5)
            stopping.set()
            await storing

        asyncio.run(main())
        rows = hot.newest("venue.candles_1m", "BTC", 99)
        assert [row.value["close"] for row in rows] == [99, *range(1, 10)]
    assert found.failed_batches >= 1
    assert found.stalls == 1
    assert found.rows == 10


def test_time_goes_forward_and_leaps_are_doubted():
    clock = Clock(ms(START))
    clock.hear(ms(START) - 5000, 0.0)
    assert clock() == START
    clock.hear(ms(START) + 1234, 0.0)
    assert clock.ms == ms(START) + 1234
    clock.hear(ms(START) + 2 * LEAP_MS, 0.0)
    assert clock.ms == ms(START) + 1234
    assert clock.is_stale
    clock.set(ms(START) + 2 * LEAP_MS)
    assert clock.ms == ms(START) + 2 * LEAP_MS
    assert not clock.is_doubted


def test_metrics_can_be_read_and_name_everything():
    found = stats.Stats(clock=lambda: 90_000)
    found.count("messages", "binance_spot", "trades", 7)
    found.last_bar["binance_spot", "1m"] = 60_000
    found.delays.extend([0.1, 0.2, 0.9])
    port, stop = stats.serve(found, 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        with pytest.raises(SettingsError, match="--metrics-port"):
            stats.serve(found, port)
    finally:
        stop()
    assert 'crypto_assets_stream_messages_total{channel="trades",provider="binance_spot"} 7.0' in text
    assert 'crypto_assets_stream_last_bar_age_seconds{interval="1m",provider="binance_spot"} 30.0' in text
    assert 'crypto_assets_stream_store_delay_seconds{quantile="0.99"} 0.9' in text
    for name in ("lag_seconds", "reconnects_total", "gaps_total", "repaired_total", "pending_rows", "rows_total"):
        assert f"crypto_assets_stream_{name}" in text


def test_slow_tables_are_kept_once_and_refusals_are_told(tmp_path):
    source, lake, clock = discover()["fear_greed"], Lake(tmp_path), Frozen(NOW)
    with client(clock) as http:
        assert polling.poll(source, http, lake, is_first=True) == "8 new rows"
        assert polling.poll(source, http, lake, is_first=False) == "0 new rows"
        expected = source.fetch(polling.Window(NOW.replace(hour=0, minute=0) - 7 * DAY, NOW + DAY), http)
        assert polling.read(lake, source, NOW - 30 * DAY, NOW + DAY).equals(expected)
    with client(clock, faults=["alternative_me:html always"]) as http:
        assert polling.poll(source, http, lake, is_first=False).startswith("refused: alternative_me")


def test_what_is_polled_and_how_often():
    sources = list(discover().values())
    core = polling.pollable(sources, Settings(), "core")
    assert "fear_greed" in {s.name for s in core}
    assert not {s.name for s in core} & set(polling.STREAMED)
    assert polling.pollable(sources, Settings(), "none") == []
    everything = polling.pollable(sources, Settings(), "all")
    assert len(everything) > len(core)
    assert all(not s.keys for s in everything), "without its key a source is not asked"
    assert all(polling.FASTEST <= polling.pace(s) <= polling.SLOWEST for s in sources)


def test_an_hour_is_marked_once_and_its_day_rolled_whole(tmp_path):
    lake = Lake(tmp_path)
    bar = {
        "open": 1.0,
        "high": 2.0,
        "low": 0.5,
        "close": 1.5,
        "volume": 3.0,
        "quote_volume_usd": 4.0,
        "trades": 5,
        "taker_buy_volume": 1.0,
    }
    with closing(SqliteHot(tmp_path / "hot.db")) as hot:
        hot.put([Hot("venue.candles_1h", "BTC", START + n * HOUR, bar) for n in range(3)])
        assert writer.mark(hot, ["venue"], START + HOUR)
        assert not writer.mark(hot, ["venue"], START + HOUR)
        assert writer.closed_hours(hot) == [START + HOUR]
        for _ in range(2):
            writer.roll(lake, hot, ["venue"], START.date(), START + 2 * HOUR)
        rows = lake.scan("live/candles_1h").collect()
        assert rows["ts"].to_list() == [START, START + HOUR]
        assert rows["available_at"].to_list() == [START + HOUR, START + 2 * HOUR]
        assert set(rows["source"]) == {"venue"}


def test_the_view_shows_channels_coins_and_slow_tables():
    found = stats.Stats()
    found.count("connects", "binance_spot", "trades")
    found.count("messages", "binance_spot", "trades", 1234)
    found.prices["binance_spot", "BTC"] = 67_000.5
    found.polled["fear_greed"] = "12:00 1 new rows"
    screen = Console(width=140, record=True, file=io.StringIO())
    screen.print(command.view(found, {}))
    text = screen.export_text()
    for wanted in ("binance_spot trades", "1,234", "67,000.5", "fear_greed", "1 new rows"):
        assert wanted in text


def test_what_cannot_be_streamed_is_said(tmp_path):
    arguments = {"symbols": None, "minutes": 0.01, "metrics_port": None, "lake": tmp_path}
    with pytest.raises(SettingsError, match="--poll"):
        command.run(world="sandbox", poll="sometimes", **arguments)
    with pytest.raises(SettingsError, match="world archive"):
        command.run(world="archive", poll="none", **arguments)


def test_pauses_grow_with_failures_and_are_bounded():
    for failures in range(40):
        longest = min(exchange.LONGEST_BACKOFF_S, exchange.BACKOFF_S * 2**failures)
        found = [exchange.pause(failures) for _ in range(50)]
        assert all(longest / 2 <= pause <= longest for pause in found)
        assert len(set(found)) > 40, "clients that were cut together do not come back together"
