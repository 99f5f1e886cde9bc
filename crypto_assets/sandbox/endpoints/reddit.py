"""Reddit: the token endpoint of www.reddit.com under `/www`, the listings of oauth.reddit.com under `/oauth`.

Any client is given a token, and any token of its form is taken; without one the answer is 401. A listing ends after 1000
posts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qs

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.handles import HANDLES
from crypto_assets.market.pseudonyms import pseudonym
from crypto_assets.market.time import DAY
from crypto_assets.sandbox import posts
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import base36, get, json_text
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"kind":"Listing","data":{"after":null,"dist":0,"modhash":"","geo_filter":"","children":[],"before":null}}'
TOKEN = "sandbox-token"
MOST = 1000
KNOWN_AFTER = timedelta(minutes=1)
LIMIT_HEADERS = {"x-ratelimit-remaining": "590.0", "x-ratelimit-used": "10", "x-ratelimit-reset": "0"}
SUBREDDITS = {HANDLES[s].subreddit.lower(): s for s in SYMBOLS if s in HANDLES}


def routes(world: World) -> list[Route]:
    """The routes of both hosts."""
    return [
        Route("/www/api/v1/access_token", _token, methods=["POST"]),
        get("/oauth/r/{subreddit}/new", lambda request: _new(world, request)),
    ]


async def _token(request: Request) -> Response:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        client = secret = ""
    if scheme.lower() != "basic" or not client or not secret:
        return json_text('{"message": "Unauthorized", "error": 401}', 401)
    if parse_qs((await request.body()).decode()).get("grant_type") != ["client_credentials"]:
        return json_text('{"error": "unsupported_grant_type"}')
    return json_text(json.dumps({"access_token": TOKEN, "token_type": "bearer", "expires_in": 86_400, "scope": "*"}))


def _new(world: World, request: Request) -> Response:
    if request.headers.get("authorization", "").lower() != f"bearer {TOKEN}":
        return json_text('{"message": "Unauthorized", "error": 401}', 401)
    symbol = SUBREDDITS.get(request.path_params["subreddit"].lower())
    if symbol is None:
        return Response(status_code=302, headers={"location": "/subreddits/search"})
    limit = min(max(int(request.query_params.get("limit", "25")), 1), 100)
    found = _newest(world.market, symbol, world.now())
    after = request.query_params.get("after", "").removeprefix("t3_")
    last = int(after, 36) if after.isalnum() else -1
    start = next((n + 1 for n, p in enumerate(found) if p.number == last), 0)
    page = found[start : start + limit]
    more = f"t3_{base36(page[-1].number)}" if start + limit < len(found) else None
    listing = json.loads(EMPTY)
    listing["data"] |= {"after": more, "dist": len(page), "children": [{"kind": "t3", "data": _post(p)} for p in page]}
    return json_text(json.dumps(listing), headers=LIMIT_HEADERS)


def _newest(market: SimulatedMarket, symbol: str, now: datetime) -> list[posts.Post]:
    """The newest 1000 posts, newest first."""
    return posts.between(market, "reddit", symbol, now - 30 * DAY, now + timedelta(microseconds=1))[::-1][:MOST]


def _post(post: posts.Post) -> dict:
    subreddit = HANDLES[post.symbol].subreddit
    return {
        "id": base36(post.number),
        "name": f"t3_{base36(post.number)}",
        "title": post.title,
        "author": post.author,
        "created_utc": post.ts.timestamp(),
        "subreddit": subreddit,
        "subreddit_name_prefixed": f"r/{subreddit}",
        "permalink": f"/r/{subreddit}/comments/{base36(post.number)}/",
        "score": 1,
        "num_comments": 0,
        "selftext": "",
        "is_self": True,
    }


def titles(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """The posts as soon as they are there."""
    found = [p for s in symbols if s in HANDLES for p in posts.between(market, "reddit", s, start, end)]
    rows = [(p.symbol, p.ts, base36(p.number), p.title, pseudonym("reddit", p.author), p.ts + KNOWN_AFTER) for p in found]
    names = ("symbol", "ts", "id", "title", "author_hash", "available_at")
    types = (pl.String(), UTC_US, pl.String(), pl.String(), pl.String(), UTC_US)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


TABLES = {"reddit_posts": titles}
