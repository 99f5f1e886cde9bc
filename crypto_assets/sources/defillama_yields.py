"""Yields of well-known DeFi pools, from DefiLlama.

`GET /chart/{uuid}` of yields.llama.fi, keyless, no documented limit; the whole history of a pool each time, one record a day,
the last of that day. That of today changes hourly; day D is final when it ends and taken as known at 03:00 UTC of D+1. A pool
that has been dropped answers with an empty list and is left out with a warning. Free with attribution.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("defillama_yields", "https://yields.llama.fi", 60, 60, workers=2))
PATH = "/chart/{uuid}"
MAX_AGE = timedelta(minutes=10)


@dataclass(frozen=True)
class Pool:
    """A pool by the provider's identifier."""

    uuid: str
    project: str
    symbol: str


POOLS = (
    Pool("747c1d2a-c668-4682-b9f9-296708a3dd90", "lido", "STETH"),
    Pool("d4b3c522-6127-4b89-bedf-83641cdcd2eb", "rocket-pool", "RETH"),
    Pool("aa70268e-4b52-42bf-a116-608b370f9501", "aave-v3", "USDC"),
    Pool("f981a304-bb6c-45b8-b0c5-fd2f515ad23a", "aave-v3", "USDT"),
    Pool("7da72d09-56ca-4ec5-a45f-59114353e487", "compound-v3", "USDC"),
    Pool("d8c4eff5-c8a9-46fc-a888-057c4c668e72", "sky-lending", "SUSDS"),
    Pool("66985a81-9c51-46ca-9977-42b4fe7bc6df", "ethena-usde", "SUSDE"),
)
"""All on Ethereum: staked ether, dollars lent out, savings rates."""
_log = logging.getLogger(__name__)


class RawDefillamaYields(RawTable):
    """One row per pool and day."""

    name = "raw/defillama_yields"
    key = ("pool", "ts", "source")

    pool: str = Field(meaning="the provider's identifier of the pool")
    project: str = Field(meaning="protocol the pool belongs to")
    pool_symbol: str = Field(meaning="what is deposited")
    tvl_usd: float = Field(ge=0, unit="USD", meaning="value in the pool")
    apy_pct: float | None = Field(ge=-100, unit="% a year", meaning="yield with rewards")
    apy_base_pct: float | None = Field(ge=-100, unit="% a year", meaning="yield from fees or interest")
    apy_reward_pct: float | None = Field(ge=-100, unit="% a year", meaning="yield from rewards")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per pool and day in `window`. Raises a SourceError: NotPublishedYetError where no pool has a history."""
    frames = []
    for pool in POOLS:
        path = PATH.format(uuid=pool.uuid)
        rows = payload.entries(http.get_json(PROVIDER.key, path, max_age=MAX_AGE), PROVIDER.key, path, "data")
        if rows:
            frames.append(_frame(rows, path).with_columns(pool=pl.lit(pool.uuid), project=pl.lit(pool.project)))
            frames[-1] = frames[-1].with_columns(pool_symbol=pl.lit(pool.symbol))
        else:
            _log.warning("defillama_yields: %s (%s %s) has no history: left out", path, pool.project, pool.symbol)
    if not frames:
        raise NotPublishedYetError(PROVIDER.key, f"{PATH}: expected {len(POOLS)} histories, found none: ask again later")
    return SOURCE.rows(pl.concat(frames), window, http.now())


def _frame(rows: list[Any], path: str) -> pl.DataFrame:
    """Midnight in `ts` and values, the last record of each day."""

    def column(key: str, read: Any = payload.number_or_none) -> list[Any]:
        return payload.field(rows, key, read, PROVIDER.key, path)

    values = {
        "tvl_usd": column("tvlUsd", payload.number),
        "apy_pct": column("apy"),
        "apy_base_pct": column("apyBase"),
        "apy_reward_pct": column("apyReward"),
    }
    frame = payload.frame_of({"ts": column("timestamp", payload.iso), **values}).cast(dict.fromkeys(values, pl.Float64))
    return frame.sort("ts").with_columns(pl.col("ts").dt.truncate("1d")).unique("ts", keep="last", maintain_order=True)


SOURCE = Source(
    table=RawDefillamaYields,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=27),
    pool="defillama",
    freshness=timedelta(hours=54),
    terms="DefiLlama; free with attribution, no resale",
)
