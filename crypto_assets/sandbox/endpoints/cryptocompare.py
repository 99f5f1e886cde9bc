"""The legacy host of CoinDesk Data: `/data/social/coin/histo/day`, `/data/all/coinlist`; keyed, errors with HTTP 200."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.coins import COINS
from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox import series
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._coindesk import has_key
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"Response":"Success","Message":"","HasWarning":false,"Type":100,"RateLimit":{},"Data":[]}'
KNOWN = timedelta(hours=30)
MOST_DAYS, DEFAULT_DAYS = 2000, 30
FIRST_ID = 1182
SCALES = {
    "followers": 1.0e5,
    "posts": 4.0e4,
    "comments": 9.0e4,
    "total_page_views": 2.0e7,
    "twitter_followers": 8.0e5,
    "twitter_statuses": 2.0e4,
    "reddit_subscribers": 1.2e6,
    "reddit_active_users": 2.0e3,
    "reddit_posts_per_day": 90.0,
    "reddit_comments_per_day": 1.5e3,
    "code_repo_stars": 3.0e4,
    "code_repo_forks": 1.5e4,
    "code_repo_contributors": 400.0,
}
"""Typical size of each count, for the largest coin."""
UNFILLED = {"ARB": ("followers", "posts", "comments", "total_page_views"), "UNI": ("code_repo_contributors",)}
"""Metrics that are null for a coin."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/data/all/coinlist", lambda request: _coins(request)),
        get("/data/social/coin/histo/day", lambda request: _social(world, request)),
    ]


def _coins(request: Request) -> Response:
    if not has_key(request):
        return _no_key()
    asked = request.query_params.get("fsym")
    found = {
        symbol: {"Id": str(FIRST_ID + n), "Symbol": symbol, "CoinName": COINS[symbol].name, "FullName": COINS[symbol].name}
        for n, symbol in enumerate(SYMBOLS)
        if asked in (None, symbol)
    }
    return _success(found) if found else _refused(2, f"There is no data for the symbol {asked}.")


def _social(world: World, request: Request) -> Response:
    query, now = request.query_params, world.now()
    if not has_key(request):
        return _no_key()
    try:
        symbol = SYMBOLS[int(query["coinId"]) - FIRST_ID]
        limit = min(int(query.get("limit", DEFAULT_DAYS)), MOST_DAYS)
        last = datetime.fromtimestamp(int(query.get("toTs", now.timestamp())), UTC)
    except (KeyError, ValueError, IndexError):
        return _refused(2, "coinId param is invalid or not found.")
    end = min(midnight(last.date()) + DAY, midnight(now.date()))
    start = max(end - limit * DAY, midnight(FIRST_DAY))
    if start >= end:
        return _success([])
    wide = _values(world.market, symbol, start, end)
    days = [start + n * DAY for n in range((end - start) // DAY)]
    rows = [
        {"time": int(day.timestamp()), **{name: wide[name][n] if name in wide else None for name in SCALES}, "fb_likes": 0}
        for n, day in enumerate(days)
    ]
    return _success(rows)


def _values(market: SimulatedMarket, symbol: str, start: datetime, end: datetime) -> dict[str, list[float]]:
    """Metric -> its values on the days in `[start, end)`; null ones are left out."""
    first, last = start.date(), (end - timedelta(microseconds=1)).date()
    size = 0.7 ** SYMBOLS.index(symbol)
    age = (first - series.ORIGIN).days + np.arange((end - start) // DAY)
    found = {}
    for name, scale in SCALES.items():
        if name in UNFILLED.get(symbol, ()):
            continue
        drawn = series.noise(market.randomness, f"cryptocompare {symbol} {name}", first, last)[:, 0]
        if name.endswith(("_per_day", "_active_users")):
            found[name] = np.round(scale * size * np.exp(0.3 * drawn), 2).tolist()
        else:
            found[name] = np.floor(scale * size * (0.5 + age / 10_000)).tolist()
    return found


def _success(data: object) -> Response:
    envelope = {"Response": "Success", "Message": "", "HasWarning": False, "Type": 100, "RateLimit": {}, "Data": data}
    return json_text(json.dumps(envelope))


def _refused(kind: int, message: str) -> Response:
    return json_text(json.dumps({"Response": "Error", "Message": message, "HasWarning": False, "Type": kind, "Data": {}}))


def _no_key() -> Response:
    message = "API key required. Get one at developers.coindesk.com"
    return json_text(json.dumps({"Response": "Error", "Message": message, "Type": 2, "Data": {}}), 401)


def _table(market: SimulatedMarket, start: datetime, end: datetime, names: tuple[str, ...]) -> pl.DataFrame:
    begin = max(midnight(start.date()) + (DAY if start > midnight(start.date()) else timedelta(0)), midnight(FIRST_DAY))
    days = [begin + n * DAY for n in range(max(-((begin - end) // DAY), 0))]
    frames = [pl.DataFrame(schema={"ts": UTC_US, "value": pl.Float64, "symbol": pl.String, "metric": pl.String})]
    for symbol in names:
        for metric, values in _values(market, symbol, begin, days[-1] + DAY).items() if days else ():
            frame = pl.DataFrame({"ts": days, "value": values}, schema_overrides={"ts": UTC_US, "value": pl.Float64})
            frames.append(frame.with_columns(symbol=pl.lit(symbol), metric=pl.lit(metric)))
    return pl.concat(frames).with_columns(available_at=pl.col("ts") + KNOWN)


TABLES = {"coindesk_social": _table}
