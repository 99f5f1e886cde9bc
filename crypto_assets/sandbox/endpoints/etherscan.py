"""Etherscan V2: `/v2/api?module=stats&action=...`; every answer has HTTP 200, a refusal `status` "0". Any key is a paid one."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints import _onchain as chain
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text
from crypto_assets.sandbox.endpoints.blockscout import fees, gas_price, new_accounts, utilisation
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"status":"0","message":"No records found","result":[]}'
SHOWN_AFTER = timedelta(hours=30)
LAG = timedelta(hours=36)
METRICS: chain.Metrics = {
    "dailytx": lambda d: d["TxCnt"],
    "dailynewaddress": new_accounts,
    "dailygasused": lambda d: np.rint(2.16e9 * utilisation(d)),
    "dailyavggasprice": lambda d: np.rint(1e9 * gas_price(d)),
    "dailynetutilization": lambda d: np.round(utilisation(d) / 100, 4),
    "dailyavgblocktime": lambda d: np.round(12.1 + 0.05 * np.tanh(d.level("block time")[:, 0]), 2),
    "dailytxnfee": fees,
}
FIELDS = {
    "dailytx": "transactionCount",
    "dailynewaddress": "newAddressCount",
    "dailygasused": "gasUsed",
    "dailyavggasprice": "avgGasPrice_Wei",
    "dailynetutilization": "networkUtilization",
    "dailyavgblocktime": "blockTime_sec",
    "dailytxnfee": "transactionFee_Eth",
}
COUNTS = ("dailytx", "dailynewaddress")
"""Their values are numbers, all others text."""


def rows(market: SimulatedMarket, start: datetime, end: datetime, _symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/etherscan_stats`."""
    return chain.table(market, "ETH", METRICS, start, end, LAG)


TABLES = {"etherscan_stats": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/v2/api", lambda request: _answer(world, request))]


def _answer(world: World, request: Request) -> Response:
    query = request.query_params
    reason = _reason(query)
    if reason:
        return json_text(json.dumps({"status": "0", "message": "NOTOK", "result": reason}))
    action = query["action"]
    first = midnight(datetime.fromisoformat(query["startdate"]).date())
    last = midnight(datetime.fromisoformat(query["enddate"]).date()) + DAY
    days = chain.Days.upto(world.market, "ETH", min(last, world.now() - SHOWN_AFTER + timedelta(microseconds=1)))
    series = chain.long(days, {action: METRICS[action]}, first)
    found = [_row(action, ts, value) for ts, value in series.select("ts", "value").iter_rows()]
    if query.get("sort", "asc") == "desc":
        found.reverse()
    return Response(EMPTY) if not found else json_text(json.dumps({"status": "1", "message": "OK", "result": found}))


def _reason(query: QueryParams) -> str | None:
    """Why the provider refuses."""
    if "chainid" not in query:
        return (
            "Missing or unsupported chainid parameter (required for v2 api), please see https://api.etherscan.io/v2/chainlist"
        )
    if not query.get("apikey"):
        return "Missing/Invalid API Key"
    if query.get("module") != "stats" or query.get("action") not in METRICS:
        return "Error! Missing Or invalid Action name"
    if "startdate" not in query or "enddate" not in query:
        return "Error! Missing Or invalid date"
    return None


def _row(action: str, ts: datetime, value: float) -> dict[str, object]:
    shown = int(value) if action in COUNTS else decimal(value).removesuffix(".0")
    return {"UTCDate": f"{ts:%Y-%m-%d}", "unixTimeStamp": str(int(ts.timestamp())), FIELDS[action]: shown}
