"""Titles of the newest posts in each coin's subreddit, from Reddit itself through praw; keyed (client id and secret).

`GET /r/{subreddit}/new` of oauth.reddit.com with an application token of `POST /api/v1/access_token` at www.reddit.com; 100
calls a minute, 100 posts a call, and a listing ends after about 1000 posts: two to five days of a busy subreddit. What a
listing no longer holds is missing, so only the last days are asked for; older ones are in `raw/arctic_shift_posts`. New
applications need Reddit's approval since November 2025. A title is known one minute after the post. Scores and comments
keep moving and are not kept. Authors are pseudonyms. Reddit's Data API terms: no training of models without consent.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.pseudonyms import pseudonym, without_names
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, base_of, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("reddit", "https://www.reddit.com", rate=8, per=60, secret="reddit_client_secret"))
"""Paced by listings, of up to ten calls each."""
MOST = 1000
"""Where Reddit's listings end."""


class RawRedditPosts(RawTable):
    """One row per post; `ts` is when it was written."""

    name = "raw/reddit_posts"
    key = ("symbol", "id", "ts", "source")

    symbol: str = Field(meaning="coin whose subreddit it is")
    id: str = Field(meaning="Reddit's id of the post")
    title: str = Field(meaning="title, with names of people taken out")
    author_hash: str | None = Field(meaning="pseudonym of the author; null where deleted")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """The posts of `window` that are among the newest 1000 of their subreddit. Raises a SourceError."""
    from crypto_assets.sources import _reddit

    reddit = _client(http)
    frames = [RawRedditPosts.empty().drop("source", "available_at")]
    for coin, names in handles.known(http.universe) if window.start < http.now() else ():
        ask = partial(_reddit.listing, reddit, PROVIDER.key, names.subreddit, MOST, window.start)
        posts = http.through(PROVIDER.key, ask)
        frames.append(_frame(coin.symbol, posts, f"/r/{names.subreddit}/new"))
    return SOURCE.rows(pl.concat(frames, how="diagonal").unique(["symbol", "id"]), window, http.now())


def _client(http: Http) -> Any:
    from crypto_assets.sources import _reddit

    client_id, secret = http.settings.reddit_client_id, http.settings.reddit_client_secret
    return _reddit.connect(
        PROVIDER.key,
        base_of(PROVIDER, http.settings),
        client_id.get_secret_value() if client_id else "",
        secret.get_secret_value() if secret else "",
        is_loopback=http.is_loopback,
        timeout_s=http.timeout_s,
        user_agent=http.settings.contact,
    )


def _frame(symbol: str, posts: list[Any], where: str) -> pl.DataFrame:
    rows = [{**vars(post), "author": getattr(vars(post).get("author"), "name", None)} for post in posts]
    columns = {
        "ts": payload.field(rows, "created_utc", _moment, PROVIDER.key, where),
        "id": payload.field(rows, "id", payload.text, PROVIDER.key, where),
        "title": [without_names(title) for title in payload.field(rows, "title", payload.text, PROVIDER.key, where)],
        "author_hash": [pseudonym("reddit", row["author"]) for row in rows],
    }
    types = {"ts": UTC_US, "id": pl.String(), "title": pl.String(), "author_hash": pl.String()}
    return pl.DataFrame(columns, schema=types).with_columns(symbol=pl.lit(symbol))


def _moment(value: Any) -> datetime:
    """Unix seconds with a fraction of zero."""
    return datetime.fromtimestamp(payload.number(value), UTC)


SOURCE = Source(
    table=RawRedditPosts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(minutes=1),
    pool=PROVIDER.key,
    keys=("reddit_client_id", "reddit_client_secret"),
    history=History("days", 3),
    freshness=timedelta(hours=30),
    terms="Reddit Data API terms: by approval, no training of models without consent; authors are pseudonyms",
    substitute="keys by approval only since 2025-11; raw/arctic_shift_posts and raw/arctic_shift_counts are the default",
)
