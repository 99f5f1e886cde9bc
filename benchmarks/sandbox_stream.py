"""Claim: the sandbox sends 50,000 single trades and more in a second of its processor time over a WebSocket.

How: the server is a process of its own whose clock stands still. A client subscribes to a channel of ten symbols on one
connection, the clock is put forward by `--minutes` at once, and the server sends as fast as it can. Counted are the messages
and the server's processor time until the last one; making the trades, bars and books is part of it. `mixed` is aggTrade, 1m
klines and depth diffs of ten symbols on both hosts, on three connections, at `--speed` for `--seconds`; what is a state is
joined when the clock is fast.

Checked: every trade of the bars comes, and the closed bars of every symbol come once each, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import psutil
from _record import keep, require
from websockets.asyncio.client import connect

from crypto_assets.sandbox.server import running
from crypto_assets.sandbox.simulator import SimulatedMarket

AT = datetime(2024, 3, 4, 12, tzinfo=UTC)
SYMBOLS = tuple(f"{s.lower()}usdt" for s in ("BTC", "ETH", "ADA", "SOL", "MATIC", "DOT", "LINK", "UNI", "ARB", "EOS"))
CHANNELS = ("trade", "aggTrade", "kline_1m", "depth@100ms")
MIXED = {
    "/binance_spot/stream": ("aggTrade", "kline_1m", "depth@100ms"),
    "/binance_futures/public/stream": ("depth@100ms",),
    "/binance_futures/market/stream": ("aggTrade", "kline_1m"),
}
LIMIT = 50_000


def main() -> None:
    """Measure, check, keep the result; status 1 below the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=int, default=60, help="whole hours of the market sent at once, in minutes (default 60)"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="real seconds of the mixed run (default 10)")
    parser.add_argument("--speed", type=float, default=60.0, help="speed of the mixed run (default 60)")
    given = parser.parse_args()
    burst = {channel: _burst(channel, given.minutes) for channel in CHANNELS}
    result = {
        "claim": f"the sandbox sends >= {LIMIT} trades a processor second",
        "minutes": given.minutes,
        "messages_per_cpu_second": {channel: round(count / cpu) for channel, (count, cpu) in burst.items()},
        "messages": {channel: count for channel, (count, _) in burst.items()},
        "mixed": _mixed(given.speed, given.seconds),
        "limit": LIMIT,
    }
    keep("sandbox_stream", result)
    require(result["messages_per_cpu_second"]["trade"] >= LIMIT, f"fewer than {LIMIT} messages")


def _burst(channel: str, minutes: int) -> tuple[int, float]:
    """Messages of one channel and the server's processor time for them."""
    with running(at=AT) as url:
        return asyncio.run(_forward(url, channel, minutes))


async def _forward(url: str, channel: str, minutes: int) -> tuple[int, float]:
    names = "/".join(f"{s}@{channel}" for s in SYMBOLS)
    end = round(AT.timestamp() * 1000) + 60_000 * minutes
    async with connect(f"{url.replace('http', 'ws')}/binance_spot/stream?streams={names}", proxy=None) as socket:
        await asyncio.sleep(0.2)
        server, closed = psutil.Process().children()[0], dict.fromkeys(SYMBOLS, 0)
        before = sum(server.cpu_times()[:2])
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(f"{url}/clock", json={"advance_s": 60 * minutes})
        count = 0
        while True:
            try:
                text = await asyncio.wait_for(socket.recv(decode=False), 2)
            except TimeoutError:
                break
            count += 1
            if channel.startswith("kline") and b'"x":true' in text:
                bar = json.loads(text)["data"]
                require(bar["k"]["t"] >= closed[bar["s"].lower()], f"bar {bar} came late or twice")
                closed[bar["s"].lower()] = bar["k"]["T"] + 1
        if channel == "trade":
            require(count == _traded(minutes), f"{count} trades came of {_traded(minutes)}")
        require(not channel.startswith("kline") or set(closed.values()) == {end}, f"bars are missing: {closed}")
        return count, sum(server.cpu_times()[:2]) - before


def _traded(minutes: int) -> int:
    """Trades of all symbols in these minutes, as their bars say."""
    market = SimulatedMarket()
    return sum(int(market.candles(s, "spot", AT, AT + timedelta(minutes=minutes))["trades"].sum()) for s in market.symbols)


def _mixed(speed: float, seconds: float) -> dict[str, float]:
    with running(at=AT, speed=speed) as url:
        return asyncio.run(_listen(url, seconds))


async def _listen(url: str, seconds: float) -> dict[str, float]:
    server = psutil.Process().children()[0]
    count = 0

    async def read(path: str, channels: tuple[str, ...]) -> None:
        nonlocal count
        names = "/".join(f"{s}@{c}" for s in SYMBOLS for c in channels)
        async with connect(f"{url.replace('http', 'ws')}{path}?streams={names}", proxy=None) as socket:
            async for _ in socket:
                count += 1

    tasks = [asyncio.create_task(read(path, channels)) for path, channels in MIXED.items()]
    await asyncio.sleep(1)
    first, began, before = count, time.monotonic(), sum(server.cpu_times()[:2])
    await asyncio.sleep(seconds)
    took, used = time.monotonic() - began, sum(server.cpu_times()[:2]) - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"messages_per_second": round((count - first) / took), "share_of_a_core": round(used / took, 2)}


if __name__ == "__main__":
    main()
