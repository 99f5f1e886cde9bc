"""IntoTheBlock, now Sentora: `/{symbol}/overview` as its last public clients read it; a snapshot, 401 without a key.

The real interface is gone; this is what the adapter assumes. Coins without transaction ages have null for the holding time.
"""

from __future__ import annotations

import json
from datetime import date, datetime

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.sandbox import series
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.planting import COINS
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b"{}"
GROUPS = {
    "inOutOfTheMoney": {"in": 0.6, "between": 0.05, "out": 0.35},
    "byTimeHeldComposition": {"hodler": 0.65, "cruiser": 0.28, "trader": 0.07},
}
"""Object -> its numbers as shares of the addresses, about which they move."""
WITHOUT_AGES = ("POL",)
ADDRESSES = {coin.symbol: 50 * coin.active_addresses for coin in COINS}


def rows(market: SimulatedMarket, start: datetime, end: datetime, symbols: tuple[str, ...]) -> pl.DataFrame:
    """`raw/sentora_metrics` as a snapshot each minute would show it."""
    minutes = pl.datetime_range(start, end, "1m", closed="left", eager=True).cast(UTC_US)
    found = [
        (symbol, ts, ts, metric, value)
        for symbol in symbols
        for ts in minutes
        for metric, value in _flat(_overview(market, symbol, ts.date())).items()
    ]
    schema = {"symbol": pl.String(), "ts": UTC_US, "available_at": UTC_US, "metric": pl.String(), "value": pl.Float64()}
    return pl.DataFrame(found, schema=schema, orient="row")


TABLES = {"sentora_metrics": rows}


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/{symbol}/overview", lambda request: _answer(world, request))]


def _answer(world: World, request: Request) -> Response:
    if not request.headers.get("x-api-key"):
        return json_text('{"message":"Unauthorized"}', 401)
    symbol = request.path_params["symbol"]
    if symbol not in ADDRESSES:
        return json_text('{"message":"Not Found"}', 404)
    return json_text(json.dumps(_overview(world.market, symbol, world.now().date())))


def _overview(market: SimulatedMarket, symbol: str, day: date) -> dict:
    """The numbers of a day."""
    level = series.level(market.randomness, f"sentora/{symbol}", day, day, 20.0, 7)[0]
    answer: dict = {"symbol": symbol, "concentration": round(float(0.3 + 0.1 * np.tanh(level[0])), 6)}
    for n, (group, shares) in enumerate(GROUPS.items()):
        weights = np.array(list(shares.values())) * np.exp(0.1 * level[1 + 3 * n : 4 + 3 * n])
        counts = np.rint(ADDRESSES[symbol] * weights / weights.sum())
        is_there = group != "byTimeHeldComposition" or symbol not in WITHOUT_AGES
        answer[group] = {name: int(count) for name, count in zip(shares, counts, strict=True)} if is_there else None
    return answer


def _flat(answer: dict) -> dict[str, float]:
    """The answer as metric -> value."""
    flat = {"concentration": answer["concentration"]}
    for group in GROUPS:
        flat |= {f"{group}/{name}": float(value) for name, value in (answer[group] or {}).items()}
    return flat
