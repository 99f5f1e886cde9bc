"""Arctic Shift: `/api/posts/search` and `/api/time_series`; limits and errors in its words.

Posts are there 5 minutes after they were written, with score 1 and no comments until they are 36 hours old. A day's counts
are whole from D+2 18:00 UTC and a tenth too low before.
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
from crypto_assets.market.pseudonyms import pseudonym
from crypto_assets.market.time import midnight
from crypto_assets.sandbox import posts, series
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import base36, get, json_text
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"data":[]}'
SEEN_AFTER = timedelta(minutes=5)
COUNTED_AFTER = timedelta(days=2, hours=18)
KNOWN_AFTER, COUNTS_KNOWN_AFTER = timedelta(hours=48), timedelta(days=3)
LIMIT_HEADERS = {"X-RateLimit-Remaining": "1999", "X-RateLimit-Reset": "60"}
SUBREDDITS = {HANDLES[s].subreddit.lower(): s for s in SYMBOLS if s in HANDLES}


class RefusedError(Exception):
    """A parameter that the provider does not take."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    def answering(rows):
        def answer(request: Request) -> Response:
            try:
                return json_text(json.dumps({"data": rows(world, request)}), headers=LIMIT_HEADERS)
            except RefusedError as refused:
                return json_text(json.dumps({"data": None, "error": str(refused)}), 400)

        return answer

    return [get("/api/posts/search", answering(_search)), get("/api/time_series", answering(_time_series))]


def _search(world: World, request: Request) -> list[dict]:
    query = request.query_params
    limit = query.get("limit", "25")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise RefusedError("'limit' must be between 1 and 100")
    now = world.now()
    after, before = _time(query.get("after"), midnight(FIRST_DAY)), min(_time(query.get("before"), now), now - SEEN_AFTER)
    symbol = SUBREDDITS.get(query.get("subreddit", "").removeprefix("r/").lower())
    found = posts.between(world.market, "reddit", symbol, after + timedelta(seconds=1), before) if symbol else []
    chosen = found[: int(limit)] if query.get("sort") == "asc" else found[::-1][: int(limit)]
    wanted = [name for name in query.get("fields", "").split(",") if name]
    return [{k: v for k, v in _post(post, now).items() if not wanted or k in wanted} for post in chosen]


def _post(post: posts.Post, now: datetime) -> dict:
    is_settled = post.ts + posts.SETTLED <= now
    return {
        "id": base36(post.number),
        "created_utc": int(post.ts.timestamp()),
        "subreddit": HANDLES[post.symbol].subreddit,
        "title": post.title,
        "author": post.author,
        "selftext": "",
        "score": post.score if is_settled else 1,
        "num_comments": post.comments if is_settled else 0,
        "over_18": False,
    }


def _time_series(world: World, request: Request) -> list[dict]:
    query = request.query_params
    parts = query.get("key", "").split("/")
    if len(parts) != 4 or parts[0] != "r" or parts[2] not in ("posts", "comments") or parts[3] != "count":
        raise RefusedError("Invalid 'key'")
    if query.get("precision") != "day":
        raise RefusedError("'precision' must be one of: year, quarter, month, week, day, hour, minute")
    symbol, now = SUBREDDITS.get(parts[1].lower()), world.now()
    start, end = _time(query.get("after"), midnight(FIRST_DAY)), min(_time(query.get("before"), now), now)
    if symbol is None or end <= start:
        return []
    rows = []
    for row in counts(world.market, start, end, [symbol]).iter_rows(named=True):
        is_whole = row["ts"] + COUNTED_AFTER <= now
        rows.append(
            {"date": int(row["ts"].timestamp()), "value": row[parts[2]] if is_whole else math.floor(0.9 * row[parts[2]])}
        )
    return rows


def counts(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """Whole days' counts; comments are ten or so to a post."""
    rows: list[tuple] = []
    for symbol in (s for s in symbols if s in HANDLES):
        for day in _days(start, end):
            count = int(posts.numbers(market, "reddit", symbol, day).sum())
            busy = series.noise(market.randomness, f"reddit comments {symbol}", day, day)[0, 0]
            row = (symbol, midnight(day), HANDLES[symbol].subreddit, count, round(10 * count * math.exp(0.3 * busy)))
            rows.append((*row, midnight(day) + COUNTS_KNOWN_AFTER))
    names = ("symbol", "ts", "subreddit", "posts", "comments", "available_at")
    return pl.DataFrame(rows, schema=dict(zip(names, _COUNT_TYPES, strict=True)), orient="row")


_COUNT_TYPES = (pl.String(), UTC_US, pl.String(), pl.Int64(), pl.Int64(), UTC_US)


def texts(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """The posts once their numbers are settled."""
    found = [p for s in symbols if s in HANDLES for p in posts.between(market, "reddit", s, start, end)]
    columns = {
        "symbol": [p.symbol for p in found],
        "ts": pl.Series([p.ts for p in found], dtype=UTC_US),
        "id": [base36(p.number) for p in found],
        "title": [p.title for p in found],
        "author_hash": [pseudonym("reddit", p.author) for p in found],
        "score": [p.score for p in found],
        "num_comments": [p.comments for p in found],
    }
    return pl.DataFrame(columns).with_columns(available_at=pl.col("ts") + KNOWN_AFTER)


def _days(start: datetime, end: datetime) -> list[date]:
    first, last = max(start.date(), FIRST_DAY), (end - timedelta(microseconds=1)).date()
    return [day for day in series.days(first, last) if start <= midnight(day)] if last >= first else []


def _time(text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        return datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise RefusedError(f"Invalid date: {text}") from None


TABLES = {"arctic_shift_counts": counts, "arctic_shift_posts": texts}
