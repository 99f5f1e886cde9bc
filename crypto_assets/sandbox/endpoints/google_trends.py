"""Google Trends as pytrends asks it: `/explore/`, `/api/explore`, `/api/widgetdata/multiline`.

Bodies begin with the characters that keep them from being read as a script. Values are whole percent of the highest day
shown in the same answer; day D is whole 36 hours after it began.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.handles import HANDLES
from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox import series
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b')]}\',\n{"default":{"timelineData":[],"averages":[]},"widgets":[]}'
WHOLE_AFTER = timedelta(hours=36)
WEEK, SPAN, LAG = 7 * DAY, 56 * DAY, 2 * DAY
"""What the table asks for at a time, and when it is known."""
KEYWORDS = {HANDLES[s].search: s for s in SYMBOLS if s in HANDLES}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    async def explore(request: Request) -> Response:
        return _explore(request)

    return [
        get("/explore/", _cookie),
        Route("/api/explore", explore, methods=["POST"]),
        get("/api/widgetdata/multiline", lambda request: _multiline(world, request)),
    ]


def _cookie(_: Request) -> Response:
    answer = Response("<!doctype html><html></html>", media_type="text/html")
    answer.set_cookie("NID", "sandbox")
    return answer


def _explore(request: Request) -> Response:
    try:
        asked = json.loads(request.query_params["req"])
        items = [{"time": i["time"], "keyword": i["keyword"]} for i in asked["comparisonItem"]]
    except (KeyError, TypeError, ValueError):
        return Response("<html><title>Error 400 (Bad Request)</title></html>", 400, media_type="text/html")
    timeseries = {"id": "TIMESERIES", "token": "sandbox-token", "request": {"comparisonItem": items, "resolution": "DAY"}}
    return _guarded({"widgets": [timeseries, {"id": "GEO_MAP", "token": "sandbox-token", "request": {}}]}, ")]}'\n")


def _multiline(world: World, request: Request) -> Response:
    try:
        asked = json.loads(request.query_params["req"])["comparisonItem"][0]
        first, last = (date.fromisoformat(text) for text in asked["time"].split(" "))
    except (KeyError, IndexError, TypeError, ValueError):
        return Response("<html><title>Error 400 (Bad Request)</title></html>", 400, media_type="text/html")
    now = world.now()
    days = [day for day in series.days(max(first, FIRST_DAY), last) if midnight(day) < now]
    if asked["keyword"] not in KEYWORDS or not days:
        return _guarded({"default": {"timelineData": [], "averages": []}}, ")]}',\n")
    values = interest(world.market, KEYWORDS[asked["keyword"]], days)
    points = [_point(day, value, midnight(day) + WHOLE_AFTER > now) for day, value in zip(days, values, strict=True)]
    return _guarded({"default": {"timelineData": points, "averages": []}}, ")]}',\n")


def _point(day: date, value: int, is_partial: bool) -> dict:
    point = {"time": str(int(midnight(day).timestamp())), "formattedTime": f"{day:%b %d, %Y}", "value": [value]}
    return {**point, "hasData": [True], "formattedValue": [str(value)], **({"isPartial": True} if is_partial else {})}


def _guarded(body: dict, guard: str) -> Response:
    return Response(f"{guard}{json.dumps(body)}", media_type="application/json; charset=utf-8")


def interest(market: SimulatedMarket, symbol: str, days: list[date]) -> list[int]:
    """Whole percent of the highest of these days."""
    level = series.level(market.randomness, f"attention {symbol}", days[0], days[-1])[:, 0]
    daily = series.noise(market.randomness, f"google {symbol}", days[0], days[-1])[:, 0]
    raw = [math.exp(0.4 * a + 0.15 * b) for a, b in zip(level, daily, strict=True)]
    return [round(100 * value / max(raw)) for value in raw]


def trends(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """Each week from the request for the eight weeks that end with it."""
    days = [d for n in range((end - start).days + 1) if start <= midnight(d := start.date() + n * DAY) < end]
    rows = []
    for symbol in (s for s in symbols if s in HANDLES):
        for last in sorted({midnight(day) + (7 - day.weekday()) * DAY for day in days}):
            asked = series.days((last - SPAN).date(), (last - DAY).date())
            for day, value in zip(asked, interest(market, symbol, asked), strict=True):
                if day in days and midnight(day) >= last - WEEK:
                    rows.append((symbol, midnight(day), HANDLES[symbol].search, float(value), last - SPAN, last, last + LAG))
    names = ("symbol", "ts", "keyword", "value_pct", "request_start", "request_end", "available_at")
    types = (pl.String(), UTC_US, pl.String(), pl.Float64(), UTC_US, UTC_US, UTC_US)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


TABLES = {"google_trends": trends}
