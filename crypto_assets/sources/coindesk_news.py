"""Headlines of CoinDesk Data, in English: title, address, site, when published.

`GET /news/v1/article/list?lang=EN&limit=&to_ts=` of data-api.coindesk.com, keyed (`coindesk_key`, header `Authorization:
Apikey`), newest first, at most 100 a call, published at or before `to_ts`. Body, authors, images and the provider's own
sentiment are not kept. A row is available when the provider took the article in (`CREATED_ON`), some minutes after it was
published. Deleted articles are left out. Paid since 2026-05-21.

From the clients of others: path, parameters and keys; from memory: the greatest `limit`, that `to_ts` is inclusive.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._coindesk import KEYS, PAID, PROVIDER, TERMS, ask
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/news/v1/article/list"
PAGE = 100
MOST_PAGES = 10_000


class RawCoindeskNews(RawTable):
    """One row per article; `ts` is when it was published."""

    name = "raw/coindesk_news"
    key = ("id", "ts", "source")

    id: str = Field(meaning="the provider's article id")
    title: str = Field(meaning="headline")
    url: str = Field(meaning="address of the article")
    domain: str = Field(meaning="site it appeared on")
    taken_in_at: datetime = Field(meaning="when the provider took it in")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Articles published in `window`. Raises a SourceError: NotPublishedYetError if a day or more has none at all."""
    now = http.now()
    if window.start >= now:
        return RawCoindeskNews.empty()
    rows = [row for row in _articles(http, window, now) if row.get("STATUS", "ACTIVE") != "DELETED"]
    if not rows and min(window.end, now) - window.start >= DAY:
        raise NotPublishedYetError(PROVIDER.key, f"{PATH}: expected articles from {window.start}, found none: ask again later")
    urls = payload.field(rows, "URL", payload.text, PROVIDER.key, PATH)
    columns = {
        "ts": payload.field(rows, "PUBLISHED_ON", payload.seconds, PROVIDER.key, PATH),
        "id": [str(n) for n in payload.field(rows, "ID", payload.integer, PROVIDER.key, PATH)],
        "title": [" ".join(t.split()) for t in payload.field(rows, "TITLE", payload.text, PROVIDER.key, PATH)],
        "url": urls,
        "domain": [_host(url) for url in urls],
        "taken_in_at": payload.field(rows, "CREATED_ON", payload.seconds, PROVIDER.key, PATH),
    }
    frame = payload.frame_of(columns).with_columns(pl.col("id", "title", "url", "domain").cast(pl.String))
    return SOURCE.rows(frame.with_columns(pl.col("taken_in_at").cast(UTC_US)), window, now)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _articles(http: Http, window: Window, now: datetime) -> list[Any]:
    """Every article from the window's end, or now, back to its start; the second where two pages meet is asked for twice."""
    start, last = int(window.start.timestamp()), int((min(window.end, now) - timedelta(microseconds=1)).timestamp())
    found: dict[Any, Any] = {}
    for _ in range(MOST_PAGES):
        page = ask(http, PATH, {"lang": "EN", "limit": PAGE, "to_ts": last})
        ids = payload.field(page, "ID", payload.integer, PROVIDER.key, PATH)
        found |= dict(zip(ids, page, strict=True))
        oldest = min(payload.field(page, "PUBLISHED_ON", payload.integer, PROVIDER.key, PATH), default=start - 1)
        if oldest < start or len(page) < PAGE:
            return list(found.values())
        if oldest >= last:
            raise BadPayloadError(PROVIDER.key, f"{PATH}: expected at most {PAGE} articles a second, found more in {last}")
        last = oldest
    raise BadPayloadError(PROVIDER.key, f"{PATH}: {MOST_PAGES} pages did not reach {window.start}: ask for fewer days")


SOURCE = Source(
    table=RawCoindeskNews,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.max_horizontal("ts", "taken_in_at"),
    pool=PROVIDER.key,
    keys=KEYS,
    freshness=timedelta(hours=26),
    terms=TERMS,
    substitute=f"{PAID}; raw/news carries headlines without a key",
)
