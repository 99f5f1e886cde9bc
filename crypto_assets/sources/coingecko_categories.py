"""Sectors of the market at this moment, from CoinGecko: capitalisation, volume and change of each category.

`GET /coins/categories` of api.coingecko.com/api/v3, keyless (limits: see coingecko_market), some 700 categories in one answer.
No history: captured as it is seen. Refreshed every five minutes. A coin may be in several categories, so they do not add up;
who is in which changes without notice. Attribution required.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._coingecko import PROVIDER, TERMS, ask
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/coins/categories"
FIELDS = {"market_cap_usd": "market_cap", "volume_24h_usd": "volume_24h", "change_24h_pct": "market_cap_change_24h"}


class RawCoingeckoCategories(RawTable):
    """One row per category and capture; `ts` is its minute."""

    name = "raw/coingecko_categories"
    key = ("category", "ts", "source")

    category: str = Field(meaning="the provider's id, for example layer-1")
    market_cap_usd: float | None = Field(ge=0, unit="USD", meaning="market capitalisation of its coins")
    volume_24h_usd: float | None = Field(ge=0, unit="USD", meaning="traded in the last 24 hours")
    change_24h_pct: float | None = Field(unit="%", meaning="change of the capitalisation over 24 hours")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """The present state, a row a category; none for a window that does not hold the present.

    Raises a SourceError: NotPublishedYetError for an empty list.
    """
    now = http.now()
    if not window.start <= now < window.end:
        return RawCoingeckoCategories.empty()
    rows = payload.history(ask(http, PATH), PROVIDER.key, PATH)
    columns = {"category": payload.field(rows, "id", payload.text, PROVIDER.key, PATH)}
    for column, key in FIELDS.items():
        columns[column] = payload.field(rows, key, payload.number_or_none, PROVIDER.key, PATH)
    frame = payload.frame_of(columns).cast({column: pl.Float64 for column in FIELDS})
    frame = frame.filter(pl.any_horizontal(pl.col(list(FIELDS)).is_not_null()))
    return SOURCE.rows(frame.with_columns(ts=pl.lit(now.replace(second=0, microsecond=0))), window, now)


SOURCE = Source(
    table=RawCoingeckoCategories,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts"),
    pool=PROVIDER.key,
    history=History("none"),
    freshness=timedelta(hours=26),
    terms=TERMS,
)
