"""Daily counts of followers, posts and code of each coin's communities, from the legacy host of CoinDesk Data.

`GET /data/social/coin/histo/day?coinId=&limit=&toTs=` of min-api.cryptocompare.com, keyed (`coindesk_key`, header
`Authorization: Apikey`), at most 2000 days a call, ascending; the numeric `coinId` comes from `/data/all/coinlist?fsym=`.
Totals, not daily changes. Errors come with HTTP 200 (see `_coindesk.py`). Paid since 2026-05-21.

From the clients of others: paths, parameters and the names of the metrics. From memory: that the row stamped D holds the counts
of day D (it is therefore taken as known six hours after the day's end), that `toTs` is inclusive, which metrics are still
filled: Facebook and Twitter counts have stood still for years.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._coindesk import KEYS, LEGACY, PAID, TERMS, ask_legacy
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/data/social/coin/histo/day"
COINS = "/data/all/coinlist"
METRICS = (
    "followers",
    "posts",
    "comments",
    "total_page_views",
    "twitter_followers",
    "twitter_statuses",
    "reddit_subscribers",
    "reddit_active_users",
    "reddit_posts_per_day",
    "reddit_comments_per_day",
    "code_repo_stars",
    "code_repo_forks",
    "code_repo_contributors",
)
MOST_DAYS = 2000
LAG = timedelta(hours=30)


class RawCoindeskSocial(RawTable):
    """One row per coin, metric and day."""

    name = "raw/coindesk_social"
    key = ("symbol", "metric", "ts", "source")

    symbol: str = Field(meaning="our symbol")
    metric: str = Field(meaning="the provider's name, for example reddit_subscribers")
    value: float = Field(ge=0, meaning="count, or mean count a day where the name says so")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin, metric and day in `window`; metrics that are not filled are absent.

    Raises a SourceError: NotPublishedYetError if no coin has any day.
    """
    if window.start >= http.now():
        return RawCoindeskSocial.empty()
    frames = []
    for coin in http.universe:
        rows = _days(http, _coin_id(http, coin.symbol), window)
        times = payload.field(rows, "time", payload.seconds, LEGACY.key, PATH)
        for metric in METRICS:
            have = [n for n, row in enumerate(rows) if row.get(metric) is not None]
            values = payload.field([rows[n] for n in have], metric, payload.number, LEGACY.key, PATH)
            frame = payload.frame_of({"ts": [times[n] for n in have], "value": values}).cast({"value": pl.Float64})
            frames.append(frame.with_columns(symbol=pl.lit(coin.symbol), metric=pl.lit(metric)))
    found = pl.concat(frames).unique(["symbol", "metric", "ts"], keep="first", maintain_order=True)
    if found.is_empty() and window.start + LAG <= http.now():
        raise NotPublishedYetError(LEGACY.key, f"{PATH}: expected rows from {window.start}, found none: ask again later")
    return SOURCE.rows(found, window, http.now())


def _coin_id(http: Http, symbol: str) -> int:
    found = ask_legacy(http, COINS, {"fsym": symbol}, max_age=DAY)
    if not found:
        raise NotPublishedYetError(LEGACY.key, f"{COINS}: expected the number of {symbol}, found nothing: ask again later")
    if not isinstance(found, dict):
        raise BadPayloadError(LEGACY.key, f"{COINS}: expected an object of coins under 'Data', found {str(found)[:80]!r}")
    entry = payload.field([found], symbol, dict, LEGACY.key, COINS)
    return payload.field(entry, "Id", payload.integer, LEGACY.key, f"{COINS} {symbol}")[0]


def _days(http: Http, coin_id: int, window: Window) -> list[Any]:
    """Rows of every page, from the window's end backwards."""
    start, last = int(window.start.timestamp()), int(window.end.timestamp()) - 1
    found: list[Any] = []
    while last >= start:
        limit = min(MOST_DAYS, (last - start) // 86_400 + 1)
        answer = ask_legacy(http, PATH, {"coinId": coin_id, "limit": limit, "toTs": last})
        page = payload.entries(answer, LEGACY.key, PATH)
        found += page
        if not page:
            return found
        first = min(payload.field(page, "time", payload.integer, LEGACY.key, PATH))
        if first > last:
            raise BadPayloadError(LEGACY.key, f"{PATH}: expected rows up to {last}, found the first at {first}")
        last = first - 1
    return found


SOURCE = Source(
    table=RawCoindeskSocial,
    fetch=fetch,
    provider=LEGACY.key,
    available_at=pl.col("ts") + LAG,
    pool=LEGACY.key,
    keys=KEYS,
    freshness=timedelta(days=3),
    terms=TERMS,
    substitute=f"{PAID}; raw/arctic_shift_counts, raw/wikimedia_pageviews and raw/github_commits carry the same without a key",
)
