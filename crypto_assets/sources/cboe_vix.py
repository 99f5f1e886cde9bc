"""The VIX index: 30-day implied volatility of the S&P 500.

`VIX_History.csv` of cdn.cboe.com, keyless, the whole history since 1990 each time, oldest first. Updated after the close of New
York; day D is taken as known at 06:00 UTC of D+1. Cboe copyright, personal use.
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

PATH = "/api/global/us_indices/daily_prices/VIX_History.csv"
MAX_AGE = timedelta(minutes=10)
COLUMNS = {"OPEN": "open", "HIGH": "high", "LOW": "low", "CLOSE": "close"}


class RawCboeVix(RawTable):
    """One row per trading day."""

    name = "raw/cboe_vix"
    key = ("ts", "source")

    open: float | None = Field(gt=0, unit="% a year", meaning="first value of the session")
    high: float | None = Field(gt=0, unit="% a year", meaning="highest value")
    low: float | None = Field(gt=0, unit="% a year", meaning="lowest value")
    close: float = Field(gt=0, unit="% a year", meaning="last value of the session")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per trading day in `window`. Raises a SourceError for anything but the documented answer."""
    body = http.get_text("cboe", PATH, max_age=MAX_AGE)
    frame = payload.table_of_csv(body, ["DATE", *COLUMNS], "cboe", PATH)
    if frame.is_empty():
        raise NotPublishedYetError("cboe", f"{PATH}: expected the whole history, found no row: ask again later")
    dated = payload.days(payload.floats(frame, list(COLUMNS), "cboe", PATH), "DATE", "cboe", PATH)
    now = http.now()
    payload.covering(dated, [min(window.end, now).date()], "cboe", PATH)
    return SOURCE.rows(dated.select("ts", **{ours: theirs for theirs, ours in COLUMNS.items()}), window, now)


SOURCE = Source(
    table=RawCboeVix,
    fetch=fetch,
    provider="cboe",
    available_at=pl.col("ts") + timedelta(hours=30),
    pool="cboe",
    freshness=timedelta(days=6),
    terms="Cboe copyright, personal use",
    is_core=True,
)
