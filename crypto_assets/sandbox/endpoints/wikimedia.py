"""Wikimedia page views: `/api/rest_v1/metrics/pageviews/per-article/...`; problem JSON for errors, 403 without a User-Agent.

Day D is loaded at D+1 11:00 UTC; articles that no one reads much have days without a row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.handles import HANDLES
from crypto_assets.market.time import midnight
from crypto_assets.sandbox import series
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"items":[]}'
LOADED_AFTER = timedelta(days=1, hours=11)
KNOWN_AFTER = timedelta(days=2)
TYPICAL = {"BTC": 9000.0, "ETH": 4000.0, "UNI": 0.8}
"""Views of an ordinary day; other coins have 600. One article has days on which nobody reads it."""
ARTICLES = {HANDLES[s].article: s for s in SYMBOLS if s in HANDLES and HANDLES[s].article}
PATH = "/api/rest_v1/metrics/pageviews/per-article/{project}/{access}/{agent}/{article:path}/daily/{first}/{last}"


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get(PATH, lambda request: _per_article(world, request))]


def _per_article(world: World, request: Request) -> Response:
    if not request.headers.get("user-agent"):
        return _problem(403, "Please set a User-Agent header that identifies you and a way to contact you.")
    asked = request.path_params
    try:
        first, last = (datetime.strptime(asked[end][:8], "%Y%m%d").replace(tzinfo=UTC) for end in ("first", "last"))
    except ValueError:
        return _problem(400, "start/end timestamp is invalid, must be a valid date in YYYYMMDD format")
    symbol = ARTICLES.get(asked["article"]) if asked["project"] == "en.wikipedia" else None
    known = min(last + timedelta(microseconds=1), world.now() - LOADED_AFTER + timedelta(microseconds=1))
    rows = pageviews(world.market, first, known, [symbol]) if symbol and first < known else None
    if rows is None or rows.is_empty():
        return _problem(404, "The date(s) you used are valid, but we either do not have data for those date(s)")
    items = [_item(asked, ts, views) for ts, views in rows.select("ts", "views").iter_rows()]
    return Response(json.dumps({"items": items}), media_type="application/json")


def _item(asked: dict[str, str], ts: datetime, views: int) -> dict:
    named = {name: asked[name] for name in ("project", "article", "access", "agent")}
    return {**named, "granularity": "daily", "timestamp": f"{ts:%Y%m%d}00", "views": views}


def _problem(status: int, detail: str) -> Response:
    body = {"type": "about:blank", "title": "Not found." if status == 404 else "Error", "method": "get", "detail": detail}
    return Response(json.dumps(body), status, media_type="application/problem+json")


def pageviews(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """Slowly changing attention with a spread of its own each day; days without a view are left out."""
    first, last = max(start.date(), FIRST_DAY), (end - timedelta(microseconds=1)).date()
    days = [day for day in series.days(first, last) if start <= midnight(day)] if first <= last else []
    rows = [row for s in symbols if s in HANDLES and HANDLES[s].article and days for row in _rows(market, s, days)]
    types = {"symbol": pl.String(), "ts": UTC_US, "article": pl.String(), "views": pl.Int64(), "available_at": UTC_US}
    return pl.DataFrame(rows, schema=types, orient="row")


def _rows(market: SimulatedMarket, symbol: str, days: list[date]) -> list[tuple]:
    level = series.level(market.randomness, f"attention {symbol}", days[0], days[-1])[:, 0]
    daily = series.noise(market.randomness, f"wikipedia {symbol}", days[0], days[-1])[:, 0]
    views = [round(TYPICAL.get(symbol, 600.0) * math.exp(0.4 * a + 0.2 * b)) for a, b in zip(level, daily, strict=True)]
    article = HANDLES[symbol].article
    return [(symbol, midnight(d), article, v, midnight(d) + KNOWN_AFTER) for d, v in zip(days, views, strict=True) if v]


TABLES = {"wikimedia_pageviews": pageviews}
