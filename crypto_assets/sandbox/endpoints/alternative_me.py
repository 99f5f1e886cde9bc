"""alternative.me: `/fng/`, newest first, every value as text; day D from 00:05 UTC of D."""

from __future__ import annotations

import json
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import BEGINNING, get, json_text

EMPTY = b'{"name":"Fear and Greed Index","data":[],"metadata":{"error":null}}'
LAG = timedelta(minutes=5)
_NAMES = ((25, "Extreme Fear"), (46, "Fear"), (54, "Neutral"), (75, "Greed"), (101, "Extreme Greed"))


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/fng/", lambda request: _index(world, request))]


def _index(world: World, request: Request) -> Response:
    text = request.query_params.get("limit", "1")
    if not text.isdecimal():
        return _answer([], "limit must be a number")
    now = world.now()
    frame = world.market.fear_greed(BEGINNING, now - LAG + timedelta(microseconds=1))
    rows = [_row(row) for row in frame.sort("ts", descending=True).iter_rows(named=True)]
    rows = rows[: int(text)] if int(text) else rows
    if rows:
        rows[0]["time_until_update"] = str(int((midnight(now.date()) + DAY - now).total_seconds()))
    return _answer(rows, None)


def _answer(rows: list[dict[str, str]], error: str | None) -> Response:
    return json_text(json.dumps({"name": "Fear and Greed Index", "data": rows, "metadata": {"error": error}}))


def _row(row: dict) -> dict[str, str]:
    value = row["value_pct"]
    return {
        "value": f"{value:g}",
        "value_classification": next(name for bound, name in _NAMES if value < bound),
        "timestamp": str(int(row["ts"].timestamp())),
    }
