"""GDELT DOC 2.0: `/api/v2/doc/doc`, modes timelinetone and timelinevol, in days; errors in plain text with HTTP 200.

The tone of a coin follows the level of its headlines. The title in the answer holds a bare control character, as some do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

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

EMPTY = b"{}"
KNOWN_AFTER = timedelta(hours=25)
WHOLE_AFTER = timedelta(hours=24, minutes=30)
SEARCHED = {HANDLES[s].search: s for s in SYMBOLS if s in HANDLES}
MODES = {"timelinetone": ("Average Tone", "tone"), "timelinevol": ("Volume Intensity", "volume_pct")}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/api/v2/doc/doc", lambda request: _doc(world, request))]


def _doc(world: World, request: Request) -> Response:
    query = request.query_params
    words = query.get("query", "").replace("sourcelang:english", "").strip()
    if len(words) < 3 or query.get("mode") not in MODES:
        return Response("The specified phrase is too short.\n", media_type="text/html")
    try:
        start, end = (
            datetime.strptime(query[name], "%Y%m%d%H%M%S").replace(tzinfo=UTC) for name in ("startdatetime", "enddatetime")
        )
    except (KeyError, ValueError):
        return Response("Invalid query start date.\n", media_type="text/html")
    name, column = MODES[query["mode"]]
    points = _points(world, words, start, end, column)
    if not points:
        return Response(EMPTY, media_type="application/json")
    body = json.dumps({"query_details": {"title": f"{words} TITLE"}, "timeline": [{"series": name, "data": points}]})
    return Response(body.replace("TITLE", "\x1f"), media_type="application/json")


def _points(world: World, words: str, start: datetime, end: datetime, column: str) -> list[dict]:
    """Days; one that is not over shows what there was of it."""
    now = world.now()
    if words not in SEARCHED or end - start <= 7 * DAY:
        return []
    rows = tone(world.market, midnight(start.date()), min(end, now), [SEARCHED[words]])
    shown = [(ts, value if ts + WHOLE_AFTER <= now else 0.9 * value) for ts, value in rows.select("ts", column).iter_rows()]
    return [{"date": f"{ts:%Y%m%dT%H%M%SZ}", "value": round(value, 4)} for ts, value in shown]


def tone(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """Daily tone, from the mean level of the day where there is one, and volume, from how much attention the coin has."""
    types = {"symbol": pl.String(), "ts": UTC_US, "tone": pl.Float64(), "volume_pct": pl.Float64(), "available_at": UTC_US}
    first, last = max(start.date(), FIRST_DAY), (end - timedelta(microseconds=1)).date()
    days = [day for day in series.days(first, last) if start <= midnight(day)] if first <= last else []
    if not days:
        return pl.DataFrame(schema=types)
    levels = market.truth(midnight(days[0]), midnight(days[-1]) + DAY).group_by("symbol", pl.col("ts").dt.date())
    mean = {(symbol, day): level for symbol, day, level in levels.agg(pl.col("level").mean()).iter_rows()}
    rows = []
    for symbol in (s for s in symbols if s in HANDLES):
        seen = series.level(market.randomness, f"attention {symbol}", days[0], days[-1])[:, 0]
        noise = series.noise(market.randomness, f"gdelt {symbol}", days[0], days[-1], 2)
        for day, attention, (a, b) in zip(days, seen, noise, strict=True):
            value = round(1.2 * mean.get((symbol, day), 0.0) + 0.3 * a, 4)
            volume = round(0.05 * math.exp(0.5 * attention + 0.2 * b), 4)
            rows.append((symbol, midnight(day), value, volume, midnight(day) + KNOWN_AFTER))
    return pl.DataFrame(rows, schema=types, orient="row")


TABLES = {"gdelt_tone": tone}
