"""What both Binance hosts have in common: symbols of the day, klines, trades, the book, exchangeInfo, the error body."""

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
from crypto_assets.sandbox import book as books
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox.candles import COLUMNS
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import decimal, from_ms, json_text, to_ms

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
STEPS = {
    **{f"{n}m": timedelta(minutes=n) for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": timedelta(hours=n) for n in (1, 2, 4, 6, 8, 12)},
    "1d": timedelta(days=1),
}
"""The intervals that are served: those that divide a day."""
FOREVER = datetime(2100, 1, 1, tzinfo=UTC)
MOST_TRADES = 1000
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
    step = STEPS.get(interval)
    if step is None:
        raise RefusedError(-1120, f"Invalid interval. The sandbox has {', '.join(STEPS)}.")
    limit = limit_of(query, most, DEFAULT_LIMIT)
    now = world.now()
    start, end = span(query, listed, limit * step, now)
    make = _minutes if step < HOUR else _hours
    bars = make(world, listed.symbol, venue, step, (start, end), limit, "startTime" in query) if start < end else []
    rows = [_kline(bar, step, to_ms(now)) for bar in bars]
    return json_text(f"[{','.join(rows)}]", headers={"X-MBX-USED-WEIGHT-1M": "2"})


def _hours(
    world: World, symbol: str, venue: str, step: timedelta, span: tuple[datetime, datetime], limit: int, is_forward: bool
) -> list[micro.Bar]:
    """Bars of whole hours whose open lies in the span; the open one as far as it has come."""
    now, length = micro.ms_of(world.now()), step // timedelta(milliseconds=1)
    first = -(-micro.ms_of(span[0]) // length) * length
    frame = world.market.candles(symbol, venue, datetime.fromtimestamp(first / 1000, UTC), span[1])
    most = limit * (step // HOUR)
    chosen = frame.head(most) if is_forward else frame.tail(most + step // HOUR)
    groups: dict[int, list[micro.Bar]] = {}
    opens = chosen["ts"].dt.epoch("ms").to_list()
    rows: list[micro.Row] = chosen.select(COLUMNS).rows()  # type: ignore[assignment]
    for opened, row in zip(opens, rows, strict=True):
        bar: micro.Bar | None = micro.Bar(opened, *row, -1, -1)
        if opened + micro.HOUR_MS > now:
            bar = micro.bar_until(world.market, symbol, venue, micro.HOUR_MS, opened, now)
        groups.setdefault(opened // length * length, []).extend([bar] if bar else [])
    joined = [bars[0] if step == HOUR else micro.joined(bars, opened) for opened, bars in groups.items()]
    return joined[:limit] if is_forward else joined[-limit:]


def _minutes(
    world: World, symbol: str, venue: str, step: timedelta, span: tuple[datetime, datetime], limit: int, is_forward: bool
) -> list[micro.Bar]:
    """Bars of less than an hour whose open lies in the span; the open one as far as it has come."""
    now, length = micro.ms_of(world.now()), step // timedelta(milliseconds=1)
    start, end = micro.ms_of(span[0]), micro.ms_of(span[1])
    hours = world.market.candles(symbol, venue, span[0] - HOUR, span[1])["ts"].dt.epoch("ms").to_list()
    found: list[micro.Bar] = []
    for hour in hours if is_forward else reversed(hours):
        opens = [t for t in range(hour, hour + micro.HOUR_MS, length) if start <= t < end]
        bars = [micro.bar_until(world.market, symbol, venue, length, t, min(t + length, now)) for t in opens]
        known = [bar for bar in bars if bar is not None]
        found = found + known if is_forward else known + found
        if len(found) >= limit:
            break
    return found[:limit] if is_forward else found[-limit:]


def _kline(bar: micro.Bar, step: timedelta, now: int) -> str:
    """One row."""
    taken = bar.taker_buy_volume / bar.volume * bar.quote_volume_usd if bar.volume else 0.0
    closing = bar.opened_ms + step // timedelta(milliseconds=1) - 1
    return (
        f'[{bar.opened_ms},"{decimal(bar.open)}","{decimal(bar.high)}","{decimal(bar.low)}","{decimal(bar.close)}",'
        f'"{decimal(bar.volume)}",{closing},"{decimal(bar.quote_volume_usd)}",{bar.trades},"{decimal(bar.taker_buy_volume)}",'
        f'"{taken:.8f}","0"]'
    )


def depth(world: World, request: Request, venue: str) -> Response:
    """The book now; its `lastUpdateId` is that of the streams' diffs."""
    query = request.query_params
    listed = symbol_of(world, query)
    limit = limit_of(query, 5000, 100 if venue == "spot" else 500)
    now = world.now()
    at = to_ms(now)
    found = books.book(world.market, listed.symbol, venue, at) if listed.start <= now < listed.end else None
    times = f'"E":{at},"T":{at},' if venue == "perp" else ""
    if found is None:
        return json_text(f'{{"lastUpdateId":{at // books.TICK_MS},{times}"bids":[],"asks":[]}}')
    bids, asks = found.text(found.bids.head(limit)), found.text(found.asks.head(limit))
    return json_text(f'{{"lastUpdateId":{found.update_id},{times}"bids":{bids},"asks":{asks}}}')


def aggregate_trades(world: World, request: Request, venue: str) -> Response:
    """Aggregate trades, ascending: from an id, or of a span of time, or the newest."""
    query = request.query_params
    listed = symbol_of(world, query)
    limit = limit_of(query, MOST_TRADES, DEFAULT_LIMIT)
    now = world.now()
    if "fromId" in query:
        if "startTime" in query or "endTime" in query:
            raise RefusedError(-1128, "Combination of optional parameters invalid.")
        if not query["fromId"].isdecimal():
            raise RefusedError(-1100, "Illegal characters found in a parameter.")
        until = micro.ms_of(min(now, listed.end))
        frame = micro.aggregate_ids(world.market, listed.symbol, venue, int(query["fromId"]), limit, until)
    else:
        start, end = span(query, listed, timedelta(0), now)
        frame = _some_trades(world, listed.symbol, venue, (start, end), limit, "startTime" in query)
    best_match = ',"M":true' if venue == "spot" else ""
    rows = [
        f'{{"a":{a},"p":"{decimal(p)}","q":"{decimal(q)}","f":{f},"l":{end},"T":{t},"m":{str(m).lower()}{best_match}}}'
        for t, a, p, q, f, end, m in frame.with_columns(pl.col("ts").dt.epoch("ms")).iter_rows()
    ]
    return json_text(f"[{','.join(rows)}]", headers={"X-MBX-USED-WEIGHT-1M": "4"})


def _some_trades(
    world: World, symbol: str, venue: str, span: tuple[datetime, datetime], limit: int, is_forward: bool
) -> pl.DataFrame:
    """The first trades of the span or its last ones, hour by hour until there are enough."""
    start, end = span
    whole = [start + n * HOUR for n in range(max(-((start - end) // HOUR), 0))]
    parts: list[pl.DataFrame] = []
    for opened in whole if is_forward else reversed(whole):
        part = micro.trades(world.market, symbol, venue, opened, min(opened + HOUR, end))
        parts = [*parts, part] if is_forward else [part, *parts]
        if sum(p.height for p in parts) >= limit:
            break
    found = pl.concat(parts) if parts else micro.trades(world.market, symbol, venue, start, start)
    return found.head(limit) if is_forward else found.tail(limit)


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
