"""A stream as a process of its own, behind a wire that is cut again and again, and what it should have stored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl
import psutil

from crypto_assets.lake import RawTable
from crypto_assets.lake.hot import SqliteHot
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sources.stream.tables import LiveCandles1h, LiveCandles1m, LiveTrades1m, frame
from crypto_assets_tests.sources.loopback import market
from crypto_assets_tests.sources.stream.feeds import MINUTE, VENUES, true_minutes

BEGIN = datetime(2024, 3, 12, 8, 56, tzinfo=UTC)
"""All ten coins trade, one of them under its former name; an hour closes soon."""
SYMBOLS = market().symbols
BARS = ["open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume"]


class Wire:
    """A TCP relay to the sandbox that can be cut: every connection is reset at once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.cuts = 0

    def __enter__(self) -> Wire:
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._server = started.result(10)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()
        time.sleep(0.1)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self) -> None:
        """Reset every connection."""
        self.cuts += 1
        self._loop.call_soon_threadsafe(lambda: [w.transport.abort() for w in list(self._writers)])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, back = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._relay(reader, back), self._relay(onward, writer))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        self._writers.discard(writer)


@dataclass
class Watched:
    """The process, and its resident memory over time."""

    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Note the memory; fails when the process has ended by itself."""
        if self.process.poll() is not None:
            raise AssertionError(f"the stream ended by itself:\n{self.process.stderr.read()[-3000:]}")
        self.seconds.append(time.monotonic())
        self.megabytes.append(psutil.Process(self.process.pid).memory_info().rss / 2**20)

    def until(self, is_so: Callable[[], bool], within_s: float = 90) -> None:
        """Wait for something; fails when it does not come."""
        late = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < late, "it did not come in time"
            self.look()
            time.sleep(0.25)

    def slope(self, share: float = 0.5) -> float:
        """Megabytes a minute over the last `share` of the run."""
        n = round(len(self.seconds) * (1 - share))
        return float(np.polyfit(np.array(self.seconds[n:]) / 60, self.megabytes[n:], 1)[0])

    def stop(self, number: int = signal.SIGTERM, within_s: float = 30) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(within_s)


@contextlib.contextmanager
def streaming(lake: Path, url: str, symbols: Sequence[str] = SYMBOLS, *more: str) -> Iterator[Watched]:
    """`crypto-assets stream` of these coins from the sandbox at `url`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTO_ASSETS_")}
    environment = kept | {"CRYPTO_ASSETS_SANDBOX_URL": url, "CRYPTO_ASSETS_WORLD": "sandbox"}
    command = [sys.executable, "-m", "crypto_assets.cli", "stream", "--lake", str(lake), "--poll", "none"]
    command += ["--symbols", ",".join(symbols), *more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield Watched(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()


def stored(lake: Path, table: type[RawTable], start: datetime, end: datetime) -> pl.DataFrame:
    """What the hot store holds of both venues."""
    hot = SqliteHot(lake / "hot.db")
    try:
        return frame(hot, table, list(VENUES), start, end)
    finally:
        hot.close()


def trade_minutes(lake: Path) -> int:
    """Minutes of trades that every series has at least."""
    if not (lake / "hot.db").exists():
        return 0
    found = stored(lake, LiveTrades1m, BEGIN - MINUTE, BEGIN + timedelta(days=2)).group_by("symbol", "source").len()
    return int(found["len"].min()) if found.height == 2 * len(SYMBOLS) else 0


def span(lake: Path, table: type[RawTable] = LiveCandles1m) -> tuple[datetime, datetime]:
    """The minutes that every series must have: from the latest first to the earliest last, which on a busy machine comes later
    for some than for others. How long that must be at least, each test says.
    """
    found = stored(lake, table, BEGIN - MINUTE, BEGIN + timedelta(days=2))
    ends = found.group_by("symbol", "source").agg(first=pl.col("ts").min(), last=pl.col("ts").max())
    assert ends.height == 2 * len(SYMBOLS), ends
    return ends["first"].max(), ends["last"].min() + MINUTE


def whole_minutes(lake: Path) -> int:
    """Minutes of trades that every series has from its first whole one on, without a gap."""
    if not trade_minutes(lake):
        return 0
    begun = span(lake)[0] + MINUTE
    counts = stored(lake, LiveTrades1m, begun, BEGIN + timedelta(days=2)).group_by("ts").len().sort("ts")
    expected = pl.datetime_range(begun, begun + MINUTE * counts.height, "1m", closed="left", eager=True)
    gap = (counts["len"] != 2 * len(SYMBOLS)) | (counts["ts"] != expected)
    return int(gap.arg_true().min() if gap.any() else counts.height)


def true_bars(start: datetime, end: datetime, *, hourly: bool = False) -> pl.DataFrame:
    """Bars of both venues, from the simulator."""
    parts = []
    for source, venue in VENUES.items():
        for symbol in SYMBOLS:
            own = (
                market().candles(symbol, venue, start, end)
                if hourly
                else micro.minute_bars(market(), symbol, venue, start, end)
            )
            parts.append(own.select("ts", *BARS, symbol=pl.lit(symbol), source=pl.lit(source)))
    return pl.concat(parts).sort("symbol", "ts", "source")


def true_trades(start: datetime, end: datetime) -> pl.DataFrame:
    """Minutes of trades of both venues, from the simulator."""
    parts = [
        true_minutes(symbol, venue, start, end).with_columns(symbol=pl.lit(symbol), source=pl.lit(source))
        for source, venue in VENUES.items()
        for symbol in SYMBOLS
    ]
    return pl.concat(parts).sort("symbol", "ts", "source")


def check(lake: Path) -> dict[str, int]:
    """Compare everything that was stored with the market; returns how much was compared."""
    from polars.testing import assert_frame_equal

    start, end = span(lake)
    bars = stored(lake, LiveCandles1m, start, end).select("ts", *BARS, "symbol", "source")
    truth = true_bars(start, end)
    assert_frame_equal(bars, truth, check_exact=True)
    begun = start + MINUTE  # trades are stored from the first whole minute on
    columns = true_trades(begun, end).columns
    until = min(end, span(lake, LiveTrades1m)[1])
    trades = stored(lake, LiveTrades1m, begun, until).select(columns)
    assert trades["is_complete"].all()
    assert_frame_equal(trades, true_trades(begun, until), rel_tol=1e-9)
    hours = start.replace(minute=0), end.replace(minute=0)
    hourly = stored(lake, LiveCandles1h, *hours).select("ts", *BARS, "symbol", "source")
    assert_frame_equal(hourly, true_bars(*hours, hourly=True), check_exact=True)
    return {"minutes": bars.height, "trade_minutes": trades.height, "hours": hourly.height}
