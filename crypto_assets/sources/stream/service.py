"""The stream as one process: feeds, sweeps, micro-batches, closed hours, slow tables; begins where it was stopped or killed.

Everything that is heard or asked again carries its own key (bar, trade number), so that nothing is stored twice, and what is
missing is known by its key too: bars by the exchange's clock, trades by their numbers, books by theirs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from crypto_assets.lake import Lake
from crypto_assets.lake.hot import HotStore
from crypto_assets.market.errors import LakeError, SourceError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.settings import Settings
from crypto_assets.sources import Source
from crypto_assets.sources._http import Http
from crypto_assets.sources.stream import polling, repair, writer
from crypto_assets.sources.stream.bars import STEP_MS, Bars, finite
from crypto_assets.sources.stream.book import Books
from crypto_assets.sources.stream.clock import Clock
from crypto_assets.sources.stream.exchange import MALFORMED, SUBSCRIBE, Feed, Venue
from crypto_assets.sources.stream.stats import Stats
from crypto_assets.sources.stream.tables import kind
from crypto_assets.sources.stream.trades import Trades

PROVIDERS = ("binance_spot", "binance_futures")
CHANNELS = ("klines", "trades", "depth")
SWEEP_S = 1.0
HOURS_BACK = timedelta(hours=72)
"""How far back hourly bars are completed at the start: the last closed days may not be in the lake yet."""
MINUTES_BACK = timedelta(days=1)
"""How far back minutes are completed after a stop; a longer absence is left as a hole."""
LATE = timedelta(minutes=2)
"""An hour whose bars have not all come by then is closed without them."""
log = logging.getLogger(__name__)


@dataclass
class _Market:
    """A venue and what is made of its messages."""

    venue: Venue
    bars: Bars
    trades: Trades
    books: Books


@dataclass
class Stream:
    """`run` it inside an event loop. Raises a SourceError when an exchange cannot be asked at the start."""

    settings: Settings
    hot: HotStore
    providers: Sequence[str] = PROVIDERS
    channels: Sequence[str] = CHANNELS
    sources: Sequence[Source] = ()
    """Slow tables to poll."""
    every: float = 0.5
    """Seconds between micro-batches."""
    stats: Stats = field(default_factory=Stats)

    async def run(self, stopping: asyncio.Event) -> None:
        """Stream until `stopping` is set, then store what has come and close."""
        self._lake = Lake(self.settings.lake)
        self._clock = Clock(0)
        self.stats.clock = lambda: self._clock.ms
        self._writer = writer.Writer(self.hot, self.stats, self.every)
        self._due: dict[str, float] = {}
        with Http.of(self.settings, now=self._clock) as self._http:
            await asyncio.to_thread(self._begin)
            tasks = [asyncio.ensure_future(job) for job in self._jobs(stopping)]
            try:
                waiting = asyncio.ensure_future(stopping.wait())
                done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
                stopping.set()
                for task in done - {waiting}:
                    task.result()
            finally:
                stopping.set()
                await self._end(tasks)

    def _begin(self) -> None:
        """Learn the time and the coins, and where the last run ended. Blocks."""
        for _ in range(2):  # the first call also makes the connection, so its time says little
            before = time.time() * 1000
            self._clock.set(repair.exchange_ms(self._http, self.providers[0]))
        self._ahead_ms = self._clock.ms - (before + time.time() * 1000) / 2
        self._markets = [self._market(provider) for provider in self.providers]
        marks = writer.closed_hours(self.hot)
        self._closed = marks[-1] if marks else self._clock().replace(minute=0, second=0, microsecond=0)
        self._rolled = self._first_day()

    def _market(self, provider: str) -> _Market:
        emit = partial(self._writer.add, provider)
        venue = Venue(provider, self._http, self.stats, self._writer.room)
        venue.load(self.settings.universe)
        market = _Market(
            venue, Bars(provider, emit, self.stats), Trades(provider, emit, self.stats), Books(provider, emit, self.stats)
        )
        handlers = {
            "klines": partial(self._on_kline, market),
            "trades": partial(self._on_trade, market),
            "depth": partial(self._on_depth, market),
        }
        for channel in self.channels:
            venue.feeds[channel] = Feed(provider, channel, handlers[channel], SUBSCRIBE[channel])
        if "trades" in self.channels:
            venue.feeds["trades"].on_ack = market.trades.heard
            venue.feeds["trades"].on_loss = partial(market.trades.heard, False)
        if "depth" in self.channels:
            venue.feeds["depth"].on_ack = market.books.lost
        for symbol in venue.symbols:
            self._resume(market, symbol)
        return market

    def _resume(self, market: _Market, symbol: str) -> None:
        """Begin a coin's series where they were stored last."""
        now, provider = self._clock(), market.venue.name
        for interval, back in (("1m", MINUTES_BACK), ("1h", HOURS_BACK)):
            step = STEP_MS[interval]
            rows = self.hot.range(kind(provider, f"candles_{interval}"), symbol, now - back, now)
            stored = [round(row.ts.timestamp() * 1000) for row in rows]
            newest = self._clock.ms // step * step - step
            oldest = (self._clock.ms - round(back.total_seconds() * 1000)) // step * step
            done = oldest if interval == "1h" else min([newest, *(ts - step for ts in stored)])
            market.bars.start(symbol, interval, done, stored)
        market.books.start(symbol)
        last = self.hot.newest(kind(provider, "trades_1m"), symbol)
        if last and now - last[0].ts < MINUTES_BACK:
            market.trades.start(symbol, last[0].value["last_id"], round(last[0].ts.timestamp() * 1000))
        else:
            market.trades.start(symbol)

    def _jobs(self, stopping: asyncio.Event) -> list[Awaitable[None]]:
        jobs: list[Awaitable[None]] = [self._writer.run(stopping), self._sweep(stopping)]
        for market in self._markets:
            market.venue.open(self._clock.hear)
            jobs += [market.venue.keep(channel, stopping) for channel in self.channels]
        return [*jobs, self._poll(stopping)] if self.sources else jobs

    def _on_kline(self, market: _Market, symbol: str, message: Mapping[str, Any], received: float) -> None:
        k = message["k"]
        market.bars.on_kline(symbol, k, received)
        if k["i"] == "1m":
            self._heard(market, symbol, int(message["E"]), finite(k["c"]), received)

    def _on_trade(self, market: _Market, symbol: str, message: Mapping[str, Any], received: float) -> None:
        market.trades.on_trade(symbol, message)
        self._heard(market, symbol, int(message["E"]), finite(message["p"]), received)

    def _on_depth(self, market: _Market, symbol: str, message: Mapping[str, Any], received: float) -> None:
        market.books.on_depth(symbol, message)

    def _heard(self, market: _Market, symbol: str, ms: int, price: float, received: float) -> None:
        provider = market.venue.name
        self._writer.quote(provider, symbol, ms, {"price": price}, received)
        self.stats.prices[provider, symbol] = price
        self.stats.lag_ms[provider] = time.time() * 1000 + self._ahead_ms - ms

    async def _sweep(self, stopping: asyncio.Event) -> None:
        """Once a second: what has ended is closed, what is missing is asked for, what is silent is dropped."""
        while not stopping.is_set():
            await asyncio.sleep(SWEEP_S)
            for market in self._markets:
                market.venue.watch_silence()
                market.trades.close(self._clock.ms)
                market.books.close(self._clock.ms)
                self._quote_books(market)
            for repairing in (self._ask_time(), *(self._repair(market) for market in self._markets)):
                try:
                    await repairing
                except (SourceError, *MALFORMED) as error:  # asked again in the next sweep
                    log.info("repair: %s: %s", type(error).__name__, str(error)[:200])
            await self._close_hours()

    async def _ask_time(self) -> None:
        if self._clock.is_stale:
            self._clock.set(await asyncio.to_thread(repair.exchange_ms, self._http, self.providers[0]))

    async def _repair(self, market: _Market) -> None:
        provider, names = market.venue.name, market.venue.symbols
        if holes := market.bars.holes(self._clock.ms):
            found = await asyncio.to_thread(repair.bars, self._http, provider, holes)
            for hole in holes:
                market.bars.repaired(hole, found[hole.symbol, hole.interval], time.monotonic())
        for symbol in market.trades.unsure():
            epoch = market.trades.epoch
            number = await asyncio.to_thread(repair.newest_trade, self._http, provider, names[symbol])
            market.trades.confirm(symbol, number, self._clock.ms, epoch)
        for missing in market.trades.missing():
            rows = await asyncio.to_thread(repair.trades, self._http, provider, names[missing.symbol], missing)
            market.trades.repaired(missing, rows)
        for symbol in market.books.awaited():
            answer = await asyncio.to_thread(repair.depth, self._http, provider, names[symbol])
            market.books.snapshot(symbol, answer)

    def _quote_books(self, market: _Market) -> None:
        for symbol in market.venue.symbols:
            if best := market.books.best(symbol):
                values = {"bid": best[0], "ask": best[1]}
                self._writer.quote(market.venue.name, symbol, self._clock.ms, values, time.monotonic())

    async def _close_hours(self) -> None:
        """Mark and roll each hour that is whole at every venue, or late."""
        until = [market.bars.complete_until("1h") for market in self._markets]
        whole = min(ms for ms in until if ms is not None) if "klines" in self.channels else 0
        while self._closed + HOUR <= self._clock():
            closing = self._closed + HOUR
            if whole < closing.timestamp() * 1000 and self._clock() < closing + LATE:
                return
            try:
                await self._writer.flush()
                for source in self.sources:
                    if source.is_core and source.provider in self.providers:
                        await self._poll_one(source)  # a settlement of funding falls on the hour, and counts from then on
                await asyncio.to_thread(self._close_hour, closing)
            except LakeError as error:
                log.warning("hour %s: %s", closing, error)
                return
            self._closed = closing

    def _close_hour(self, closing: datetime) -> None:
        writer.mark(self.hot, self.providers, closing)
        self._roll(closing)

    def _roll(self, until: datetime) -> None:
        writer.roll(self._lake, self.hot, self.providers, self._rolled, until)
        self._rolled = (until - HOUR).date()

    def _first_day(self) -> Any:
        """The oldest day that the store may hold and the `live` tables not."""
        marks = writer.closed_hours(self.hot)
        return ((marks[-1] if marks else self._clock()) - DAY).date()

    async def _poll(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            for source in self.sources:
                if time.monotonic() >= self._due.get(source.name, 0.0) and not stopping.is_set():
                    await self._poll_one(source)
            await asyncio.sleep(SWEEP_S)

    async def _poll_one(self, source: Source) -> None:
        is_first = source.name not in self._due
        self._due[source.name] = time.monotonic() + polling.pace(source).total_seconds()
        said = await asyncio.to_thread(polling.poll, source, self._http, self._lake, is_first)
        self.stats.polled[source.name] = f"{self._clock():%H:%M} {said}"

    async def _end(self, tasks: Sequence[asyncio.Future[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for market in self._markets:
            await market.venue.close()
            market.trades.close(self._clock.ms)
            market.books.close(self._clock.ms)
        await self._writer.flush()
        await asyncio.to_thread(self._roll, self._clock() + timedelta(milliseconds=1))
