"""Liquidity of well-known pools of decentralised exchanges at this moment, from DEX Screener.

`GET /latest/dex/pairs/{chain}/{address,...}` of api.dexscreener.com, keyless, 300 requests a minute, at most 30 addresses a
call. The provider keeps no history: what was seen is what there is. `liquidity` may be null. Free within the limit, with
attribution.

`base_pct` is the liquidity-pool ratio: the share of the pool's value that lies in its base token.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("dexscreener", "https://api.dexscreener.com", 120, 60))
PATH = "/latest/dex/pairs/{chain}/{addresses}"
POOLS = {
    "ethereum": (
        "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640",  # Uniswap v3 USDC/WETH 0.05 %
        "0x4e68Ccd3E89f51C3074ca5072bbAC773960dFa36",  # Uniswap v3 WETH/USDT 0.3 %
        "0xCBCdF9626bC03E24f779434178A73a0B4bad62eD",  # Uniswap v3 WBTC/WETH 0.3 %
        "0x99ac8cA7087fA4A2A1FB6357269965A2014ABc35",  # Uniswap v3 WBTC/USDC 0.3 %
        "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc",  # Uniswap v2 USDC/WETH
        "0xa6Cc3C2531FdaA6Ae1A3CA84c2855806728693e8",  # Uniswap v3 LINK/WETH 0.3 %
    ),
    "solana": (
        "58oQChx4yWmvKdwLLZzBi4ChoCc2fqCUWBkwMihLYQo2",  # Raydium SOL/USDC
        "Czfq3xZZDmsdGdUyrNLtRhGc47cXcZtLG4crryfu44zE",  # Orca SOL/USDC
    ),
    "polygon": ("0x6e7a5FAFcec6BB1e78bAE2A1F0B612012BF14827",),  # QuickSwap WPOL/USDC
}


class RawDexscreenerPools(RawTable):
    """One row per pool and snapshot."""

    name = "raw/dexscreener_pools"
    key = ("chain", "pool", "ts", "source")

    chain: str = Field(meaning="chain the pool is on")
    pool: str = Field(meaning="address of the pool")
    base: str = Field(meaning="symbol of the base token, as the chain has it")
    quote: str = Field(meaning="symbol of the quote token")
    price_usd: float = Field(gt=0, unit="USD", meaning="price of one base token")
    liquidity_usd: float | None = Field(ge=0, unit="USD", meaning="value of both tokens in the pool")
    liquidity_base: float | None = Field(ge=0, unit="base tokens", meaning="base tokens in the pool")
    liquidity_quote: float | None = Field(ge=0, unit="quote tokens", meaning="quote tokens in the pool")
    base_pct: float | None = Field(ge=0, unit="%", meaning="share of the base token in the pool's value")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One snapshot of every pool the provider knows, if `window` holds the present minute.

    Raises a SourceError for anything but the documented answer, NotPublishedYetError where it knows none.
    """
    now = http.now()
    frames = []
    for chain, addresses in POOLS.items():
        path = PATH.format(chain=chain, addresses=",".join(addresses))
        answer = http.get_json(PROVIDER.key, path)
        if isinstance(answer, dict) and answer.get("pairs", ...) is None:
            continue
        frames.append(_frame(payload.entries(answer, PROVIDER.key, f"pairs of {chain}", "pairs"), f"pairs of {chain}"))
    if not frames:
        raise NotPublishedYetError(PROVIDER.key, f"{PATH}: expected pools of {list(POOLS)}, found none: ask again later")
    whole = 100 * pl.col("liquidity_base") * pl.col("price_usd") / pl.col("liquidity_usd")
    rows = pl.concat(frames).with_columns(
        ts=pl.lit(now.replace(second=0, microsecond=0)), base_pct=pl.when(pl.col("liquidity_usd") > 0).then(whole)
    )
    return SOURCE.rows(rows, window, now)


def _frame(rows: list[Any], where: str) -> pl.DataFrame:
    def column(key: str, read: Any) -> list[Any]:
        return payload.field(rows, key, read, PROVIDER.key, where)

    texts = {
        "chain": column("chainId", payload.text),
        "pool": column("pairAddress", payload.text),
        "base": column("baseToken", _symbol),
        "quote": column("quoteToken", _symbol),
    }
    amounts = {f"liquidity_{name}": [_amount(row.get("liquidity"), name) for row in rows] for name in ("usd", "base", "quote")}
    numbers = {"price_usd": column("priceUsd", payload.number), **amounts}
    return payload.frame_of({**texts, **numbers}).cast(dict.fromkeys(numbers, pl.Float64))


def _symbol(value: Any) -> str:
    """An object with a symbol."""
    return payload.text(value["symbol"])


def _amount(liquidity: Any, name: str) -> float | None:
    """One of the three amounts, None where the provider does not know the liquidity."""
    return payload.field([liquidity], name, payload.number_or_none, PROVIDER.key, "liquidity")[0] if liquidity else None


SOURCE = Source(
    table=RawDexscreenerPools,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts"),
    pool="dexscreener",
    history=History("none"),
    freshness=timedelta(hours=2),
    terms="DEX Screener; free within 300 requests a minute, with attribution",
)
