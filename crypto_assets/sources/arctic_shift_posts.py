"""Titles of the posts in each coin's subreddit, from Arctic Shift, keyless: the default where Reddit itself wants a key.

`GET /api/posts/search?subreddit=&after=&before=&limit=100&sort=asc&fields=`, about a call a second, full history. A page may
end inside a second, so the next one begins a second earlier and posts are told apart by id. Score and number of comments read
0 or 1 until the archive reads a post again, about 36 hours later: a row counts as known 48 hours after the post, with its
settled numbers, never before. Authors are pseudonyms; bodies, links and flairs are not kept. Reddit's terms apply.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.pseudonyms import pseudonym, without_names
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source
from crypto_assets.sources.arctic_shift_counts import PROVIDER

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/api/posts/search"
FIELDS = "id,created_utc,title,author,score,num_comments"
PAGE = 100
MOST_PAGES = 5_000


class RawArcticShiftPosts(RawTable):
    """One row per post; `ts` is when it was written."""

    name = "raw/arctic_shift_posts"
    key = ("symbol", "id", "ts", "source")

    symbol: str = Field(meaning="coin whose subreddit it is")
    id: str = Field(meaning="Reddit's id of the post")
    title: str = Field(meaning="title, with names of people taken out")
    author_hash: str | None = Field(meaning="pseudonym of the author; null where deleted")
    score: int = Field(meaning="votes up less votes down, settled")
    num_comments: int = Field(ge=0, meaning="comments, settled")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """The posts of `window` that are 48 hours old. Raises a SourceError for anything but the documented answer."""
    frames = [_frame(coin.symbol, _posts(http, names.subreddit, window)) for coin, names in handles.known(http.universe)]
    return SOURCE.rows(
        pl.concat([RawArcticShiftPosts.empty().drop("source", "available_at"), *frames], how="diagonal"), window, http.now()
    )


def _posts(http: Http, subreddit: str, window: Window) -> list[Any]:
    """Every post of the window, page by page."""
    found: dict[str, Any] = {}
    after, before = int(window.start.timestamp()) - 1, int(window.end.timestamp())
    for _ in range(MOST_PAGES):
        params = {"subreddit": subreddit, "after": after, "before": before, "limit": PAGE, "sort": "asc", "fields": FIELDS}
        rows = payload.entries(http.get_json(PROVIDER.key, PATH, params), PROVIDER.key, PATH, "data")
        found |= dict(zip(payload.field(rows, "id", payload.text, PROVIDER.key, PATH), rows, strict=True))
        if len(rows) < PAGE:
            return list(found.values())
        last = payload.field(rows[-1:], "created_utc", payload.integer, PROVIDER.key, PATH)[0]
        after = max(last - 1, after + 1)
    raise BadPayloadError(PROVIDER.key, f"{PATH}: r/{subreddit} goes on after {MOST_PAGES} pages: ask for fewer days")


def _frame(symbol: str, rows: list[Any]) -> pl.DataFrame:
    read = {name: payload.field(rows, name, kind, PROVIDER.key, PATH) for name, kind in READERS.items()}
    frame = pl.DataFrame(
        {
            "symbol": [symbol] * len(rows),
            "ts": read["created_utc"],
            "id": read["id"],
            "title": [without_names(title) for title in read["title"]],
            "author_hash": [pseudonym("reddit", author) for author in read["author"]],
            "score": read["score"],
            "num_comments": read["num_comments"],
        },
        schema_overrides={
            "symbol": pl.String(),
            "ts": UTC_US,
            "id": pl.String(),
            "title": pl.String(),
            "author_hash": pl.String(),
        },
    )
    return frame.cast({"score": pl.Int64, "num_comments": pl.Int64})


READERS = {
    "id": payload.text,
    "created_utc": payload.seconds,
    "title": payload.text,
    "author": payload.text,
    "score": payload.integer,
    "num_comments": payload.integer,
}

SOURCE = Source(
    table=RawArcticShiftPosts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=48),
    pool=PROVIDER.key,
    freshness=timedelta(days=4),
    terms="Arctic Shift states no licence; Reddit's terms apply; authors are pseudonyms",
)
