"""Volume traded on decentralised exchanges, of all chains and of single ones, from DefiLlama.

`GET /overview/dexs[/{chain}]` of api.llama.fi, keyless, no documented limit; the whole history each time, pairs of seconds and
USD. Today's point is unfinished; day D is final about 01:00 UTC of D+1 and taken as known at 03:00. History is restated when
adapters change: it is point in time only from the first own capture on. Free with attribution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/overview/dexs"
PARAMS = {"excludeTotalDataChart": "false", "excludeTotalDataChartBreakdown": "true"}
CHAINS = ("Total", "Ethereum", "Solana", "Polygon", "Cardano")
MAX_AGE = timedelta(minutes=10)


class RawDefillamaDexVolume(RawTable):
    """One row per chain and day."""

    name = "raw/defillama_dex_volume"
    key = ("chain", "ts", "source")

    chain: str = Field(meaning="chain, or Total for all of them")
    volume_usd: float = Field(ge=0, unit="USD", meaning="traded on that day")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per chain and day in `window`. Raises a SourceError for anything but the documented answer."""
    frames = []
    for chain in CHAINS:
        path = PATH if chain == "Total" else f"{PATH}/{chain}"
        answer = http.get_json("defillama", path, PARAMS, max_age=MAX_AGE)
        if answer == []:
            raise NotPublishedYetError("defillama", f"{path}: expected the whole history, found an empty list: ask again later")
        rows = payload.history(answer, "defillama", path, "totalDataChart")
        frame = payload.frame_of(
            {
                "ts": payload.field(rows, 0, payload.seconds, "defillama", path, "date"),
                "volume_usd": payload.field(rows, 1, payload.number, "defillama", path, "volume"),
            }
        )
        frames.append(frame.with_columns(chain=pl.lit(chain)))
    return SOURCE.rows(pl.concat(frames), window, http.now())


SOURCE = Source(
    table=RawDefillamaDexVolume,
    fetch=fetch,
    provider="defillama",
    available_at=pl.col("ts") + timedelta(hours=27),
    pool="defillama",
    freshness=timedelta(hours=54),
    terms="DefiLlama; free with attribution, no resale",
)
