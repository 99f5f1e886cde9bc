"""Hourly candles of Binance USD-M perpetuals, in USDT: what is traded here.

`GET /fapi/v1/klines` of fapi.binance.com, keyless, at most 1500 bars a call at weight 10, 2400 weight a minute. History from
2019-09-08. A bar is final when it closes, which is when it is available; the open bar is left out. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources._binance import CandleTable, Endpoint, klines
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http


class RawBinancePerpCandles(CandleTable):
    """One row per coin and hour."""

    name = "raw/binance_perp_candles"


ENDPOINT = Endpoint(
    "binance_futures", "fapiPublicGetKlines", limit=1500, step=HOUR, params=(("interval", "1h"),), folder="futures/um"
)


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed bars of every coin whose open lies in `window`; none before a coin's listing or after its delisting.

    Raises a SourceError: NotPublishedYetError if the exchange has no bar of any listed coin.
    """
    return SOURCE.rows(klines(http, ENDPOINT, window), window, http.now())


SOURCE = Source(
    table=RawBinancePerpCandles,
    fetch=fetch,
    provider="binance_futures",
    available_at=pl.col("ts") + HOUR,
    pool="binance_futures",
    freshness=timedelta(hours=26),
    terms="Binance terms of use; own use, no redistribution",
    is_core=True,
)
