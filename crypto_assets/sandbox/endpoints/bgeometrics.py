"""BGeometrics: `/v1/{metric}`, a list of days, values as text; the last week and what is older than four years are cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b"[]"
LAG = 8 * DAY
FREE = (7 * DAY, 1461 * DAY)
WAVES = "hodl-waves-supply"
SHARES = {
    "0d_1d": 0.015,
    "1d_1w": 0.03,
    "1w_1m": 0.05,
    "1m_3m": 0.08,
    "3m_6m": 0.08,
    "6m_1y": 0.13,
    "1y_2y": 0.15,
    "2y_3y": 0.12,
    "3y_4y": 0.07,
    "4y_5y": 0.05,
    "5y_7y": 0.075,
    "7y_10y": 0.07,
    "10y": 0.08,
}
"""Age since the last move -> share of the supply, about which it moves."""


def _z_score(days: chain.Days) -> np.ndarray:
    """Market less realised cap, over the standard deviation of all market caps so far."""
    cap = days["CapMrktCurUSD"]
    count = np.arange(1, len(cap) + 1)
    mean = np.cumsum(cap) / count
    spread = np.sqrt(np.maximum(np.cumsum(cap**2) / count - mean**2, (0.05 * mean) ** 2))
    return np.round((cap - cap / days["CapMVRVCur"]) / spread, 4)


def _long_held(days: chain.Days) -> np.ndarray:
    return np.round(days["SplyCur"] * (0.7 + 0.03 * np.tanh(days.level("held", 120.0)[:, 0])), 2)


def _wave(age: str) -> Callable[[chain.Days], np.ndarray]:
    def supply(days: chain.Days) -> np.ndarray:
        weights = np.array(list(SHARES.values())) * np.exp(0.1 * days.level("waves", 60.0, len(SHARES)))
        return np.round(days["SplyCur"] * (weights / weights.sum(axis=1, keepdims=True))[:, list(SHARES).index(age)], 2)

    return supply


METRICS: chain.Metrics = {
    "sopr": lambda d: np.round(d.around("sopr", 1.01, 0.02, 10.0), 4),
    "sth-sopr": lambda d: np.round(d.around("sth-sopr", 1.0, 0.02, 7.0), 4),
    "nupl": lambda d: np.round(1 - 1 / d["CapMVRVCur"], 4),
    "mvrv-zscore": _z_score,
    "puell-multiple": lambda d: np.round(d["IssTotUSD"] / chain.mean_before(d["IssTotUSD"], 365), 4),
    "long-term-hodler-supply-btc": _long_held,
    "short-term-hodler-supply-btc": lambda d: np.round(d["SplyCur"] - _long_held(d), 2),
}
FIELDS = {
    "sopr": "sopr",
    "sth-sopr": "sthSopr",
    "nupl": "nupl",
    "mvrv-zscore": "mvrvZscore",
    "puell-multiple": "puellMultiple",
    "long-term-hodler-supply-btc": "longTermHodlerSupplyBtc",
    "short-term-hodler-supply-btc": "shortTermHodlerSupplyBtc",
}
BANDS: chain.Metrics = {f"{WAVES}/age_{age}": _wave(age) for age in SHARES}


def rows(market: SimulatedMarket, start: datetime, end: datetime, _symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/bgeometrics_onchain`."""
    return chain.table(market, "BTC", {**METRICS, **BANDS}, start, end, LAG)


TABLES = {"bgeometrics_onchain": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/v1/{metric}", lambda request: _series(world, request))]


def _series(world: World, request: Request) -> Response:
    metric = request.path_params["metric"]
    if metric not in (*METRICS, WAVES):
        return json_text('{"status":404,"error":"Not Found"}', 404)
    last = world.now() - FREE[0] - DAY + timedelta(microseconds=1)
    wanted = BANDS if metric == WAVES else {metric: METRICS[metric]}
    series = chain.long(chain.Days.upto(world.market, "BTC", last), wanted, max(world.now() - FREE[1], chain.FIRST))
    days: dict[datetime, dict[str, str]] = {}
    for ts, name, value in series.iter_rows():
        row = days.setdefault(ts, {"d": f"{ts:%Y-%m-%d}", "unixTs": str(int(ts.timestamp()))})
        row[name.removeprefix(f"{WAVES}/") if metric == WAVES else FIELDS[metric]] = decimal(value)
    return json_text(json.dumps(list(days.values())))
