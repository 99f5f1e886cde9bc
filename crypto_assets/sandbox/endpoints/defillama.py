"""DefiLlama: `/v2/historicalChainTvl[/{chain}]`, `/v2/chains`, `/protocol/{slug}`, `/overview/dexs[/{chain}]`.

Whole history, numbers; the last point is unfinished. Day D is final an hour after it ends.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import midnight
from crypto_assets.sandbox import defi
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import BEGINNING, get, json_text
from crypto_assets.sandbox.planting import DEFI_CHAINS
from crypto_assets.sandbox.series import days

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b"[]"
FINAL_AFTER = timedelta(hours=25)
KNOWN_AFTER = timedelta(hours=27)
BORROWED = 0.4
"""Share of what lies in a lending protocol that is lent out; listed apart."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/v2/historicalChainTvl", lambda _: _history(world, "Total")),
        get("/v2/historicalChainTvl/{chain}", lambda request: _chain(world, request)),
        get("/v2/chains", lambda _: json_text(json.dumps([{"name": name, "gecko_id": None} for name in DEFI_CHAINS[1:]]))),
        *(_simulated(world) if world.market.market != "replay" else ()),
    ]


def _simulated(world: World) -> list[Route]:
    """What a replay does not remember."""
    return [
        get("/protocol/{slug}", lambda request: _protocol(world, request.path_params["slug"])),
        get("/overview/dexs", lambda request: _volume(world, request, "Total")),
        get("/overview/dexs/{chain}", lambda request: _volume(world, request, request.path_params["chain"])),
    ]


def final_day(now: datetime) -> date:
    """The last day that is final."""
    return (now - FINAL_AFTER).date()


def _chain(world: World, request: Request) -> Response:
    chain = request.path_params["chain"]
    if chain not in DEFI_CHAINS[1:]:
        return json_text('{"message":"Chain not found"}', 404)
    return _history(world, chain)


def _history(world: World, chain: str) -> Response:
    now = world.now()
    frame = world.market.tvl(BEGINNING, now - FINAL_AFTER + timedelta(microseconds=1))
    final = frame.filter(pl.col("chain") == chain).sort("ts").select("ts", "tvl_usd")
    rows = [{"date": int(ts.timestamp()), "tvl": tvl} for ts, tvl in final.iter_rows()]
    if rows:  # days that are not final yet show the last known value
        last = int(midnight(now.date()).timestamp())
        rows += [{"date": date, "tvl": rows[-1]["tvl"]} for date in range(rows[-1]["date"] + 86_400, last + 1, 86_400)]
    return json_text(json.dumps(rows))


def _protocol(world: World, slug: str) -> Response:
    if slug not in defi.PROTOCOLS:
        return json_text('{"statusCode":404,"message":"Protocol not found"}', 404)
    now = world.now()
    last = final_day(now)
    head = f'{{"id":"1","name":"{slug}","category":"{defi.PROTOCOLS[slug].category}","currentChainTvls":{{}},'
    return json_text(head + _protocol_body(world.market, slug, last, int(now.timestamp())))


@lru_cache(maxsize=64)
def _protocol_body(market: SimulatedMarket, slug: str, last: date, now: int) -> str:
    """`tvl` and `chainTvls`, whose last points are of the present second."""
    tvl, chains = defi.tokens(market, slug, last)
    dates = [*(int(midnight(day).timestamp()) for day in days(FIRST_DAY, last)), now]

    def history(values: np.ndarray) -> list[dict]:
        return [{"date": d, "totalLiquidityUSD": v} for d, v in zip(dates, [*values.tolist(), values[-1] * 1.01], strict=True)]

    entries: dict[str, dict] = {}
    for chain, mix in chains.items():
        total = np.round(np.sum(list(mix.values()), axis=0), 2) if mix else tvl
        entry: dict[str, object] = {"tvl": history(total), "tokens": None, "tokensInUsd": None}
        if mix:
            rows = np.column_stack([*mix.values()]).tolist()
            entry["tokensInUsd"] = [
                {"date": d, "tokens": dict(zip(mix, row, strict=True))} for d, row in zip(dates, [*rows, rows[-1]], strict=True)
            ]
        entries[chain] = entry
        if defi.PROTOCOLS[slug].category == "Lending":
            lent = {"tvl": history(BORROWED * total), "tokensInUsd": [{"date": d, "tokens": {"USDC": 1e9}} for d in dates]}
            entries |= {f"{chain}-borrowed": lent, "borrowed": lent}
    return f'"tvl":{json.dumps(history(tvl))},"chainTvls":{json.dumps(entries)}}}'


def _volume(world: World, request: Request, chain: str) -> Response:
    known = {name.lower(): name for name in DEFI_CHAINS}
    if chain.lower() not in known:
        return json_text('{"message":"Chain not supported"}', 400)
    now = world.now()
    frame = defi.chain_volume(world.market, known[chain.lower()], final_day(now))
    chart = [[int(ts.timestamp()), int(volume)] for ts, volume in frame.select("ts", "volume_usd").iter_rows()]
    for unfinished in days(final_day(now) + timedelta(days=1), now.date()):
        chart.append([int(midnight(unfinished).timestamp()), chart[-1][1] // 2])
    shown = [] if request.query_params.get("excludeTotalDataChart") == "true" else chart
    body = {"totalDataChart": shown, "totalDataChartBreakdown": [], "breakdown24h": None, "total24h": chart[-1][1]}
    return json_text(json.dumps({**body, "change_1d": -1.2, "chain": None if chain == "Total" else chain, "protocols": []}))


def _known(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(available_at=pl.col("ts") + KNOWN_AFTER)


TABLES = {
    "defillama_protocols": lambda market, start, end, symbols: _known(defi.protocols(market, start, end)),
    "defillama_dex_volume": lambda market, start, end, symbols: _known(defi.dex_volume(market, start, end)),
}
