"""Glassnode: `/v1/metrics/{category}/{metric}`; unix seconds, numbers, the running day included; 401 without a key."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY
from crypto_assets.sandbox.endpoints import World, bgeometrics, blockchain_com
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b"[]"
LAG = 1.5 * DAY
BOTH: chain.Metrics = {
    "indicators/sopr": bgeometrics.METRICS["sopr"],
    "indicators/nvt": blockchain_com.METRICS["nvt"],
    "market/mvrv": lambda d: d["CapMVRVCur"],
    "market/marketcap_realized_usd": lambda d: np.round(d["CapMrktCurUSD"] / d["CapMVRVCur"], 2),
    "distribution/balance_exchanges": lambda d: d["SplyExNtv"],
    "distribution/balance_1pct_holders": lambda d: np.round(0.9 + 0.01 * np.tanh(d.level("holders", 120.0)[:, 0]), 6),
    "transactions/transfers_volume_to_exchanges_sum": lambda d: d["FlowInExNtv"],
    "transactions/transfers_volume_from_exchanges_sum": lambda d: d["FlowOutExNtv"],
    "addresses/min_1k_count": lambda d: np.rint(d.around("min 1k", 2100, 0.03, 90.0)),
}
ONLY_BTC: chain.Metrics = {
    "supply/lth_sum": bgeometrics.METRICS["long-term-hodler-supply-btc"],
    "supply/sth_sum": bgeometrics.METRICS["short-term-hodler-supply-btc"],
    "supply/liquid_sum": lambda d: np.round(d["SplyCur"] - _illiquid(d), 2),
    "supply/illiquid_sum": lambda d: _illiquid(d),
    "supply/profit_relative": lambda d: np.round(0.75 + 0.2 * np.tanh(2 * np.log(d["CapMVRVCur"])), 6),
}


def _illiquid(days: chain.Days) -> np.ndarray:
    return np.round(days["SplyCur"] * (0.74 + 0.01 * np.tanh(days.level("illiquid", 120.0)[:, 0])), 2)


def metrics_of(symbol: str) -> chain.Metrics:
    """Metrics by path that there are for a coin."""
    return {"BTC": {**BOTH, **ONLY_BTC}, "ETH": BOTH}.get(symbol, {})


def rows(market: SimulatedMarket, start: datetime, end: datetime, symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/glassnode_metrics`."""
    frames = [
        chain.table(market, symbol, metrics_of(symbol), start, end, LAG).with_columns(symbol=pl.lit(symbol))
        for symbol in symbols
    ]
    return pl.concat(frames)


TABLES = {"glassnode_metrics": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/v1/metrics/{category}/{metric}", lambda request: _series(world, request))]


def _series(world: World, request: Request) -> Response:
    query = request.query_params
    if not (request.headers.get("x-api-key") or query.get("api_key")):
        return json_text('{"message":"unauthorized"}', 401)
    path, symbol = "{category}/{metric}".format(**request.path_params), query.get("a", "")
    found = metrics_of(symbol)
    if path not in found:
        known = any(path in metrics for metrics in (BOTH, ONLY_BTC))
        return json_text('{"message":"asset not supported"}', 400) if known else json_text('{"message":"not found"}', 404)
    if query.get("i", "24h") != "24h":
        return json_text('{"message":"the sandbox has the resolution 24h only"}', 400)
    now = world.now()
    first = max(datetime.fromtimestamp(int(query.get("s", "0")), UTC), chain.FIRST)
    last = datetime.fromtimestamp(int(query["u"]), UTC) if "u" in query else now
    series = chain.long(chain.Days.upto(world.market, symbol, min(last, now)), {path: found[path]}, first)
    points = [
        {"t": int(ts.timestamp()), "v": 0.97 * value if ts + DAY > now else value}
        for ts, value in series.select("ts", "value").iter_rows()
    ]
    return json_text(json.dumps(points))
