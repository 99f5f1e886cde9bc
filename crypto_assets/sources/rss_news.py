"""Headlines of four crypto publishers from their RSS feeds, keyless, as they appear.

The newest 25 or so items of coindesk.com, cointelegraph.com, decrypt.co and theblock.co; each feed at most once in five
minutes, and then with the `ETag` or `Last-Modified` of the last answer, so that an unchanged one costs nothing. No history:
what was not captured is gone. `ts` is when an item was first seen, to the minute, and so is `available_at`: publishers edit
`pubDate`, which is only kept as `published_at`. Items older than six hours are left out (who asks every few minutes has
seen them); of one `guid` the first capture counts. A feed that fails is left out with a warning in the log; if all fail the
error of the first is raised. Titles and links only; publishers' terms.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable, Timestamp
from crypto_assets.market.errors import BadPayloadError, SourceError
from crypto_assets.market.time import Window
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("rss", "https:/", rate=1, per=1))
"""Many hosts: a path begins with one."""
FEEDS = {
    "coindesk.com": "/www.coindesk.com/arc/outboundfeeds/rss/",
    "cointelegraph.com": "/cointelegraph.com/rss",
    "decrypt.co": "/decrypt.co/feed",
    "theblock.co": "/www.theblock.co/rss.xml",
}
MAX_AGE = timedelta(minutes=5)
OLDEST = timedelta(hours=6)
_log = logging.getLogger(__name__)


class RawRssNews(RawTable):
    """One row per item; `ts` is the minute in which it was first seen."""

    name = "raw/rss_news"
    key = ("id", "source")

    id: str = Field(meaning="the feed's guid of the item, or its address")
    title: str = Field(meaning="headline")
    url: str = Field(meaning="address of the article")
    domain: str = Field(meaning="publisher")
    published_at: Timestamp | None = Field(unit="UTC", meaning="what the publisher says now; may be edited")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """What the feeds show now and is not older than six hours, if `window` holds the present. Raises a SourceError."""
    now = http.now()
    if not window.start <= now < window.end:
        return RawRssNews.empty()
    rows: list[tuple[str, str, str, str, datetime | None]] = []
    failed: list[SourceError] = []
    for domain, path in FEEDS.items():
        try:
            rows += _items(http.get_bytes(PROVIDER.key, path, max_age=MAX_AGE), domain, path)
        except SourceError as error:
            failed.append(error)
            _log.warning("left out: %s", error)
    if len(failed) == len(FEEDS):
        raise failed[0]
    types = {"id": pl.String(), "title": pl.String(), "url": pl.String(), "domain": pl.String(), "published_at": UTC_US}
    frame = pl.DataFrame(rows, schema=types, orient="row").unique("id", keep="first", maintain_order=True)
    recent = frame.filter(pl.col("published_at").is_null() | (pl.col("published_at") > now - OLDEST))
    seen = now.replace(second=0, microsecond=0)
    return SOURCE.rows(recent.with_columns(ts=pl.lit(seen, dtype=UTC_US)), window, now)


def _items(body: bytes, domain: str, path: str) -> Iterator[tuple[str, str, str, str, datetime | None]]:
    """Guid, title, address, domain and time of every item of an RSS 2.0 feed that has a title and an address."""
    from defusedxml import ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise BadPayloadError(PROVIDER.key, f"{path}: expected RSS, found {body[:60]!r} ({type(error).__name__})") from None
    if root.tag != "rss" or root.find("channel") is None:
        raise BadPayloadError(PROVIDER.key, f"{path}: expected <rss><channel>, found <{root.tag}>: the feed has moved")
    for item in root.iterfind("channel/item"):
        title, url = _text(item, "title"), _text(item, "link")
        if title and url:
            yield _text(item, "guid") or url, title, url, domain, _moment(_text(item, "pubDate"))


def _text(item: Element, tag: str) -> str:
    return " ".join((item.findtext(tag) or "").split())


def _moment(text: str) -> datetime | None:
    """A date of RFC 822 as UTC, or None where there is none that can be read."""
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


SOURCE = Source(
    table=RawRssNews,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts"),
    pool=PROVIDER.key,
    history=History("none"),
    freshness=timedelta(hours=12),
    terms="publishers' terms; titles and links only",
)
