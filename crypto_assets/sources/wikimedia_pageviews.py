"""Views a day of each coin's article in the English Wikipedia: the default measure of attention, keyless.

`GET /api/rest_v1/metrics/pageviews/per-article/en.wikipedia/all-access/user/{article}/daily/{start}/{end}` of
wikimedia.org; about one call a second with a User-Agent that names a contact (`CRYPTO_ASSETS_CONTACT`), 403 without; back
to 2015-07-01; one call a coin for any window, both ends inclusive. Day D is loaded by midday of D+1 and taken as known on
D+2 00:00 UTC. A range in which nothing is loaded is a 404; days without a view are left out. Views of redirects and of
former titles are counted under those. Not revised, but for one recount of robots in 2020. CC0.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("wikimedia", "https://wikimedia.org", rate=1, per=1))
PATH = "/api/rest_v1/metrics/pageviews/per-article/en.wikipedia/all-access/user/{article}/daily/{first:%Y%m%d}/{last:%Y%m%d}"


class RawWikimediaPageviews(RawTable):
    """One row per coin and day."""

    name = "raw/wikimedia_pageviews"

    symbol: str = Field(meaning="our symbol")
    article: str = Field(meaning="title in the English Wikipedia")
    views: int = Field(ge=0, unit="a day", meaning="views by people, all devices")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin with an article and day in `window`. Raises a SourceError for anything but the documented answer."""
    frames = [RawWikimediaPageviews.empty().drop("source", "available_at")]
    for coin, names in handles.known(http.universe):
        if names.article is not None:
            views = _views(http, names.article, window)
            frames.append(views.with_columns(symbol=pl.lit(coin.symbol), article=pl.lit(names.article)))
    return SOURCE.rows(pl.concat(frames, how="diagonal"), window, http.now())


def _views(http: Http, article: str, window: Window) -> pl.DataFrame:
    """Columns ts, views."""
    path = PATH.format(article=quote(article, safe=""), first=window.days[0], last=window.days[-1])
    try:
        rows = payload.entries(http.get_json(PROVIDER.key, path), PROVIDER.key, path, "items")
    except NotPublishedYetError:
        rows = []
    stamps = payload.field(rows, "timestamp", payload.text, PROVIDER.key, path)
    views = payload.field(rows, "views", payload.integer, PROVIDER.key, path)
    frame = pl.DataFrame(
        {"timestamp": [f"{stamp}00" for stamp in stamps], "views": views}, schema={"timestamp": pl.String, "views": pl.Int64}
    )
    return payload.instants(frame, "timestamp", "%Y%m%d%H%M", PROVIDER.key, path).drop("timestamp")


SOURCE = Source(
    table=RawWikimediaPageviews,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(days=2),
    pool=PROVIDER.key,
    freshness=timedelta(days=4),
    terms="CC0; a User-Agent with a contact is required",
)
