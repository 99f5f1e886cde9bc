"""DEX Screener: `/latest/dex/pairs/{chain}/{address,...}`, the present moment; prices are texts, liquidity may be null.

A token is worth what its coin opened this hour at on the spot market; what lies in a pool changes by the minute.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import HOUR
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import decimal, get, json_text
from crypto_assets.sandbox.planting import EPOCH

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"schemaVersion":"1.0.0","pairs":null}'
MOST_ADDRESSES = 30
MINUTE = timedelta(minutes=1)
COINS = {"WETH": "ETH", "WBTC": "BTC", "SOL": "SOL", "WPOL": "POL", "LINK": "LINK"}
"""Token -> our symbol; every other token is worth a dollar."""


@dataclass(frozen=True)
class Pool:
    """A pool; `liquidity_usd` is its usual size, None where the provider does not know it."""

    chain: str
    address: str
    dex: str
    base: str
    quote: str
    liquidity_usd: float | None


POOLS = (
    Pool("ethereum", "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640", "uniswap", "WETH", "USDC", 1.2e8),
    Pool("ethereum", "0x4e68Ccd3E89f51C3074ca5072bbAC773960dFa36", "uniswap", "WETH", "USDT", 9.0e7),
    Pool("ethereum", "0xCBCdF9626bC03E24f779434178A73a0B4bad62eD", "uniswap", "WBTC", "WETH", 1.5e8),
    Pool("ethereum", "0x99ac8cA7087fA4A2A1FB6357269965A2014ABc35", "uniswap", "WBTC", "USDC", 6.0e7),
    Pool("ethereum", "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc", "uniswap", "WETH", "USDC", 4.0e7),
    Pool("ethereum", "0xa6Cc3C2531FdaA6Ae1A3CA84c2855806728693e8", "uniswap", "LINK", "WETH", 2.0e7),
    Pool("solana", "58oQChx4yWmvKdwLLZzBi4ChoCc2fqCUWBkwMihLYQo2", "raydium", "SOL", "USDC", 1.0e7),
    Pool("solana", "Czfq3xZZDmsdGdUyrNLtRhGc47cXcZtLG4crryfu44zE", "orca", "SOL", "USDC", 3.0e7),
    Pool("polygon", "0x6e7a5FAFcec6BB1e78bAE2A1F0B612012BF14827", "quickswap", "WPOL", "USDC", None),
)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/latest/dex/pairs/{chain}/{addresses}", lambda request: _pairs(world, request))]


def _pairs(world: World, request: Request) -> Response:
    asked = request.path_params["addresses"].lower().split(",")
    if len(asked) > MOST_ADDRESSES:
        return json_text(json.dumps({"error": f"Too many addresses: at most {MOST_ADDRESSES}"}), 400)
    moment = world.now().replace(second=0, microsecond=0)
    chain = request.path_params["chain"]
    found = [_pair(world.market, p, moment) for p in POOLS if p.chain == chain and p.address.lower() in asked]
    return json_text(json.dumps({"schemaVersion": "1.0.0", "pairs": found or None, "pair": found[0] if found else None}))


def _pair(market: SimulatedMarket, pool: Pool, moment: datetime) -> dict:
    price, liquidity = _state(market, pool, moment)
    return {
        "chainId": pool.chain,
        "dexId": pool.dex,
        "pairAddress": pool.address,
        "baseToken": {"address": "0x1", "name": pool.base, "symbol": pool.base},
        "quoteToken": {"address": "0x2", "name": pool.quote, "symbol": pool.quote},
        "priceUsd": decimal(price),
        "volume": {"h24": 5.1e7, "h6": 1.2e7, "h1": 2.0e6},
        "liquidity": dict(zip(("usd", "base", "quote"), liquidity, strict=True)) if liquidity else None,
    }


def _state(market: SimulatedMarket, pool: Pool, moment: datetime) -> tuple[float, tuple[float, float, float] | None]:
    """Price of the base token, and what lies in the pool: USD, base tokens, quote tokens."""
    price = _price(market, pool.base, moment)
    if pool.liquidity_usd is None:
        return price, None
    minute = int((moment - EPOCH) / MINUTE)
    drawn = market.randomness.generator("series", minute, f"dexscreener:{pool.address}").standard_normal(2)
    usd = round(pool.liquidity_usd * (1 + 0.05 * float(drawn[0])), 2)
    share = min(max(0.5 + 0.1 * float(drawn[1]), 0.05), 0.95)
    return price, (usd, round(share * usd / price, 6), round((1 - share) * usd / _price(market, pool.quote, moment), 6))


def _price(market: SimulatedMarket, token: str, moment: datetime) -> float:
    if token not in COINS:
        return 1.0
    hour = moment.replace(minute=0)
    return float(market.candles(COINS[token], "spot", hour - 12 * HOUR, hour + MINUTE)["open"][-1])


def _rows(market: SimulatedMarket, start: datetime, end: datetime, symbols) -> pl.DataFrame:
    """A snapshot of every whole minute."""
    first = start.replace(second=0, microsecond=0)
    first += MINUTE if first < start else timedelta(0)
    rows = []
    for n in range(-((first - end) // MINUTE)):
        moment = first + n * MINUTE
        for pool in POOLS:
            price, liquidity = _state(market, pool, moment)
            pct = 100 * liquidity[1] * price / liquidity[0] if liquidity else None
            rows.append((moment, pool.chain, pool.address, pool.base, pool.quote, price, *(liquidity or (None,) * 3), pct))
    columns = ("ts", "chain", "pool", "base", "quote", "price_usd", "liquidity_usd", "liquidity_base", "liquidity_quote")
    frame = pl.DataFrame(rows, schema=[*columns, "base_pct"], orient="row", infer_schema_length=None)
    return frame.with_columns(available_at=pl.col("ts"))


TABLES = {"dexscreener_pools": _rows}
