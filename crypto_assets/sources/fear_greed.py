"""Crypto Fear & Greed Index of alternative.me.

`GET /fng/?limit=0` gives the whole history since 2018-02-01, newest first, all values as text. Keyless, 60 calls a minute.
The value of day D appears just after 00:00 UTC of D from data up to D-1, so it is taken as known from 01:00. No revisions are
known. Attribution is asked for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/fng/"
MAX_AGE = timedelta(minutes=10)


class RawFearGreed(RawTable):
    """One row a day."""

    name = "raw/fear_greed"
    key = ("ts", "source")

    value_pct: float = Field(ge=0, le=100, unit="%", meaning="0 is extreme fear, 100 extreme greed")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row a day in `window`. Raises a SourceError for anything but the documented answer."""
    answer = http.get_json("alternative_me", PATH, {"limit": 0, "format": "json"}, MAX_AGE)
    trouble = answer.get("metadata", {}).get("error") if isinstance(answer, dict) else None
    if trouble:
        raise BadPayloadError("alternative_me", f"{PATH}: metadata.error must be null, found {str(trouble)[:80]!r}")
    rows = payload.history(answer, "alternative_me", PATH, "data")
    frame = payload.frame_of(
        {
            "ts": payload.field(rows, "timestamp", payload.seconds, "alternative_me", PATH),
            "value_pct": payload.field(rows, "value", payload.number, "alternative_me", PATH),
        }
    )
    return SOURCE.rows(frame, window, http.now())


SOURCE = Source(
    table=RawFearGreed,
    fetch=fetch,
    provider="alternative_me",
    available_at=pl.col("ts") + HOUR,
    pool="alternative_me",
    freshness=timedelta(hours=50),
    terms="alternative.me; attribution asked for",
    is_core=True,
)
