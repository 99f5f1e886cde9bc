"""Basis of Binance USD-M perpetuals: how far the perpetual trades above its index, by the hour.

`GET /fapi/v1/premiumIndexKlines` of fapi.binance.com, keyless, at most 1500 bars a call at weight 10, 2400 weight a minute.
Full history. The premium index is the perpetual's impact price over the index of spot exchanges, less one; funding is made
from it. A bar is final when it closes, which is when it is available; the open bar is left out. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources._binance import Endpoint, klines
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http


class RawBinanceBasis(RawTable):
    """One row per coin and hour; `ts` is the bar's open."""

    name = "raw/binance_basis"

    symbol: str = Field(meaning="our symbol")
    basis: float = Field(ge=-0.5, le=0.5, unit="fraction", meaning="premium index at the bar's close")
    basis_high: float = Field(ge=-0.5, le=0.5, unit="fraction", meaning="highest premium index in the bar")
    basis_low: float = Field(ge=-0.5, le=0.5, unit="fraction", meaning="lowest premium index in the bar")

    @classmethod
    def rules(cls) -> dict[str, pl.Expr]:
        """The range of a bar holds its close."""
        return {"low <= basis <= high": pl.col("basis").is_between("basis_low", "basis_high")}


ENDPOINT = Endpoint(
    "binance_futures",
    "fapiPublicGetPremiumIndexKlines",
    limit=1500,
    step=HOUR,
    params=(("interval", "1h"),),
    folder="futures/um",
    kind="premiumIndexKlines",
)


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed bars of every coin whose open lies in `window`; none before a coin's listing or after its delisting.

    Raises a SourceError: NotPublishedYetError if the exchange has no bar of any listed coin.
    """
    bars = klines(http, ENDPOINT, window)
    rows = bars.select("symbol", "ts", basis="close", basis_high="high", basis_low="low")
    return SOURCE.rows(rows, window, http.now())


SOURCE = Source(
    table=RawBinanceBasis,
    fetch=fetch,
    provider="binance_futures",
    available_at=pl.col("ts") + HOUR,
    pool="binance_futures",
    freshness=timedelta(hours=26),
    terms="Binance terms of use; own use, no redistribution",
)
