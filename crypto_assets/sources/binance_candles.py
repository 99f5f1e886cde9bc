"""Hourly candles of Binance spot, in USDT.

`GET /api/v3/klines` of data-api.binance.vision, keyless, at most 1000 bars a call, 6000 weight a minute at weight 2 a call.
History from 2017-08-17. A bar is final when it closes, which is when it is available; the open bar is left out. Exchange terms:
own use.
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


class RawBinanceCandles(CandleTable):
    """One row per coin and hour."""

    name = "raw/binance_candles"


ENDPOINT = Endpoint("binance_spot", "publicGetKlines", limit=1000, step=HOUR, params=(("interval", "1h"),), folder="spot")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed bars of every coin whose open lies in `window`; none before a coin's listing or after its delisting.

    Raises a SourceError: NotPublishedYetError if the exchange has no bar of any listed coin.
    """
    return SOURCE.rows(klines(http, ENDPOINT, window), window, http.now())


SOURCE = Source(
    table=RawBinanceCandles,
    fetch=fetch,
    provider="binance_spot",
    available_at=pl.col("ts") + HOUR,
    pool="binance_spot",
    freshness=timedelta(hours=26),
    terms="Binance terms of use; own use, no redistribution",
    is_core=True,
)
