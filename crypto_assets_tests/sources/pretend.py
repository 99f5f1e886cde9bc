"""Pretended providers for the sources of posts, headlines, attention and commits."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import discover
from crypto_assets_tests.sources.loopback import NOW, WEEK, span

SOURCES = discover()
MONDAY = Window.of_days(WEEK.days[0], WEEK.days[0])
RECENT = Window.of_days(date(2024, 10, 18), date(2024, 10, 18))
PRESENT = Window(NOW - 10 * HOUR / 60, NOW + 10 * HOUR / 60)
SECRET = "s3cr3t-of-a-reader"
KEYED = {
    "newsapi_articles": {"newsapi_key": SECRET},
    "cryptopanic_posts": {"cryptopanic_key": SECRET},
    "reddit_posts": {"reddit_client_id": "reader", "reddit_client_secret": SECRET},
    "x_posts": {"x_bearer_token": SECRET},
    "x_counts": {"x_bearer_token": SECRET},
    "github_commits": {"github_token": SECRET},
}


def answering(answer: Callable[[Request], Response]) -> Starlette:
    """A provider that gives this answer to everything."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=["GET", "POST"])])


def as_json(body: object, status: int = 200, **headers: str) -> Starlette:
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answering(lambda _: Response(text, status, named, "application/json"))


def day_of(name: str) -> Window:
    """A day that the provider still has."""
    whole = span(SOURCES[name])
    return whole if SOURCES[name].history.kind == "none" else Window.of_days(whole.days[0], whole.days[0])
