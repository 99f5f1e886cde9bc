"""NewsAPI: `/v2/everything` on the free plan (24 hours late, a month back, 100 results), with its errors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.handles import HANDLES
from crypto_assets.market.time import DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"status":"ok","totalResults":0,"articles":[]}'
DELAY = timedelta(hours=24)
REACH = 30 * DAY
MOST = 100
DESCRIPTION = "Crypto news in brief."


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/v2/everything", lambda request: _everything(world, request))]


def _everything(world: World, request: Request) -> Response:
    query, now = request.query_params, world.now()
    if not (request.headers.get("x-api-key") or query.get("apiKey")):
        return _error(401, "apiKeyMissing", "Your API key is missing.")
    if not query.get("q"):
        return _error(400, "parametersMissing", "Required parameters are missing.")
    try:
        start, end = _time(query.get("from"), now - REACH), _time(query.get("to"), now)
        size, page = int(query.get("pageSize", "100")), int(query.get("page", "1"))
    except ValueError:
        return _error(400, "parameterInvalid", "You have sent an invalid parameter.")
    if start < now - REACH:
        return _error(426, "parameterInvalid", "You are trying to request results too far in the past.")
    if size * page > MOST:
        return _error(426, "maximumResultsReached", "You have requested too many results.")
    end = min(end + timedelta(seconds=1), now - DELAY + timedelta(microseconds=1))
    found = world.market.headlines(start, end).sort("ts", "id", descending=True) if start < end else pl.DataFrame()
    matching = [row for row in found.iter_rows(named=True) if _matches(query["q"], row["title"])]
    articles = [_article(row) for row in matching[(page - 1) * size : page * size]]
    return json_text(json.dumps({"status": "ok", "totalResults": len(matching), "articles": articles}))


def _article(row: dict) -> dict:
    return {
        "source": {"id": None, "name": row["domain"]},
        "author": None,
        "title": row["title"],
        "description": DESCRIPTION,
        "url": row["url"],
        "urlToImage": None,
        "publishedAt": f"{row['ts']:%Y-%m-%dT%H:%M:%SZ}",
        "content": f"{row['title']} [+900 chars]",
    }


def _matches(question: str, title: str) -> bool:
    """Whether title or description have every word of one of the alternatives."""
    text = f"{title} {DESCRIPTION}".lower()
    return any(all(w.strip('"() ').lower() in text for w in term.split(" AND ")) for term in question.split(" OR "))


def _error(status: int, code: str, message: str) -> Response:
    return json_text(json.dumps({"status": "error", "code": code, "message": message}), status)


def _time(text: str | None, default: datetime) -> datetime:
    return default if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def articles(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """The headlines that name a coin in full."""
    names = [HANDLES[s].search.removesuffix(" crypto") for s in symbols if s in HANDLES]
    named = pl.any_horizontal(pl.lit(False), *(pl.col("title").str.to_lowercase().str.contains(n, literal=True) for n in names))
    found = market.headlines(start, end).filter(named)
    return found.select("ts", "url", "title", "domain", (pl.col("ts") + DELAY).alias("available_at"))


TABLES = {"newsapi_articles": articles}
