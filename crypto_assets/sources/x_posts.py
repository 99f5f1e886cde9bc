"""Posts about each coin at X; keyed (`CRYPTO_ASSETS_X_BEARER_TOKEN`) and paid for each post read, so off by default.

`GET /2/tweets/search/recent?query=&start_time=&end_time=&max_results=100&tweet.fields=created_at,author_id` of api.x.com,
seven days back, newest first, pages linked by `next_token`. A read post costs $0.005, so at most the newest 200 of a coin
and day are read (a dollar; `raw/x_counts` says how many there were): a sample, not a census. A post is known one minute
after it was written. Authors are pseudonyms, names in the text are taken out, like counts and places are not asked for. X
Developer Agreement: deleted posts are to be deleted, no redistribution, no training of foundation models.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.pseudonyms import pseudonym, without_names
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import History, Source
from crypto_assets.sources.x_counts import PROVIDER, pages, question, reachable

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/2/tweets/search/recent"
PAGE = 100
MOST_A_DAY = 200


class RawXPosts(RawTable):
    """One row per post and coin; `ts` is when it was written."""

    name = "raw/x_posts"
    key = ("symbol", "id", "ts", "source")

    symbol: str = Field(meaning="coin that was searched for")
    id: str = Field(meaning="X's id of the post")
    text: str = Field(meaning="text in one line, with names of people taken out")
    author_hash: str | None = Field(meaning="pseudonym of the author")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """The newest posts of each coin and day of `window`, at most 200. Raises a SourceError."""
    frames = [RawXPosts.empty().drop("source", "available_at")]
    for coin, names in handles.known(http.universe):
        for day in window.chunks(1):
            rows = _posts(http, question(names.search), reachable(day, http.now()))
            frames.append(_frame(rows).with_columns(symbol=pl.lit(coin.symbol)))
    return SOURCE.rows(pl.concat(frames, how="diagonal").unique(["symbol", "id"]), window, http.now())


def _posts(http: Http, query: str, span: dict[str, str]) -> list[Any]:
    """Page by page, until the day or the budget ends."""
    rows: list[Any] = []
    params = {"query": query, "max_results": PAGE, "tweet.fields": "created_at,author_id", **span}
    for page in pages(http, PATH, params) if span else ():
        rows += page
        if len(rows) >= MOST_A_DAY:
            break
    return rows[:MOST_A_DAY]


def _frame(rows: list[Any]) -> pl.DataFrame:
    columns = {
        "ts": payload.field(rows, "created_at", payload.iso, PROVIDER.key, PATH),
        "id": payload.field(rows, "id", payload.text, PROVIDER.key, PATH),
        "text": [without_names(text) for text in payload.field(rows, "text", payload.text, PROVIDER.key, PATH)],
        "author_hash": [pseudonym("x", who) for who in payload.field(rows, "author_id", payload.text, PROVIDER.key, PATH)],
    }
    return pl.DataFrame(columns, schema={"ts": UTC_US, "id": pl.String(), "text": pl.String(), "author_hash": pl.String()})


SOURCE = Source(
    table=RawXPosts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(minutes=1),
    pool=PROVIDER.key,
    keys=("x_bearer_token",),
    history=History("days", 7),
    freshness=timedelta(days=2),
    terms="X Developer Agreement; $0.005 a post; no training of foundation models; authors are pseudonyms",
    substitute="paid for each post since 2026; titles of raw/arctic_shift_posts and raw/news are the default",
)
