"""DefiLlama yields: `/pools`, `/chart/{uuid}`; the last record of each day, ISO times, that of today still changing."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import polars as pl
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.sandbox import defi
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text

EMPTY = b'{"status":"success","data":[]}'
KNOWN_AFTER = timedelta(hours=27)
RECORDED = timedelta(hours=23, minutes=1, seconds=15, milliseconds=123)
"""When in its hour and day the last record of a day is made."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAMES = {"tvlUsd": "tvl_usd", "apy": "apy_pct", "apyBase": "apy_base_pct", "apyReward": "apy_reward_pct"}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/pools", lambda _: _pools(world)),
        get("/chart/{uuid}", lambda request: _chart(world, request.path_params["uuid"])),
    ]


def _pools(world: World) -> Response:
    found = []
    for uuid, pool in defi.YIELD_POOLS.items():
        row = defi.yield_pool(world.market, uuid, world.now().date()).row(-1, named=True)
        static = {"pool": uuid, "chain": "Ethereum", "project": pool.project, "symbol": pool.symbol, "ilRisk": "no"}
        found.append({**static, **{theirs: row[ours] for theirs, ours in NAMES.items()}, "exposure": "single"})
    return json_text(json.dumps({"status": "success", "data": found}))


def _chart(world: World, uuid: str) -> Response:
    if not UUID.fullmatch(uuid):
        return json_text('{"status":"error","message":"invalid configID!"}', 400)
    now = world.now()
    rows = []
    known = defi.yield_pool(world.market, uuid, now.date()).iter_rows(named=True) if uuid in defi.YIELD_POOLS else ()
    for row in known:
        at = row["ts"] + RECORDED
        if at > now:  # of today there is the newest record so far
            at = now.replace(minute=1, second=15, microsecond=123_000) - timedelta(hours=now.minute < 2)
        record = {theirs: row[ours] for theirs, ours in NAMES.items()}
        stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows.append({"timestamp": stamp, **record, "il7d": None, "apyBase7d": None, "pricePerShare": None})
    return json_text(json.dumps({"status": "success", "data": rows}))


def _rows(market, start, end, symbols) -> pl.DataFrame:
    return defi.yields(market, start, end).with_columns(available_at=pl.col("ts") + KNOWN_AFTER)


TABLES = {"defillama_yields": _rows}
