"""Binance spot. REST: `/api/v3/ping`, `time`, `exchangeInfo`, `klines` (at most 1000 bars), `aggTrades`, `depth`,
`ticker/24hr`. WebSocket.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from crypto_assets.sandbox.endpoints import World, _paxg
from crypto_assets.sandbox.endpoints import _binance_socket as socket
from crypto_assets.sandbox.endpoints._binance import aggregate_trades, answering, depth, exchange_info, klines
from crypto_assets.sandbox.endpoints._binance_market import tickers
from crypto_assets.sandbox.endpoints._wire import get, json_text, to_ms

EMPTY = b"[]"
MOST_BARS = 1000


def routes(world: World) -> list[BaseRoute]:
    """The routes of this provider."""
    return [
        get("/api/v3/ping", lambda _: json_text("{}")),
        get("/api/v3/time", lambda _: json_text(f'{{"serverTime":{to_ms(world.now())}}}')),
        get("/api/v3/exchangeInfo", lambda _: exchange_info(world, is_perp=False)),
        get(
            "/api/v3/klines",
            answering(lambda request: _paxg.klines(world, request) or klines(world, request, "spot", MOST_BARS)),
        ),
        get("/api/v3/aggTrades", answering(lambda request: aggregate_trades(world, request, "spot"))),
        get("/api/v3/depth", answering(lambda request: depth(world, request, "spot"))),
        get("/api/v3/ticker/24hr", answering(lambda request: tickers(world, request))),
        *socket.routes(world, "spot"),
    ]
