"""DefiLlama: `/v2/historicalChainTvl[/{chain}]`, `/v2/chains`; whole history, numbers; the last point is unfinished."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import midnight
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.planting import DEFI_CHAINS

EMPTY = b"[]"
FINAL_AFTER = timedelta(hours=25)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/v2/historicalChainTvl", lambda _: _history(world, "Total")),
        get("/v2/historicalChainTvl/{chain}", lambda request: _chain(world, request)),
        get("/v2/chains", lambda _: json_text(json.dumps([{"name": name, "gecko_id": None} for name in DEFI_CHAINS[1:]]))),
    ]


def _chain(world: World, request: Request) -> Response:
    chain = request.path_params["chain"]
    if chain not in DEFI_CHAINS[1:]:
        return json_text('{"message":"Chain not found"}', 404)
    return _history(world, chain)


def _history(world: World, chain: str) -> Response:
    now = world.now()
    frame = world.market.tvl(midnight(FIRST_DAY), now - FINAL_AFTER + timedelta(microseconds=1))
    final = frame.filter(pl.col("chain") == chain).sort("ts").select("ts", "tvl_usd")
    rows = [{"date": int(ts.timestamp()), "tvl": tvl} for ts, tvl in final.iter_rows()]
    if rows:  # days that are not final yet show the last known value
        last = int(midnight(now.date()).timestamp())
        rows += [{"date": date, "tvl": rows[-1]["tvl"]} for date in range(rows[-1]["date"] + 86_400, last + 1, 86_400)]
    return json_text(json.dumps(rows))
