"""GitHub REST: `/repos/{owner}/{name}/commits`, newest first, pages linked by the `Link` header, limits in headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from urllib.parse import urlencode

import numpy as np
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
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.planting import SYMBOLS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b"[]"
KNOWN_AFTER = timedelta(days=8)
A_DAY = {"bitcoin/bitcoin": 12.0, "smartcontractkit/chainlink": 25.0}
"""Mean commits; other repositories have 5, a third of that on weekends."""
AUTHORS = 40
REPOS = {repo for s in SYMBOLS if s in HANDLES for repo in HANDLES[s].repos}


@dataclass(frozen=True)
class Commit:
    """One commit; `has_account` is whether its author's address belongs to an account."""

    ts: datetime
    author: str
    has_account: bool


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/repos/{owner}/{name}/commits", lambda request: _commits(world, request))]


def _commits(world: World, request: Request) -> Response:
    query, is_keyed = request.query_params, "authorization" in request.headers
    limit = 5000 if is_keyed else 60
    reset = int(world.now().timestamp()) // 3600 * 3600 + 3600
    headers = {"X-RateLimit-Limit": f"{limit}", "X-RateLimit-Remaining": f"{limit - 1}", "X-RateLimit-Reset": f"{reset}"}
    repo = "{owner}/{name}".format(**request.path_params)
    if repo not in REPOS:
        return json_text(
            '{"message":"Not Found","documentation_url":"https://docs.github.com/rest","status":"404"}', 404, headers
        )
    try:
        since = _time(query.get("since"), midnight(FIRST_DAY))
        until = min(_time(query.get("until"), world.now()), world.now())
        size, page = min(int(query.get("per_page", "30")), 100), max(int(query.get("page", "1")), 1)
    except ValueError:
        return json_text('{"message":"Validation Failed","status":"422"}', 422, headers)
    found = [c for d in _days(since, until) for c in commits(world.market, repo, d) if since <= c.ts <= until][::-1]
    links = {"next": page + 1, "last": -(-len(found) // size)} if page * size < len(found) else {}
    links |= {"prev": page - 1, "first": 1} if page > 1 else {}
    address = str(request.url).split("?")[0]
    named = [f'<{address}?{urlencode({**query, "page": n})}>; rel="{rel}"' for rel, n in links.items()]
    headers |= {"Link": ", ".join(named)} if named else {}
    return json_text(json.dumps([_wire(repo, c) for c in found[(page - 1) * size : page * size]]), 200, headers)


def _wire(repo: str, commit: Commit) -> dict:
    moment = f"{commit.ts:%Y-%m-%dT%H:%M:%SZ}"
    person = {"name": commit.author, "email": f"{commit.author}@example.org", "date": moment}
    return {
        "sha": hashlib.sha1(f"{repo} {moment}".encode(), usedforsecurity=False).hexdigest(),
        "commit": {"author": person, "committer": person, "message": "Work on the protocol"},
        "author": {"login": commit.author, "type": "User"} if commit.has_account else None,
    }


@lru_cache(maxsize=8192)
def commits(market: SimulatedMarket, repo: str, day: date) -> tuple[Commit, ...]:
    """The commits of a day in order of time."""
    rng = market.randomness.generator("series", (day - series.ORIGIN).days, f"github {repo}")
    count = int(rng.poisson(A_DAY.get(repo, 5.0) * (1.0 if day.weekday() < 5 else 0.33)))
    seconds = np.sort(rng.choice(86_400, count, replace=False))
    authors = rng.integers(AUTHORS, size=count)
    moments = [midnight(day) + timedelta(seconds=int(s)) for s in seconds]
    return tuple(Commit(ts, f"developer-{a:02d}", a % 7 != 0) for ts, a in zip(moments, authors, strict=True))


def counts(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """Commits and authors of each day; zeros where nobody worked."""
    days = [day for day in _days(max(start, midnight(FIRST_DAY)), end - timedelta(microseconds=1)) if start <= midnight(day)]
    rows = []
    for symbol, repo in [(s, repo) for s in symbols if s in HANDLES for repo in HANDLES[s].repos]:
        for day in days:
            found = commits(market, repo, day)
            ts = midnight(day)
            rows.append((symbol, repo, ts, len(found), len({c.author for c in found}), ts + KNOWN_AFTER))
    types = (pl.String(), pl.String(), UTC_US, pl.Int64(), pl.Int64(), UTC_US)
    names = ("symbol", "repo", "ts", "commits", "authors", "available_at")
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def _days(first: datetime, last: datetime) -> list[date]:
    return [first.date() + n * DAY for n in range((last.date() - first.date()).days + 1)]


def _time(text: str | None, default: datetime) -> datetime:
    return default if text is None else datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


TABLES = {"github_commits": counts}
