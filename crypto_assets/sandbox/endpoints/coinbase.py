"""Coinbase Exchange: `/products/{id}/candles`, `/time`; newest first, at most 300 bars a call, numbers, seconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import HOUR
from crypto_assets.sandbox import venues
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._binance import Listed, symbols
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b"[]"
MOST_BARS = 300
GRANULARITIES = ("60", "300", "900", "3600", "21600", "86400")


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/products/{product}/candles", lambda request: _candles(world, request)),
        get("/time", lambda _: json_text(json.dumps({"iso": world.now().isoformat(), "epoch": world.now().timestamp()}))),
    ]


def _candles(world: World, request: Request) -> Response:
    query = request.query_params
    base, _, quote = request.path_params["product"].partition("-")
    listed = symbols(world).get(f"{base}USDT")
    if listed is None or quote != "USD":
        return _refused(404, "NotFound")
    if query.get("granularity") not in GRANULARITIES:
        return _refused(400, "Unsupported granularity")
    if query["granularity"] != "3600":
        return _refused(400, "Unsupported granularity: the sandbox has 3600 only")
    now = world.now()
    try:
        start, end = _time(query["start"]), _time(query["end"])
    except KeyError:  # one of them alone is ignored
        start, end = now - (MOST_BARS - 1) * HOUR, now
    except ValueError:
        return _refused(400, "start must be a valid date")
    if (end - start) // HOUR + 1 > MOST_BARS:
        message = "granularity too small for the requested time range. Count of aggregations requested exceeds 300"
        return _refused(400, message)
    return json_text(json.dumps(_rows(world, listed, start, end, now)))


def _rows(world: World, listed: Listed, start: datetime, end: datetime, now: datetime) -> list[list[float]]:
    """Newest first, both ends inclusive; of an open bar only the first price is known."""
    until = min(end + timedelta(microseconds=1), now, listed.end)
    start = max(start, listed.start)
    if start >= until:
        return []
    frame = venues.bars(world.market, "coinbase", listed.symbol, start, until).sort("ts", descending=True)
    found = []
    for ts, first, high, low, last, volume in frame.select("ts", "open", "high", "low", "close", "volume").iter_rows():
        is_open = ts + HOUR > now
        prices = [first, first, first, first, 0.0] if is_open else [low, high, first, last, volume]
        found.append([int(ts.timestamp()), *prices])
    return found


def _time(text: str) -> datetime:
    """ISO 8601 or Unix seconds. Raises ValueError."""
    if text.isdecimal():
        return datetime.fromtimestamp(int(text), UTC)
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _refused(status: int, message: str) -> Response:
    return json_text(json.dumps({"message": message}), status)


def _table(market: SimulatedMarket, start: datetime, end: datetime, names: tuple[str, ...]) -> pl.DataFrame:
    return venues.rows(market, "coinbase", start, end, names).drop("vwap", "trades")


TABLES = {"coinbase_candles": _table}
