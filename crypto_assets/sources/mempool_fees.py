"""Fees that a Bitcoin transaction needs at this moment, from mempool.space.

`GET /v1/fees/recommended` of mempool.space/api, keyless; limits are not published, one call in 2 seconds is kept. The provider
keeps no history: what was seen is what there is. Public instance of free software (AGPL), for light use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import History, Source
from crypto_assets.sources.mempool_mining import PROVIDER

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/v1/fees/recommended"
FEES = {
    "fastest_fee": "fastestFee",
    "half_hour_fee": "halfHourFee",
    "hour_fee": "hourFee",
    "economy_fee": "economyFee",
    "minimum_fee": "minimumFee",
}


class RawMempoolFees(RawTable):
    """One row per snapshot."""

    name = "raw/mempool_fees"
    key = ("ts", "source")

    fastest_fee: float = Field(ge=0, unit="sat/vB", meaning="for the next block")
    half_hour_fee: float = Field(ge=0, unit="sat/vB", meaning="for confirmation within half an hour")
    hour_fee: float = Field(ge=0, unit="sat/vB", meaning="for confirmation within an hour")
    economy_fee: float = Field(ge=0, unit="sat/vB", meaning="for those who can wait")
    minimum_fee: float = Field(ge=0, unit="sat/vB", meaning="below it nodes drop the transaction")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One snapshot, if `window` holds the present minute. Raises a SourceError for anything but the documented answer."""
    now = http.now().replace(second=0, microsecond=0)
    answer = http.get_json(PROVIDER.key, PATH)
    if not isinstance(answer, dict):
        raise BadPayloadError(PROVIDER.key, f"{PATH}: expected an object, found {str(answer)[:80]!r}")
    columns = {ours: payload.field([answer], theirs, payload.number, PROVIDER.key, PATH) for ours, theirs in FEES.items()}
    return SOURCE.rows(payload.frame_of({"ts": [now], **columns}), window, http.now())


SOURCE = Source(
    table=RawMempoolFees,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts"),
    pool=PROVIDER.key,
    history=History("none"),
    freshness=timedelta(hours=2),
    terms="mempool.space public instance, light use",
)
