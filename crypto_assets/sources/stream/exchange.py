"""ccxt.pro clients that hand each message on as the exchange sent it, and the loops that keep them connected.

ccxt.pro knows where and how to subscribe, answers pings and tells when a connection is lost. Its own handlers build unified
structures and drop what is needed here (is a bar final, the numbers of trades and updates), so they are replaced by ours.
A reader takes no further message while the store has no room, so that the socket, not the memory, fills.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from crypto_assets.market.coins import Universe
from crypto_assets.market.errors import SettingsError
from crypto_assets.sources._exchange import CLASSES
from crypto_assets.sources._http import Http
from crypto_assets.sources._providers import base_of, provider
from crypto_assets.sources.stream.stats import Stats

SOCKETS = {"binance_spot": "wss://data-stream.binance.vision/ws", "binance_futures": "wss://fstream.binance.com/ws"}
"""Where the streams are in world live: spot market data without a key; futures, where ccxt.pro adds the route."""
KINDS_OF_SOCKET = {"binance_spot": "spot", "binance_futures": "linear"}
CHANNELS = {"klines": "kline", "trades": "aggTrade", "depth": "depthUpdate"}
"""Channel -> event type of its messages."""
BREATH = 64
"""Messages handled in a row before others get a turn."""
SILENCE_S = {"klines": 20.0, "trades": 120.0, "depth": 20.0}
"""A channel that is silent for so long is taken for dead: klines come every two seconds and books several times a second; a
subscription on the wrong route is acknowledged and then silent for ever."""
BACKOFF_S, LONGEST_BACKOFF_S = 0.25, 30.0
HEALTHY_S = 5.0
"""A connection that brought messages for so long was a good one: after it the pause begins small again."""
MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError)
log = logging.getLogger(__name__)

Handler = Callable[[str, Mapping[str, Any], float], None]
"""Called with our symbol, the message, and when it came (monotonic seconds)."""


@dataclass
class Feed:
    """One channel of one provider: a connection that is made again whenever it is lost."""

    provider: str
    channel: str
    handler: Handler
    watch: Callable[[Any, Sequence[str]], Awaitable[Any]]
    """Subscribes the ccxt client to ccxt symbols; ends only by an error."""
    on_ack: Callable[[], None] = lambda: None
    """Called each time a subscription begins anew."""
    on_loss: Callable[[], None] = lambda: None
    """Called each time it is lost."""
    seen: float = field(default_factory=time.monotonic)
    is_open: bool = False
    silences: int = 0


def subscribe_klines(client: Any, symbols: Sequence[str]) -> Awaitable[Any]:
    """Minute and hour bars."""
    return client.watch_ohlcv_for_symbols([[s, interval] for interval in ("1m", "1h") for s in symbols])


def subscribe_trades(client: Any, symbols: Sequence[str]) -> Awaitable[Any]:
    """Aggregate trades."""
    return client.watch_trades_for_symbols(list(symbols), params={"name": "aggTrade"})


def subscribe_depth(client: Any, symbols: Sequence[str]) -> Awaitable[Any]:
    """Differences of the book, ten a second."""
    return client.watch_order_book_for_symbols(list(symbols))


SUBSCRIBE = {"klines": subscribe_klines, "trades": subscribe_trades, "depth": subscribe_depth}


class Venue:
    """One exchange: its ccxt.pro client, its listed coins, and its feeds. `room` is awaited before more is read."""

    def __init__(self, name: str, http: Http, stats: Stats, room: Callable[[], Awaitable[None]]) -> None:
        self.name, self._http, self._stats, self._room = name, http, stats, room
        self.feeds: dict[str, Feed] = {}
        self.client: Any = None
        self.symbols: dict[str, str] = {}
        """Our symbol -> the exchange's name (`BTCUSDT`)."""
        self._ours: dict[str, str] = {}
        self._clock: Callable[[int, float], None] = lambda ms, received: None

    def load(self, universe: Universe) -> None:
        """Learn which coins trade now, by REST. Raises SettingsError when none of the universe does, else a SourceError."""
        markets = self._http.through(self.name, self._markets)
        today = self._http.now().date()
        names = {coin.symbol: coin.name_at(self.name, today).split(":")[0].replace("/", "") for coin in universe}
        self.symbols = {ours: name for ours, name in names.items() if name in markets}
        self._ours = {name: ours for ours, name in self.symbols.items()}
        if not self.symbols:
            raise SettingsError(f"{self.name} trades none of {', '.join(universe.symbols)} now: choose others with --symbols")

    def open(self, clock: Callable[[int, float], None]) -> None:
        """Make the client, inside the running event loop; `clock(ms, received)` is told each message's time."""
        self._clock = clock
        self.client = connect(self.name, self._http, self._handle, self._room, self._acknowledged, self._malformed)
        sync = self._http.exchange(self.name)
        self.client.set_markets(sync.markets)

    async def keep(self, channel: str, stopping: asyncio.Event) -> None:
        """Hold one feed open until `stopping`; after a loss wait a little longer each time, with jitter, and begin anew."""
        import ccxt

        feed, failures = self.feeds[channel], 0
        by_id = self.client.markets_by_id
        names = [by_id[name][0]["symbol"] for name in self.symbols.values()]
        while not stopping.is_set():
            began = feed.seen = time.monotonic()
            feed.is_open = True
            self._stats.count("connects", self.name, channel)
            try:
                await feed.watch(self.client, names)
            except ccxt.BaseError as error:
                log.info("%s %s: connection lost (%s)", self.name, channel, type(error).__name__)
            feed.is_open = False
            feed.on_loss()
            if stopping.is_set():
                return
            self._stats.count("reconnects", self.name, channel)
            failures = 0 if feed.seen - began > HEALTHY_S else failures + 1
            await asyncio.sleep(pause(failures))

    def drop(self, channel: str, why: str) -> None:
        """Give the connection of a channel up, so that it is made anew."""
        import ccxt

        for client in list(self.client.clients.values()):
            if channel_of(client) == channel:
                client.on_error(ccxt.RequestTimeout(why))

    def watch_silence(self) -> None:
        """Drop every feed that has been silent for too long."""
        for channel, feed in self.feeds.items():
            if feed.is_open and time.monotonic() - feed.seen > SILENCE_S[channel]:
                feed.silences, feed.seen = feed.silences + 1, time.monotonic()
                self._stats.count("silences", self.name, channel)
                if feed.silences == 1:
                    log.warning(
                        "%s %s: subscribed, but nothing came for %g s: connecting anew (a subscription on a wrong route is "
                        "acknowledged and silent)",
                        *(self.name, channel, SILENCE_S[channel]),
                    )
                self.drop(channel, "silent")

    async def close(self) -> None:
        """Close every connection."""
        if self.client is not None:
            await self.client.close()

    def _markets(self) -> set[str]:
        exchange = self._http.exchange(self.name)
        return {
            m["id"] for m in _translated(self.name, lambda: exchange.load_markets(True)).values() if m["active"] is not False
        }

    def _handle(self, message: Mapping[str, Any]) -> bool:
        """Hand a message to its feed; False for one that is none of ours (acknowledgements, errors)."""
        channel = _CHANNEL_OF.get(message.get("e"))  # type: ignore[arg-type]
        if channel is None or channel not in self.feeds:
            return False
        feed, received = self.feeds[channel], time.monotonic()
        feed.seen, feed.silences = received, 0
        self._stats.counts["messages", self.name, channel] += 1
        ours = self._ours.get(message["s"])
        if ours is not None:
            feed.handler(ours, message, received)
            self._clock(int(message["E"]), received)
        return True

    def _acknowledged(self, channel: str) -> None:
        if channel in self.feeds:
            self.feeds[channel].on_ack()

    def _malformed(self, error: Exception) -> None:
        self._stats.count("malformed", self.name, "all")
        log.info("%s: a message was not as documented (%s: %s)", self.name, type(error).__name__, str(error)[:80])


def channel_of(client: Any) -> str:
    """The channel a ccxt connection is subscribed to, by ccxt's names of its subscriptions; empty before there is one."""
    hashes = {"ohlcv": "klines", "trade": "trades", "orderbook": "depth"}
    return hashes.get(next(iter(client.subscriptions), "").split("::")[0], "")


_CHANNEL_OF = {event: channel for channel, event in CHANNELS.items()}


def pause(failures: int) -> float:
    """Seconds before the next attempt: doubling, at most half a minute, half of it by chance."""
    longest = min(LONGEST_BACKOFF_S, BACKOFF_S * 2 ** min(failures, 10))
    return longest * (0.5 + 0.5 * random.random())


def socket_of(name: str, http: Http) -> str:
    """Address of a provider's WebSocket streams in this world."""
    if not http.is_loopback:
        return SOCKETS[name]
    parts = urlsplit(base_of(provider(name), http.settings))
    return f"ws://{parts.netloc}{parts.path}/ws"


def connect(
    name: str,
    http: Http,
    handle: Callable[[Mapping[str, Any]], bool],
    room: Callable[[], Awaitable[None]],
    acknowledged: Callable[[str], None],
    malformed: Callable[[Exception], None],
) -> Any:
    """A ccxt.pro client of the provider in this world, whose messages go to `handle`."""
    import ccxt
    import ccxt.pro

    parent: Any = getattr(ccxt.pro, CLASSES[name])

    class Client(parent):
        def client(self, url):
            found = super().client(url)
            found.receive_loop = lambda: asyncio.ensure_future(_read(found, room, malformed))
            return found

        def handle_message(self, client, message):
            if not isinstance(message, dict):
                raise ValueError(f"expected a JSON object, found {str(message)[:40]!r}")
            if message.get("e") == "serverShutdown":
                client.on_error(ccxt.NetworkError("the server is about to shut down"))
            elif "result" in message:
                acknowledged(channel_of(client))
            elif "error" in message:
                super().handle_message(client, message)
            elif not handle(message):
                raise ValueError(f"expected an event or an answer, found the keys {list(message)[:8]}")

    # Without compression a message costs half as much to read.
    options = {"ws": {"compress": 0}}
    client = Client({"enableRateLimit": not http.is_loopback, "userAgent": http.settings.contact, "options": options})
    client.urls["api"]["ws"][KINDS_OF_SOCKET[name]] = socket_of(name, http)
    return client


async def _read(client: Any, room: Callable[[], Awaitable[None]], malformed: Callable[[Exception], None]) -> None:
    """Read one connection to its end; a message that cannot be read is counted, not fatal."""
    import ccxt

    since = 0
    try:
        while not client.closed():
            message = await client.receive()
            try:
                client.handle_message(message)
            except MALFORMED as error:
                malformed(error)
            since += 1
            if since >= BREATH:
                since = 0
                await room()
                await asyncio.sleep(0)
    except (OSError, RuntimeError) as error:
        client.reject(ccxt.NetworkError(str(error)))
    finally:
        if client.futures:
            client.on_close(1006)


def _translated(name: str, call: Callable[[], Any]) -> Any:
    import ccxt

    from crypto_assets.market.errors import BadPayloadError, UnavailableError

    try:
        return call()
    except ccxt.NetworkError as error:
        raise UnavailableError(name, f"exchangeInfo: no usable answer ({type(error).__name__}): check the connection") from None
    except ccxt.BaseError as error:
        raise BadPayloadError(
            name, f"exchangeInfo: refused ({type(error).__name__}): see whether the interface changed"
        ) from None
