"""Claim: one process takes in more messages a second on one core than 20 streams bring, and stores each within a second.

How: minutes of the simulated market at 20 streams (10 coins at both venues: klines of a minute and an hour, aggregate trades,
differences of the book ten times a second) are written down first. A server process then plays them through WebSockets as fast
as they are taken, after a few seconds at their own pace in which the books are fetched. `crypto-assets stream`'s service runs
in this process, with its hot store on disk and batches every half second. Measured are the messages of the fast part over the
processor seconds this process spends on them (that is one core), over the wall, the delay from a message to its row being
committed, and memory.

Checked before anything is measured: every minute bar and every minute of trades in the hot store is the market's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from _record import keep, median, require

BEGIN = datetime(2024, 3, 12, 8, 56, tzinfo=UTC)
SLOW = timedelta(seconds=8)
"""Played at its own pace."""
VENUES = {"binance_spot": "spot", "binance_futures": "perp"}
CHANNELS = {"klines": ("kline_1m", "kline_1h"), "trades": ("aggTrade",), "depth": ("depth@100ms",)}


def main() -> None:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=4, help="minutes of the market that are played (default 4)")
    parser.add_argument("--repeats", type=int, default=3, help="times they are played (default 3)")
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.play:
        play(given.minutes)
        return
    runs = [measured(given.minutes) for _ in range(given.repeats)]
    a_second = median([run["messages_a_core_second"] for run in runs], 0)
    keep(
        "stream",
        {
            "claim": "20 streams bring fewer messages than one core takes; each is stored within a second",
            "streams": 20,
            "market_minutes": given.minutes,
            "repeats": given.repeats,
            "messages": runs[0]["messages"],
            "messages_a_second_of_20_streams": round(runs[0]["messages"] / (60 * given.minutes), 1),
            "messages_a_core_second": a_second,
            "messages_a_wall_second": median([run["messages_a_wall_second"] for run in runs], 0),
            "headroom": round(a_second / (runs[0]["messages"] / (60 * given.minutes)), 1),
            "delay_p50_s": median([run["delay_p50_s"] for run in runs], 3),
            "delay_p99_s": median([run["delay_p99_s"] for run in runs], 3),
            "batch_s": 0.5,
            "rss_mb": runs[0]["rss_mb"],
        },
    )


def measured(minutes: int) -> dict[str, Any]:
    """Play once, check, and return the figures."""
    from crypto_assets.lake.hot import SqliteHot
    from crypto_assets.settings import load
    from crypto_assets.sources.stream.service import Stream

    with tempfile.TemporaryDirectory() as folder, playing(minutes) as (url, expected):
        lake = Path(folder)
        settings = load(world="sandbox", sandbox_url=url, lake=lake, symbols=",".join(symbols()))
        hot = SqliteHot(lake / "hot.db")
        stream = Stream(settings, hot)
        figures = asyncio.run(_run(stream, expected))
        check(hot, minutes)
        hot.close()
        return figures


async def _run(stream: Any, expected: tuple[int, int]) -> dict[str, Any]:
    slow, total = expected
    stopping = asyncio.Event()
    job = asyncio.ensure_future(stream.run(stopping))

    async def until(n: int) -> tuple[float, float, int]:
        while (found := stream.stats.total("messages")) < n:
            require(not job.done(), f"the stream ended after {found} of {total} messages")
            await asyncio.sleep(0.02)
        return time.perf_counter(), time.process_time(), found

    begun = await until(slow)
    stream.stats.delays.clear()
    ended = await until(total)
    wall, cpu, messages = (b - a for a, b in zip(begun, ended, strict=True))
    await asyncio.sleep(3 * stream.every)
    p50, p99 = stream.stats.delay(0.5), stream.stats.delay(0.99)
    await asyncio.sleep(3)  # the last minutes close a few seconds later
    stopping.set()
    await job
    return {
        "messages": total,
        "messages_a_core_second": messages / cpu,
        "messages_a_wall_second": messages / wall,
        "delay_p50_s": p50,
        "delay_p99_s": p99,
        "rss_mb": round(psutil.Process().memory_info().rss / 2**20),
    }


def check(hot: Any, minutes: int) -> None:
    """The hot store holds the market's minutes: bars to the last digit, trades by their numbers and sums."""
    from crypto_assets.sandbox import microstructure as micro
    from crypto_assets.sandbox.simulator import SimulatedMarket

    market, end = SimulatedMarket("standard", 7), BEGIN + timedelta(minutes=minutes - 1)
    for provider, venue in VENUES.items():
        for symbol in symbols():
            truth = micro.minute_bars(market, symbol, venue, BEGIN, end)
            rows = hot.range(f"{provider}.candles_1m", symbol, BEGIN, end)
            found = [(row.ts, row.value["close"], row.value["volume"], row.value["trades"]) for row in rows]
            require(found == truth.select("ts", "close", "volume", "trades").rows(), f"{provider} {symbol}: bars differ")
            begun = BEGIN + timedelta(minutes=1)
            trades = micro.trades(market, symbol, venue, begun, end)
            rows = hot.range(f"{provider}.trades_1m", symbol, begun, end)
            amount = sum(row.value["volume"] for row in rows)
            require(sum(row.value["aggregates"] for row in rows) == trades.height, f"{provider} {symbol}: trades differ")
            require(abs(amount - trades["quantity"].sum()) < 1e-9 * max(amount, 1), f"{provider} {symbol}: amounts differ")


def symbols() -> tuple[str, ...]:
    """The ten coins of the simulated market."""
    from crypto_assets.sandbox.planting import SYMBOLS

    return SYMBOLS


@contextlib.contextmanager
def playing(minutes: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """The player as a process; yields its address and the number of messages, of the slow part and in all."""
    command = [sys.executable, __file__, "--play", "--minutes", str(minutes)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        url, slow, total = (child.stdout.readline() if child.stdout else "").split()
        yield url, (int(slow), int(total))
    finally:
        child.kill()
        child.wait()


def play(minutes: int) -> None:
    """Serve REST from the market and the written messages by WebSocket, until standard input closes."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from crypto_assets.sandbox.clock import Clock
    from crypto_assets.sandbox.endpoints import World, binance_futures, binance_spot
    from crypto_assets.sandbox.server import serving
    from crypto_assets.sandbox.simulator import SimulatedMarket

    clock = Clock(BEGIN, 0)
    world = World(SimulatedMarket("standard", 7), clock)
    written = messages(world, minutes)
    slow = sum(at <= (BEGIN + SLOW).timestamp() * 1000 for at, _, _, _ in written)
    player = Player(written, clock)
    modules = {"binance_spot": binance_spot, "binance_futures": binance_futures}
    mounts = [Mount(f"/{p}", routes=[*player.routes(p), *module.routes(world)]) for p, module in modules.items()]
    with serving(Starlette(routes=mounts)) as url:
        print(url, slow, len(written), flush=True)
        done = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
        done.wait()


def messages(world: Any, minutes: int) -> list[tuple[int, str, str, str]]:
    """(time in ms, provider, channel, JSON) of everything that is said, in order."""
    from crypto_assets.sandbox.endpoints._binance import symbols as names
    from crypto_assets.sandbox.endpoints._binance_streams import parse

    first, found = round(BEGIN.timestamp() * 1000), []
    listed = [name for name, coin in names(world).items() if coin.start <= BEGIN < coin.end]
    for provider, venue in VENUES.items():
        for channel, kinds in CHANNELS.items():
            for stream in (parse(world, venue, f"{name.lower()}@{kind}") for name in listed for kind in kinds):
                for at in range(first, first + 60_000 * minutes, 1000):
                    found += [(ms, provider, channel, text) for ms, text in stream.messages(at, at + 1000)]
    return sorted(found, key=lambda message: message[0])


class Player:
    """Acknowledges subscriptions; when every channel of every venue has one, plays."""

    def __init__(self, written: list[tuple[int, str, str, str]], clock: Any) -> None:
        self.written, self.clock, self.sockets = written, clock, dict[tuple[str, str], Any]()
        self.tasks: set[Any] = set()

    def routes(self, provider: str) -> list[Any]:
        """WebSocket routes of one provider, whatever the path in front of `/ws`."""
        from starlette.routing import WebSocketRoute

        async def endpoint(socket: Any) -> None:
            await self.serve(provider, socket)

        return [WebSocketRoute(path, endpoint) for path in ("/ws/{n}", "/market/ws/{n}", "/public/ws/{n}")]

    async def serve(self, provider: str, socket: Any) -> None:
        """One connection, until the client leaves."""
        from starlette.websockets import WebSocketDisconnect

        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                request = await socket.receive_json()
                await socket.send_json({"result": None, "id": request["id"]})
                said = request["params"][0]
                channel = next(c for c, kinds in CHANNELS.items() if any(said.endswith(kind) for kind in kinds))
                self.sockets[provider, channel] = socket
                if len(self.sockets) == len(VENUES) * len(CHANNELS):
                    self.tasks.add(asyncio.create_task(self.play()))

    async def play(self) -> None:
        """Everything in order of time; the clock goes with it."""
        begun, first, turn = time.monotonic(), BEGIN.timestamp() * 1000, (BEGIN + SLOW).timestamp() * 1000
        for n, (at, provider, channel, text) in enumerate(self.written):
            if at <= turn:
                await asyncio.sleep(max(0.0, (at - first) / 1000 - (time.monotonic() - begun)))
            if n % 200 == 0:
                self.clock.set(now=datetime.fromtimestamp(at / 1000, UTC))
            await self.sockets[provider, channel].send_text(text)
        self.clock.set(now=datetime.fromtimestamp(self.written[-1][0] / 1000, UTC), speed=1.0)


if __name__ == "__main__":
    main()
