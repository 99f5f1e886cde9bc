"""Blockscout statistics: `/stats-service/api/v1/lines/{name}`; values as text, the running day marked `is_approximate`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"chart":[],"info":{}}'
FINAL_AFTER = timedelta(hours=33)
LAG = timedelta(hours=36)


def fees(days: chain.Days) -> np.ndarray:
    """ETH paid in fees each day."""
    return days["FeeTotNtv"]


def gas_price(days: chain.Days) -> np.ndarray:
    """Gwei, mean of the day."""
    return np.round(days.around("gas", 20.0, 0.5, 5.0), 4)


def new_accounts(days: chain.Days) -> np.ndarray:
    """Addresses seen for the first time, a tenth of the active ones."""
    return np.rint(0.1 * days["AdrActCnt"])


def utilisation(days: chain.Days) -> np.ndarray:
    """Percent of the gas limit."""
    return np.round(50 + 3 * np.tanh(days.level("utilisation", 5.0)[:, 0]), 2)


METRICS: chain.Metrics = {
    "newTxns": lambda d: d["TxCnt"],
    "activeAccounts": lambda d: d["AdrActCnt"],
    "newAccounts": new_accounts,
    "newContracts": lambda d: np.rint(d.around("contracts", 12_000, 0.4)),
    "averageGasPrice": gas_price,
    "averageTxnFee": lambda d: np.round(fees(d) / d["TxCnt"], 12),
    "txnsFee": fees,
    "networkUtilization": utilisation,
}


def rows(market: SimulatedMarket, start: datetime, end: datetime, _symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/blockscout_stats`."""
    return chain.table(market, "ETH", METRICS, start, end, LAG)


TABLES = {"blockscout_stats": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/stats-service/api/v1/lines/{name}", lambda request: _line(world, request))]


def _line(world: World, request: Request) -> Response:
    name, query, now = request.path_params["name"], request.query_params, world.now()
    if name not in METRICS:
        return json_text(json.dumps({"code": 5, "message": f"chart {name} was not found", "details": []}), 404)
    first = midnight(datetime.fromisoformat(query.get("from", f"{chain.FIRST:%Y-%m-%d}")).date())
    last = midnight(datetime.fromisoformat(query.get("to", f"{now:%Y-%m-%d}")).date()) + DAY
    series = chain.long(chain.Days.upto(world.market, "ETH", min(last, now)), {name: METRICS[name]}, first)
    points = [_point(ts, value, now < ts + FINAL_AFTER) for ts, value in series.select("ts", "value").iter_rows()]
    return json_text(json.dumps({"chart": points, "info": {"id": name, "title": name, "units": None}}))


def _point(ts: datetime, value: float, is_approximate: bool) -> dict[str, object]:
    day = f"{ts:%Y-%m-%d}"
    shown = decimal(0.4 * value if is_approximate else value).removesuffix(".0")
    return {"date": day, "date_to": day, "value": shown, "is_approximate": is_approximate}
