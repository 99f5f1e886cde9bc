"""CryptoPanic v2: `/api/{plan}/v2/posts/`, newest first, 20 a page, `next` with the key in it; the headlines of one outlet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from urllib.parse import urlencode

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.coins import COINS
from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket
from crypto_assets.sandbox.texts import OUTLETS

EMPTY = b'{"next":null,"previous":null,"results":[]}'
OUTLET = OUTLETS[0]
SEEN_AFTER = timedelta(minutes=10)
KNOWN_AFTER = timedelta(hours=1)
REACH = 21 * DAY
PAGE = 20


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/api/{plan}/v2/posts/", lambda request: _posts(world, request))]


def _posts(world: World, request: Request) -> Response:
    query = request.query_params
    if not query.get("auth_token"):
        return json_text('{"status":"api_error","info":"Token is missing or not valid."}', 401)
    page = query.get("page", "1")
    if not page.isdecimal() or int(page) < 1:
        return json_text('{"status":"api_error","info":"Invalid page."}', 404)
    wanted = {s for s in query.get("currencies", "").split(",") if s} or set(SYMBOLS)
    until = world.now() - SEEN_AFTER + timedelta(microseconds=1)
    found = [row for row in _found(world.market, until - REACH, until) if wanted & set(row[3])][::-1]
    start = (int(page) - 1) * PAGE
    address = f"{str(request.url).split('?')[0]}?"
    more = address + urlencode({**query, "page": int(page) + 1}) if start + PAGE < len(found) else None
    less = address + urlencode({**query, "page": int(page) - 1}) if start else None
    return json_text(json.dumps({"next": more, "previous": less, "results": [_wire(*r) for r in found[start : start + PAGE]]}))


def _wire(ts: datetime, number: int, title: str, symbols: tuple[str, ...]) -> dict:
    moment = f"{ts:%Y-%m-%dT%H:%M:%SZ}"
    named = [{"code": s, "title": COINS[s].name, "slug": COINS[s].name.lower().replace(" ", "-")} for s in symbols]
    return {
        "id": number,
        "slug": re.sub(r"[^A-Za-z0-9]+", "-", title),
        "title": title,
        "published_at": moment,
        "created_at": moment,
        "kind": "news",
        "source": {"title": OUTLET, "domain": OUTLET, "region": "en", "type": "feed"},
        "instruments": named or None,
        "votes": {"positive": 1, "negative": 0, "important": 0, "liked": 0, "disliked": 0, "toxic": 0},
    }


Found = tuple[datetime, int, str, tuple[str, ...]]


def _found(market: SimulatedMarket, start: datetime, end: datetime) -> list[Found]:
    """Time, number, title and coins of the outlet's headlines in `[start, end)`, in order."""
    days = [start.date() + n * DAY for n in range((end.date() - start.date()).days + 1)]
    return [found for day in days for found in _on(market, day) if start <= found[0] < end]


@lru_cache(maxsize=256)
def _on(market: SimulatedMarket, day: date) -> list[Found]:
    frame = market.headlines(midnight(day), midnight(day) + DAY).filter(pl.col("domain") == OUTLET)
    rows = frame.select("ts", "id", "title").iter_rows()
    return sorted((ts, int(ts.timestamp()) + int(name.rpartition("-")[2]), title, mentioned(title)) for ts, name, title in rows)


@lru_cache(maxsize=65_536)
def mentioned(title: str) -> tuple[str, ...]:
    """The coins that a title names."""
    return tuple(s for s in SYMBOLS if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", title) for name in _names(s)))


def _names(symbol: str) -> Iterable[str]:
    coin = COINS[symbol]
    return (coin.name, symbol, *(old for old, _ in coin.former))


def posts(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """One row per headline of the outlet and coin it names."""
    rows = [
        (symbol, ts, str(number), title, "news", ts + KNOWN_AFTER)
        for ts, number, title, named in _found(market, start, end)
        for symbol in named
        if symbol in symbols
    ]
    types = {
        "symbol": pl.String(),
        "ts": UTC_US,
        "id": pl.String(),
        "title": pl.String(),
        "kind": pl.String(),
        "available_at": UTC_US,
    }
    return pl.DataFrame(rows, schema=types, orient="row")


TABLES = {"cryptopanic_posts": posts}
