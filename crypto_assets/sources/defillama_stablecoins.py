"""Supply of stablecoins pegged to the dollar, from DefiLlama.

`GET /stablecoincharts/all` of stablecoins.llama.fi, keyless, no documented limit; the whole history each time. The date is a
text of seconds; amounts stand under their peg. The last point is unfinished; day D is final about 01:00 UTC of D+1 and taken as
known at 03:00. History is restated when a coin is added. Free with attribution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("defillama_stablecoins", "https://stablecoins.llama.fi", 60, 60, workers=2))
PATH = "/stablecoincharts/all"
MAX_AGE = timedelta(minutes=10)


class RawDefillamaStablecoins(RawTable):
    """One row per day, over all chains and coins."""

    name = "raw/defillama_stablecoins"
    key = ("ts", "source")

    circulating: float = Field(ge=0, unit="coins", meaning="coins pegged to the dollar in circulation")
    circulating_usd: float = Field(ge=0, unit="USD", meaning="the same at their market prices")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per day in `window`. Raises a SourceError for anything but the documented answer."""
    rows = payload.history(http.get_json(PROVIDER.key, PATH, max_age=MAX_AGE), PROVIDER.key, PATH)

    def column(key: str, read: Any) -> list[Any]:
        return payload.field(rows, key, read, PROVIDER.key, PATH)

    columns = {
        "ts": column("date", payload.seconds),
        "circulating": column("totalCirculating", _dollars),
        "circulating_usd": column("totalCirculatingUSD", _dollars),
    }
    return SOURCE.rows(payload.frame_of(columns), window, http.now())


def _dollars(value: Any) -> float:
    """An object with a number under peggedUSD."""
    if not isinstance(value, dict):
        raise ValueError("an object")
    return payload.number(value.get("peggedUSD"))


SOURCE = Source(
    table=RawDefillamaStablecoins,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=27),
    pool="defillama",
    freshness=timedelta(hours=54),
    terms="DefiLlama; free with attribution, no resale",
)
