"""Depth of the order books of Binance USD-M perpetuals, by band around the price: the last snapshot of each hour.

Daily bookDepth files of data.binance.vision, keyless, from 2023-01-01: a snapshot about every half minute, with what rests
within 1 to 5 % below (negative bands) and above the price, since 2026-01-15 within 0.2 % too. The file of day D comes at about
08:30 UTC of D+1 and counts as known at 10:00. Files are rarely replaced. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _bulk as bulk
from crypto_assets.sources._binance import parts, require
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

LAYOUT: bulk.Layout = {
    "timestamp": ("ts", bulk.clock),
    "percentage": ("band_pct", bulk.number),
    "depth": ("depth", bulk.number),
    "notional": ("notional_usd", bulk.number),
}


class RawBinanceDepth(RawTable):
    """One row per coin, hour and band; `ts` is the hour's begin."""

    name = "raw/binance_depth"
    key = ("symbol", "ts", "band_pct", "source")

    symbol: str = Field(meaning="our symbol")
    band_pct: float = Field(ge=-5, le=5, unit="%", meaning="distance from the price the band reaches to; negative: bids")
    depth: float = Field(ge=0, unit="coins", meaning="what rests in the band")
    notional_usd: float = Field(ge=0, unit="USDT", meaning="its worth")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """The last snapshot of every hour in `window` and coin; none where the archive has no file of the day.

    Raises a SourceError: BadPayloadError for a broken file, NotPublishedYetError if no listed coin has any file of a window
    that should be there.
    """
    now = http.now()
    asked = parts(http, "binance_futures", window, now)
    files = [f for p in asked for f in bulk.days("futures/um", "bookDepth", p.symbol, p.window, now)]
    found, _ = bulk.archived(asked, bulk.read(http, files, LAYOUT), last_of_hours)
    if files:
        require(found, asked, bulk.PROVIDER.key, "bookDepth")
    return SOURCE.rows(pl.concat(found), window, now) if found else RawBinanceDepth.empty()


def last_of_hours(snapshots: pl.DataFrame) -> pl.DataFrame:
    """Of each hour the bands of its last snapshot, `ts` the hour's begin."""
    hour = pl.col("ts").dt.truncate(HOUR)
    return snapshots.filter(pl.col("ts") == pl.col("ts").max().over(hour)).with_columns(ts=hour).unique(["ts", "band_pct"])


SOURCE = Source(
    table=RawBinanceDepth,
    fetch=fetch,
    provider=bulk.PROVIDER.key,
    available_at=pl.col("ts").dt.truncate("1d") + timedelta(hours=34),
    pool=bulk.PROVIDER.key,
    freshness=timedelta(hours=60),
    terms="Binance terms of use; own use, no redistribution",
)
