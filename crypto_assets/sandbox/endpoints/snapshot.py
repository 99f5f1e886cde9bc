"""Snapshot hub: `POST /graphql` with `proposals` and `votes`, oldest first, filtered by space and time of creation.

Of the language it understands what clients of the hub send: one selection with `first`, `orderBy: "created"` ascending, and
`where` with `space_in`, `created_gte` or `created_gt`, `created_lt`; literals or variables. Unix seconds, whole minutes here:
many votes share a second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import midnight
from crypto_assets.sandbox import defi
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import json_text
from crypto_assets.sandbox.series import days

EMPTY = b'{"data":null}'
KNOWN_AFTER = timedelta(hours=25)
MOST_ROWS = 1000
MINUTES = 24 * 60
ARGUMENT = re.compile(r"(\w+)\s*:\s*(\$\w+|\"[^\"]*\"|\[[^\]]*\]|\d+)")


class RefusedError(Exception):
    """A query the hub does not take; the text is its message."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    async def graphql(request: Request) -> Response:
        try:
            asked = json.loads(await request.body())
            return json_text(json.dumps({"data": _answer(world, asked["query"], asked.get("variables") or {})}))
        except (RefusedError, KeyError, TypeError, ValueError) as error:
            body = {"errors": [{"message": str(error), "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}], "data": None}
            return json_text(json.dumps(body), 200 if isinstance(error, RefusedError) else 400)

    return [Route("/graphql", graphql, methods=["POST"])]


def _answer(world: World, query: str, variables: dict) -> dict[str, list[dict]]:
    selection = re.search(r"\b(proposals|votes)\s*\(", query)
    if selection is None:
        raise RefusedError("Syntax Error: expected proposals(...) or votes(...)")
    given: dict = {}
    for name, value in ARGUMENT.findall(query[selection.end() :]):
        given[name] = variables[value[1:]] if value.startswith("$") else json.loads(value)
    first = int(given.get("first", 20))
    if first > MOST_ROWS:
        raise RefusedError(f"The `first` argument must not be greater than {MOST_ROWS}")
    start = max(given.get("created_gte", 0), given.get("created_gt", -1) + 1)
    end = min(given.get("created_lt", 2**40), int(world.now().timestamp()) + 1)
    what = selection[1]
    rows = [row for row in _rows_of(world, what, given.get("space_in", []), start, end) if start <= row["created"] < end]
    return {what: sorted(rows, key=lambda row: (row["created"], row["id"]))[:first]}


def _rows_of(world: World, what: str, spaces: list[str], start: int, end: int) -> Iterator[dict]:
    """All rows of the days that `[start, end)` touches."""
    if end <= start:
        return
    begin = max(datetime.fromtimestamp(max(start, 0), UTC).date(), FIRST_DAY)
    for day in days(begin, datetime.fromtimestamp(end - 1, UTC).date()):
        for space in spaces:
            if space in defi.SPACES:
                yield from _proposals(world, space, day) if what == "proposals" else _votes(world, space, day)


def _proposals(world: World, space: str, day: date) -> Iterator[dict]:
    count = defi.governance(world.market, space, day).proposals
    for k in range(count):
        yield {"id": f"0xp{space[:4]}{day:%Y%m%d}{k:02d}", "space": {"id": space}, "created": _created(day, k, count)}


def _votes(world: World, space: str, day: date) -> Iterator[dict]:
    found = defi.governance(world.market, space, day)
    for k in range(found.votes):
        voter = f"0x{k % found.voters:040x}"
        identity = f"0xv{space[:4]}{day:%Y%m%d}{k:05d}"
        created = _created(day, k, found.votes)
        yield {"id": identity, "voter": voter, "created": created, "vp": 1.5 + k, "space": {"id": space}}


def _created(day: date, k: int, count: int) -> int:
    """Second of the k-th of `count` events of a day, spread over its minutes."""
    return int(midnight(day).timestamp()) + 60 * (k * MINUTES // count)


def _table(market, start: datetime, end: datetime, symbols) -> pl.DataFrame:
    first = max(start.date() + timedelta(days=start > midnight(start.date())), FIRST_DAY)
    span = days(first, (end - timedelta(microseconds=1)).date()) if midnight(first) < end else []
    rows = [(space, midnight(d), *vars(defi.governance(market, space, d)).values()) for space in defi.SPACES for d in span]
    columns = ["space", "ts", "proposals", "votes", "voters"]
    frame = pl.DataFrame(rows, schema=columns, schema_overrides={"ts": UTC_US}, orient="row")
    return frame.with_columns(available_at=pl.col("ts") + KNOWN_AFTER)


TABLES = {"snapshot_governance": _table}
