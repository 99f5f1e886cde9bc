"""Binance USD-M. REST: `/fapi/v1/ping`, `time`, `exchangeInfo`, `klines` (at most 1500 bars), `aggTrades`, `depth`,
`premiumIndexKlines`,
`fundingRate` (at most 1000); `/futures/data/...`. WebSocket: books and single trades under `/public`, all else under `/market`;
the old root is silent.
"""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _binance_socket as socket
from crypto_assets.sandbox.endpoints._binance import (
    aggregate_trades,
    answering,
    depth,
    exchange_info,
    klines,
    limit_of,
    span,
    symbol_of,
)
from crypto_assets.sandbox.endpoints._binance_market import POSITIONS, held, premium_klines
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text, to_ms

EMPTY = b"[]"
MOST_BARS = 1500
MOST_SETTLEMENTS = 1000
PUBLIC: tuple[str, ...] = ("depth", "bookTicker", "trade")
MARKET: tuple[str, ...] = ("aggTrade", "kline", "ticker", "miniTicker")
NONE: tuple[str, ...] = ()
"""Channels by route since 2026-04-23. On another route a subscription is acknowledged and nothing comes."""
JITTER_MS = 3
"""Settlements are stamped a few milliseconds late."""


def routes(world: World) -> list[BaseRoute]:
    """The routes of this provider."""
    return [
        get("/fapi/v1/ping", lambda _: json_text("{}")),
        get("/fapi/v1/time", lambda _: json_text(f'{{"serverTime":{to_ms(world.now())}}}')),
        get("/fapi/v1/exchangeInfo", lambda _: exchange_info(world, is_perp=True)),
        get("/fapi/v1/klines", answering(lambda request: klines(world, request, "perp", MOST_BARS))),
        get("/fapi/v1/aggTrades", answering(lambda request: aggregate_trades(world, request, "perp"))),
        get("/fapi/v1/depth", answering(lambda request: depth(world, request, "perp"))),
        get("/fapi/v1/premiumIndexKlines", answering(lambda request: premium_klines(world, request, MOST_BARS))),
        *(get(f"/futures/data/{call}", answering(partial(held, world, call=call))) for call in POSITIONS),
        get("/fapi/v1/fundingRate", answering(lambda request: _funding(world, request))),
        *socket.routes(world, "perp", "/public", PUBLIC),
        *socket.routes(world, "perp", "/market", MARKET),
        *socket.routes(world, "perp", carries=NONE),
    ]


def _funding(world: World, request: Request) -> Response:
    """Settlements, ascending; without times the last 200."""
    query = request.query_params
    listed = symbol_of(world, query)
    limit = limit_of(query, MOST_SETTLEMENTS, 100 if "startTime" in query or "endTime" in query else 200)
    late = timedelta(milliseconds=JITTER_MS)
    start, end = span(query, listed, limit * timedelta(hours=8), world.now())
    frame = world.market.funding(listed.symbol, start - late, end - late) if start < end else pl.DataFrame()
    name = query["symbol"]
    rows = [
        {
            "symbol": name,
            "fundingTime": to_ms(row["ts"]) + JITTER_MS,
            "fundingRate": f"{row['funding_rate']:.8f}",
            "markPrice": "" if row["mark_price"] is None else decimal(row["mark_price"]),
            "rateType": "Regular",
        }
        for row in frame.iter_rows(named=True)
    ]
    return json_text(json.dumps(rows[:limit] if "startTime" in query else rows[-limit:]))
