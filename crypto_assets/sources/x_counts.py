"""Posts a day about each coin at X, counted by X; keyed (`CRYPTO_ASSETS_X_BEARER_TOKEN`) and paid, so off by default.

`GET /2/tweets/counts/recent?query=&granularity=day&start_time=&end_time=` of api.x.com, seven days back, pages linked by
`next_token`. One call a coin for any window; X bills by use. Day D is whole at its end and taken as known ten minutes
later; deleted posts lower it afterwards, in further versions. X Developer Agreement: no redistribution, and no training of
foundation models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider(
        "x_api",
        "https://api.x.com",
        rate=1,
        per=3,
        secret="x_bearer_token",
        secret_header="Authorization",
        secret_format="Bearer {}",
    )
)
PATH = "/2/tweets/counts/recent"
REACH = timedelta(days=7) - timedelta(minutes=1)
YOUNGEST = timedelta(seconds=30)
"""X takes no `end_time` of the last ten seconds."""
MOST_PAGES = 100


class RawXCounts(RawTable):
    """One row per coin and day."""

    name = "raw/x_counts"

    symbol: str = Field(meaning="our symbol")
    posts: int = Field(ge=0, unit="a day", meaning="English posts with the coin's name, reposts left out")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin and whole day in `window`. Raises a SourceError: PlanRestrictedError without credit."""
    span = reachable(window, http.now())
    frames = [RawXCounts.empty().select("ts", "symbol", "posts")]
    for coin, names in handles.known(http.universe) if span else ():
        params = {"query": question(names.search), "granularity": "day", **span}
        rows = [row for page in pages(http, PATH, params) for row in page]
        columns = {
            "ts": payload.field(rows, "start", payload.iso, PROVIDER.key, PATH),
            "symbol": [coin.symbol] * len(rows),
            "posts": payload.field(rows, "tweet_count", payload.integer, PROVIDER.key, PATH),
        }
        frames.append(pl.DataFrame(columns, schema={"ts": UTC_US, "symbol": pl.String(), "posts": pl.Int64()}))
    whole = pl.concat(frames).filter(pl.col("ts").dt.truncate("1d") == pl.col("ts"))
    return SOURCE.rows(whole, window, http.now())


def question(search: str) -> str:
    """The query in X's grammar."""
    return f"{search} lang:en -is:retweet"


def reachable(window: Window, now: datetime) -> dict[str, str]:
    """`start_time` and `end_time` of the part of the window that X answers for; empty where there is none."""
    start, end = max(window.start, now - REACH), min(window.end, now - YOUNGEST)
    return {"start_time": f"{start:%Y-%m-%dT%H:%M:%SZ}", "end_time": f"{end:%Y-%m-%dT%H:%M:%SZ}"} if start + HOUR < end else {}


def pages(http: Http, path: str, params: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The rows of each page; a page without results has no `data`. Raises BadPayloadError where paging does not end."""
    asked = dict(params)
    for _ in range(MOST_PAGES):
        answer = http.get_json(PROVIDER.key, path, asked)
        meta = payload.field([answer], "meta", _object, PROVIDER.key, path)[0]
        yield payload.entries(answer, PROVIDER.key, path, "data") if "data" in answer or not meta else []
        if not meta.get("next_token"):
            return
        asked["next_token"] = meta["next_token"]
    raise BadPayloadError(PROVIDER.key, f"{path}: next_token leads on after {MOST_PAGES} pages: ask for fewer days")


def _object(value: Any) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise ValueError("an object")
    return value


SOURCE = Source(
    table=RawXCounts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(days=1, minutes=10),
    pool=PROVIDER.key,
    keys=("x_bearer_token",),
    history=History("days", 7),
    freshness=timedelta(days=2),
    terms="X Developer Agreement; paid by use; no training of foundation models",
    substitute="paid by use since 2026; raw/arctic_shift_counts is the default for how much is said",
)
