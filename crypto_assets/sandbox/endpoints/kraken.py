"""Kraken: `/0/public/OHLC`, `/0/public/Time`; the newest 720 bars, prices in text, errors with HTTP 200."""

from __future__ import annotations

import json
from datetime import datetime

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import HOUR
from crypto_assets.sandbox import venues
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"error":[],"result":{"last":0}}'
MOST_BARS = 720
MINUTES = ("1", "5", "15", "30", "60", "240", "1440", "10080", "21600")
OWN_NAMES = {"XBT": "BTC", "XDG": "DOGE"}
LONG_NAMES = {"XBTUSD": "XXBTZUSD", "ETHUSD": "XETHZUSD"}
"""The oldest pairs are named in the answer by their former names."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/0/public/OHLC", lambda request: _ohlc(world, request)),
        get("/0/public/Time", lambda _: _answer({"unixtime": int(world.now().timestamp())})),
    ]


def _ohlc(world: World, request: Request) -> Response:
    query = request.query_params
    pair = query.get("pair", "")
    base = pair.removesuffix("USD")
    symbol = OWN_NAMES.get(base, base)
    now = world.now()
    if not pair.endswith("USD") or symbol not in world.market.symbols:
        return _refused("EQuery:Unknown asset pair")
    since, interval = query.get("since", "0"), query.get("interval", "1")
    if interval not in MINUTES or not since.isdecimal():
        return _refused("EGeneral:Invalid arguments")
    if interval != "60":
        return _refused("EGeneral:Invalid arguments:the sandbox has interval 60 only")
    rows = [row for row in _rows(world, symbol, now) if row[0] > int(since)]
    closed = [row[0] for row in rows if row[0] + 3600 <= now.timestamp()]
    return _answer({LONG_NAMES.get(pair, pair): rows, "last": closed[-1] if closed else 0})


def _rows(world: World, symbol: str, now: datetime) -> list[list]:
    """The newest 720 bars, ascending; of the last, open one only the first price is known."""
    frame = venues.bars(world.market, "kraken", symbol, now - (MOST_BARS + 72) * HOUR, now).tail(MOST_BARS)
    found: list[list] = []
    for ts, *prices, volume, trades in frame.iter_rows():
        if ts + HOUR > now:
            prices, volume, trades = [prices[0]] * 5, 0.0, 0
        found.append([int(ts.timestamp()), *(decimal(p) for p in prices), decimal(volume), trades])
    return found


def _answer(result: dict) -> Response:
    return json_text(json.dumps({"error": [], "result": result}))


def _refused(error: str) -> Response:
    return json_text(json.dumps({"error": [error]}))


def _table(market: SimulatedMarket, start: datetime, end: datetime, names: tuple[str, ...]) -> pl.DataFrame:
    found = venues.rows(market, "kraken", start, end, names)
    return found.with_columns(quote_volume_usd=pl.col("vwap") * pl.col("volume")).drop("vwap")


TABLES = {"kraken_candles": _table}
