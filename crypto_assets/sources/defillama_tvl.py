"""Total value locked in DeFi, of all chains and of single ones, from DefiLlama.

`GET /v2/historicalChainTvl[/{chain}]` of api.llama.fi, keyless, no documented limit; the whole history each time. Liquid
staking and double counting are excluded. The last point is intraday; day D is final about 01:00 UTC of D+1 and taken as known
at 03:00. History is restated when adapters change: it is point in time only from the first own capture on. Free with
attribution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/v2/historicalChainTvl"
CHAINS = ("Total", "Ethereum", "Solana", "Polygon", "Cardano")
MAX_AGE = timedelta(minutes=10)


class RawDefillamaTvl(RawTable):
    """One row per chain and day."""

    name = "raw/defillama_tvl"
    key = ("chain", "ts", "source")

    chain: str = Field(meaning="chain, or Total for all of them")
    tvl_usd: float = Field(ge=0, unit="USD", meaning="value locked")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per chain and day in `window`. Raises a SourceError for anything but the documented answer."""
    frames = []
    for chain in CHAINS:
        path = PATH if chain == "Total" else f"{PATH}/{chain}"
        rows = payload.history(http.get_json("defillama", path, max_age=MAX_AGE), "defillama", path)
        frame = payload.frame_of(
            {
                "ts": payload.field(rows, "date", payload.seconds, "defillama", path),
                "tvl_usd": payload.field(rows, "tvl", payload.number, "defillama", path),
            }
        )
        frames.append(frame.with_columns(chain=pl.lit(chain)))
    return SOURCE.rows(pl.concat(frames), window, http.now())


SOURCE = Source(
    table=RawDefillamaTvl,
    fetch=fetch,
    provider="defillama",
    available_at=pl.col("ts") + timedelta(hours=27),
    pool="defillama",
    freshness=timedelta(hours=54),
    terms="DefiLlama; free with attribution, no resale",
    is_core=True,
)
