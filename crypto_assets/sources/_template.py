"""A source to copy: rename the file to the table's name, and it is found.

Replace this text by: what it is; endpoint; key or keyless; limits; how far back; when the value of day D is knowable, and where
that is documented; whether values are revised; the licence. Then, in order:

1. `PROVIDER`: address and pace. Left out where another source has the provider already.
2. The table: `name` = `raw/` + file name, one annotated column a value, with bounds, unit and meaning.
3. `fetch`: few calls for any window, one day or years. Read every value through `_payload`, so that another shape than
   documented is an error that names the field.
4. `SOURCE`: above all `available_at`, the first moment anyone could have known the row. When in doubt, later.

A server for it in the sandbox is one file too, `sandbox/endpoints/<provider key>.py`; the contract test then covers both.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("template", "https://api.example.org", rate=30, per=60))
PATH = "/v1/daily"


class RawTemplate(RawTable):
    """One row per coin and day."""

    name = "raw/template"

    symbol: str = Field(meaning="our symbol")
    views: float = Field(ge=0, unit="views a day", meaning="how often the coin's page was read")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin and day in `window`. Raises a SourceError for anything but the documented answer."""
    frames = []
    for coin in http.universe:
        params = {"coin": coin.name_at(PROVIDER.key), "from": f"{window.days[0]}", "to": f"{window.days[-1]}"}
        rows = payload.entries(http.get_json(PROVIDER.key, PATH, params), PROVIDER.key, PATH, "rows")
        frame = payload.frame_of(
            {
                "ts": payload.field(rows, "day", payload.seconds, PROVIDER.key, PATH),
                "views": payload.field(rows, "views", payload.number, PROVIDER.key, PATH),
            }
        )
        frames.append(frame.with_columns(symbol=pl.lit(coin.symbol)))
    return SOURCE.rows(pl.concat(frames, how="vertical_relaxed"), window, http.now())


SOURCE = Source(
    table=RawTemplate,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=30),
    pool=PROVIDER.key,
    freshness=timedelta(days=3),
    terms="the provider's licence in one line",
)
