"""X API v2: `/2/tweets/search/recent` and `/2/tweets/counts/recent`, seven days back, problems in X's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.handles import HANDLES
from crypto_assets.market.pseudonyms import pseudonym
from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox import posts
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.planting import EPOCH, SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"meta":{"result_count":0,"total_tweet_count":0}}'
REACH = timedelta(days=7)
YOUNGEST = timedelta(seconds=10)
KNOWN_AFTER, COUNTED_AFTER = timedelta(minutes=1), timedelta(days=1, minutes=10)
SEARCHED = {f"{HANDLES[s].search} lang:en -is:retweet": s for s in SYMBOLS if s in HANDLES}


class RefusedError(Exception):
    """A parameter that X does not take."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    def answering(rows: Callable[[World, str, datetime, datetime, Request], dict]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            if not request.headers.get("authorization", "").startswith("Bearer "):
                return _problem(401, "Unauthorized", "Unauthorized")
            try:
                start, end = _span(world.now(), request)
                symbol = SEARCHED.get(request.query_params.get("query", ""), "")
                return json_text(json.dumps(rows(world, symbol, start, end, request)))
            except (RefusedError, ValueError) as refused:
                return _problem(400, "Invalid Request", str(refused))

        return answer

    return [get("/2/tweets/search/recent", answering(_search)), get("/2/tweets/counts/recent", answering(_counts))]


def _span(now: datetime, request: Request) -> tuple[datetime, datetime]:
    query = request.query_params
    start = _time(query["start_time"]) if "start_time" in query else now - REACH
    end = _time(query["end_time"]) if "end_time" in query else now - YOUNGEST
    if start < now - REACH:
        raise RefusedError(f"Invalid 'start_time':'{query['start_time']}'. 'start_time' must be on or after 7 days ago.")
    if end > now - YOUNGEST:
        raise RefusedError(f"Invalid 'end_time':'{query['end_time']}'. 'end_time' must be at least 10 seconds prior.")
    return start, end


def _search(world: World, symbol: str, start: datetime, end: datetime, request: Request) -> dict:
    size = int(request.query_params.get("max_results", "10"))
    if not 10 <= size <= 100:
        raise RefusedError(f"The `max_results` query parameter value [{size}] is not between 10 and 100")
    first = int(request.query_params.get("next_token", "b0").removeprefix("b"))
    found = posts.between(world.market, "x", symbol, start, end)[::-1] if symbol else []
    page = found[first : first + size]
    more = {"next_token": f"b{first + size}"} if first + size < len(found) else {}
    data = {"data": [_post(p) for p in page]} if page else {}
    return {**data, "meta": {"result_count": len(page), **more}}


def _post(post: posts.Post) -> dict:
    return {
        "id": str(post.number),
        "text": text_of(post),
        "created_at": f"{post.ts:%Y-%m-%dT%H:%M:%S}.000Z",
        "author_id": post.author,
        "edit_history_tweet_ids": [str(post.number)],
    }


def text_of(post: posts.Post, someone: str = "@holder_000") -> str:
    """The title; every third post speaks to someone."""
    return f"{someone} {post.title}" if post.score % 3 == 0 else post.title


def _counts(world: World, symbol: str, start: datetime, end: datetime, request: Request) -> dict:
    if request.query_params.get("granularity") != "day":
        raise RefusedError("The `granularity` query parameter value is not day; the sandbox has day only")
    days = [start.date() + n * DAY for n in range((end - timedelta(microseconds=1)).toordinal() - start.toordinal() + 1)]
    data = []
    for day in days if symbol else ():
        first, last = max(midnight(day), start), min(midnight(day) + DAY, end)
        count = len(posts.between(world.market, "x", symbol, first, last))
        data.append({"start": _text(first), "end": _text(last), "tweet_count": count})
    return {"data": data, "meta": {"total_tweet_count": sum(row["tweet_count"] for row in data)}}


def _problem(status: int, title: str, detail: str) -> Response:
    body = {"title": title, "type": "about:blank", "status": status, "detail": detail}
    return Response(json.dumps(body), status, media_type="application/problem+json")


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"


def texts(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """The posts as soon as they are there."""
    found = [p for s in symbols if s in HANDLES for p in posts.between(market, "x", s, start, end)]
    rows = [
        (p.symbol, p.ts, str(p.number), text_of(p, "@someone"), pseudonym("x", p.author), p.ts + KNOWN_AFTER) for p in found
    ]
    names = ("symbol", "ts", "id", "text", "author_hash", "available_at")
    types = (pl.String(), UTC_US, pl.String(), pl.String(), pl.String(), UTC_US)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def counts(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """Posts of each whole day."""
    days: list[date] = [d for n in range((end - start).days + 1) if start <= midnight(d := start.date() + n * DAY) < end]
    rows = [
        (s, midnight(day), int(posts.numbers(market, "x", s, day).sum()), midnight(day) + COUNTED_AFTER)
        for s in symbols
        for day in days
        if s in HANDLES and midnight(day) >= EPOCH
    ]
    names = ("symbol", "ts", "posts", "available_at")
    return pl.DataFrame(rows, schema=dict(zip(names, (pl.String(), UTC_US, pl.Int64(), UTC_US), strict=True)), orient="row")


TABLES = {"x_posts": texts, "x_counts": counts}
