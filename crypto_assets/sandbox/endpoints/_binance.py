"""What both Binance hosts have in common: symbols of the day, klines, exchangeInfo, the error body."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from crypto_assets.market.coins import COINS
from crypto_assets.market.time import HOUR, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import decimal, from_ms, json_text, to_ms

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
DEFAULT_LIMIT = 500


@dataclass(frozen=True)
class Listed:
    """A coin under one of its exchange symbols, and when that symbol traded."""

    symbol: str
    start: datetime
    end: datetime


class RefusedError(Exception):
    """An answer in the exchange's error format."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.response = json_text(json.dumps({"code": code, "msg": msg}), 400)


def symbols(world: World) -> dict[str, Listed]:
    """Exchange symbol -> coin, former names included."""
    found = {}
    for symbol in world.market.symbols:
        start, end = world.market.listing(symbol)
        for old, until in COINS[symbol].former:
            found[f"{old}USDT"] = Listed(symbol, start, midnight(until))
            start = midnight(until)
        found[f"{symbol}USDT"] = Listed(symbol, start, end or FOREVER)
    return found


def answering(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """The handler, with what it refuses turned into the exchange's error body."""

    def guarded(request: Request) -> Response:
        try:
            return handler(request)
        except RefusedError as refused:
            return refused.response

    return guarded


def klines(world: World, request: Request, venue: str, most: int) -> Response:
    """Rows of twelve, ascending, `startTime` and `endTime` inclusive; the last one may still be open."""
    query = request.query_params
    listed = symbol_of(world, query)
    interval = query.get("interval")
    if interval not in INTERVALS:
        raise RefusedError(-1120, "Invalid interval.") if interval else missing("interval")
    if interval != "1h":
        raise RefusedError(-1120, "Invalid interval. The sandbox has 1h only.")
    limit = limit_of(query, most, DEFAULT_LIMIT)
    now = world.now()
    start, end = span(query, listed, limit * HOUR, now)
    frame = world.market.candles(listed.symbol, venue, start, end) if start < end else pl.DataFrame()
    chosen = frame.head(limit) if "startTime" in query else frame.tail(limit)
    rows = [_kline(row, now) for row in chosen.select(_COLUMNS).iter_rows()] if chosen.height else []
    return json_text(f"[{','.join(rows)}]", headers={"X-MBX-USED-WEIGHT-1M": "2"})


_COLUMNS = (
    pl.col("ts").dt.epoch("ms"),
    *("open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume"),
)


def _kline(row: tuple, now: datetime) -> str:
    """One row; of an open bar only the first price is known."""
    opened, first, high, low, last, volume, quote, trades, bought = row
    closing = opened + 3_600_000 - 1
    if closing >= to_ms(now):
        price = decimal(first)
        return f'[{opened},"{price}","{price}","{price}","{price}","0.0",{closing},"0.0",0,"0.0","0.0","0"]'
    taken = bought / volume * quote if volume else 0.0
    return (
        f'[{opened},"{decimal(first)}","{decimal(high)}","{decimal(low)}","{decimal(last)}","{decimal(volume)}",{closing},'
        f'"{decimal(quote)}",{trades},"{decimal(bought)}","{taken:.8f}","0"]'
    )


def span(query: QueryParams, listed: Listed, room: timedelta, now: datetime) -> tuple[datetime, datetime]:
    """[start, end) that is asked for and listed: forward from `startTime`, else backward from `endTime` or now."""
    try:
        last = min(from_ms(query["endTime"]) + timedelta(milliseconds=1), now) if "endTime" in query else now
        first = from_ms(query["startTime"]) if "startTime" in query else last - room - HOUR
    except (ValueError, OverflowError, OSError):
        raise RefusedError(-1100, "Illegal characters found in a parameter.") from None
    first = max(first, listed.start)
    return first, min(last, listed.end)


def symbol_of(world: World, query: QueryParams) -> Listed:
    """The coin asked for."""
    symbol = query.get("symbol") or ""
    if not symbol:
        raise missing("symbol")
    if symbol not in (known := symbols(world)):
        raise RefusedError(-1121, "Invalid symbol.")
    return known[symbol]


def limit_of(query: QueryParams, most: int, default: int) -> int:
    """Number of rows asked for; more than `most` gives `most`."""
    text = query.get("limit", str(default))
    if not text.isdecimal() or int(text) < 1:
        raise RefusedError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(int(text), most)


def missing(name: str) -> RefusedError:
    """The refusal for a parameter that is not there."""
    return RefusedError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def exchange_info(world: World, is_perp: bool) -> Response:
    """Rate limits, and the symbols that trade now with the filters clients need."""
    now = world.now()
    weight = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400 if is_perp else 6000}
    body = {
        "timezone": "UTC",
        "serverTime": to_ms(now),
        "rateLimits": [weight],
        "exchangeFilters": [],
        "symbols": [_symbol(name, is_perp, e) for name, e in symbols(world).items() if e.start <= now < e.end],
    }
    return json_text(json.dumps(body))


def _symbol(name: str, is_perp: bool, entry: Listed) -> dict:
    base = name.removesuffix("USDT")
    shared = {
        "symbol": name,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.00000001", "maxPrice": "10000000", "tickSize": "0.00000001"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "100000000", "stepSize": "0.001"},
        ],
    }
    if not is_perp:
        return {**shared, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissionSets": [["SPOT"]]}
    return {
        **shared,
        "pair": name,
        "contractType": "PERPETUAL",
        "marginAsset": "USDT",
        "onboardDate": to_ms(entry.start),
        "deliveryDate": 4_133_404_800_000,
        "pricePrecision": 8,
        "quantityPrecision": 3,
        "underlyingType": "COIN",
    }
