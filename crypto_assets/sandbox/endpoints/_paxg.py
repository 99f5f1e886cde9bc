"""PAXG/USDT at Binance spot, daily bars only: the token follows the simulated price of gold, which is no coin of the market."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response

from crypto_assets.sandbox import macro
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import decimal, json_text, to_ms

SYMBOL = "PAXGUSDT"
DAY_MS = 86_400_000


def klines(world: World, request: Request) -> Response | None:
    """The daily bars asked for, ascending, the last one still open; None for another symbol or interval, and in a replay."""
    query = request.query_params
    if query.get("symbol") != SYMBOL or query.get("interval") != "1d" or world.market.market == "replay":
        return None
    now = world.now()
    first, last = int(query.get("startTime", "0")), min(int(query.get("endTime", str(to_ms(now)))), to_ms(now))
    rows = []
    for ts, close in macro.token_gold(world.market, now.date()).iter_rows():
        if first <= to_ms(ts) <= last:
            price = decimal(close)
            rows.append([to_ms(ts), *([price] * 4), "1000.0", to_ms(ts) + DAY_MS - 1, price, 10, "500.0", price, "0"])
    return json_text(json.dumps(rows[: int(query.get("limit", "500"))]))
