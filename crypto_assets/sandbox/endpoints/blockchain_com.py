"""Blockchain.com: `/charts/{name}`; unix seconds, numbers; thinned to 1500 points unless `sampled=false`.

Day D appears at 08:00 UTC of D+1. `mempool-size` and `total-bitcoins` have four points a day, the others one.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"status":"ok","values":[]}'
SHOWN_AFTER = timedelta(hours=32)
LAG = timedelta(hours=36)
MOST_POINTS = 1500
POINTS_A_DAY = {"mempool-size": 4, "total-bitcoins": 4}
SPAN = {"days": 1, "weeks": 7, "months": 30, "years": 365}


def _volume(days: chain.Days) -> np.ndarray:
    return np.round(days["CapMrktCurUSD"] * days.around("volume", 0.012, 0.3, 10.0), 2)


METRICS: chain.Metrics = {
    "n-unique-addresses": lambda d: d["AdrActCnt"],
    "n-transactions": lambda d: d["TxCnt"],
    "n-transactions-per-block": lambda d: np.round(d["TxCnt"] / np.rint(d.around("blocks", 144, 0.04, 1.0)), 4),
    "hash-rate": lambda d: d["HashRate"],
    "difficulty": chain.difficulty,
    "miners-revenue": lambda d: np.round(d["IssTotUSD"] + d["FeeTotNtv"] * d.price, 2),
    "transaction-fees": lambda d: d["FeeTotNtv"],
    "estimated-transaction-volume-usd": _volume,
    "total-bitcoins": lambda d: d["SplyCur"],
    "mempool-size": lambda d: np.rint(d.around("mempool", 6e7, 0.8, 5.0)),
    "mvrv": lambda d: d["CapMVRVCur"],
    "nvt": lambda d: np.round(d["CapMrktCurUSD"] / _volume(d), 6),
}


def rows(market: SimulatedMarket, start: datetime, end: datetime, _symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/blockchain_com_charts`."""
    return chain.table(market, "BTC", METRICS, start, end, LAG)


TABLES = {"blockchain_com_charts": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/charts/{name}", lambda request: _chart(world, request))]


def _chart(world: World, request: Request) -> Response:
    name, query = request.path_params["name"], request.query_params
    if name not in METRICS:
        return json_text('{"status":"not-found","error":"Chart not found"}', 404)
    first, last = _range(world, query.get("start"), query.get("timespan", "1years"))
    days = chain.Days.upto(world.market, "BTC", min(last, world.now() - SHOWN_AFTER + timedelta(microseconds=1)))
    series = chain.long(days, {name: METRICS[name]}, first)
    points = [point for ts, value in series.select("ts", "value").iter_rows() for point in _points(name, ts, value)]
    if query.get("sampled", "true") != "false" and len(points) > MOST_POINTS:
        points = points[:: -(-len(points) // MOST_POINTS)]
    body = {"status": "ok", "name": name, "unit": "", "period": "day", "description": "", "values": points}
    return json_text(json.dumps(body))


def _points(name: str, ts: datetime, value: float) -> list[dict[str, float]]:
    """The points of a day; the last one is its value, those before it lie on the way there."""
    n = POINTS_A_DAY.get(name, 1)
    return [{"x": int(ts.timestamp()) + 86_400 // n * k, "y": value if k == n - 1 else 0.99 * value} for k in range(n)]


def _range(world: World, start: str | None, timespan: str) -> tuple[datetime, datetime]:
    """Days asked for: `timespan` from `start`, or up to now."""
    found = re.fullmatch(r"(\d+)(day|week|month|year)s?", timespan)
    length = int(found[1]) * SPAN[f"{found[2]}s"] * DAY if found else None
    if start is None:
        return (world.now() - length if length else chain.FIRST), world.now()
    first = midnight(datetime.fromisoformat(start).date())
    return first, first + length if length else world.now()
