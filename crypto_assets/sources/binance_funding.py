"""Funding rates of Binance USD-M perpetuals, as settled.

`GET /fapi/v1/fundingRate` of fapi.binance.com, keyless, at most 1000 settlements a call, 500 calls in 5 minutes. Full history.
Every 8 hours, for some coins every 4 or 1. The time carries a few milliseconds of jitter and is floored to the second; the rate
is known when it settles. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources._binance import Endpoint, funding
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http


class RawBinanceFunding(RawTable):
    """One row per coin and settlement."""

    name = "raw/binance_funding"

    symbol: str = Field(meaning="our symbol")
    funding_rate: float = Field(ge=-0.1, le=0.1, unit="fraction a settlement", meaning="paid by longs to shorts")
    mark_price: float | None = Field(gt=0, unit="USDT", meaning="mark price at settlement; absent in old rows")


ENDPOINT = Endpoint(
    "binance_futures", "fapiPublicGetFundingRate", limit=1000, step=timedelta(milliseconds=1), folder="futures/um"
)


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Settlements of every coin in `window`; none before a coin's listing or after its delisting.

    Raises a SourceError: NotPublishedYetError if a window of a day or more has no settlement of any listed coin.
    """
    found = funding(http, ENDPOINT, window)
    return SOURCE.rows(found, window, http.now()) if found.height else RawBinanceFunding.empty()


SOURCE = Source(
    table=RawBinanceFunding,
    fetch=fetch,
    provider="binance_futures",
    available_at=pl.col("ts"),
    pool="binance_futures",
    freshness=timedelta(hours=34),
    terms="Binance terms of use; own use, no redistribution",
    is_core=True,
)
