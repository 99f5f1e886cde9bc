"""Posts and comments a day in each coin's subreddit, from Arctic Shift: how much is said, not what.

`GET /api/time_series?key=r/{subreddit}/{posts|comments}/count&precision=day` of arctic-shift.photon-reddit.com, keyless,
about a call a second, full history since 2005; two calls a coin for any window. Counts "might take hours or days" to be
complete (README of the project), so day D is taken as known on D+3 00:00 UTC; later corrections become further versions. A
volunteer's service without promises or a licence; Reddit's terms apply to what derives from its data.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("arctic_shift", "https://arctic-shift.photon-reddit.com", rate=1, per=1))
PATH = "/api/time_series"
KINDS = ("posts", "comments")


class RawArcticShiftCounts(RawTable):
    """One row per coin and day."""

    name = "raw/arctic_shift_counts"

    symbol: str = Field(meaning="our symbol")
    subreddit: str = Field(meaning="the coin's subreddit")
    posts: int | None = Field(ge=0, unit="a day", meaning="posts written")
    comments: int | None = Field(ge=0, unit="a day", meaning="comments written")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin and day in `window`; a count the archive has not is null. Raises a SourceError."""
    frames = [RawArcticShiftCounts.empty().select("symbol", "ts", "subreddit", "posts", "comments")]
    for coin, names in handles.known(http.universe):
        posts, comments = (_series(http, window, names.subreddit, kind) for kind in KINDS)
        both = posts.join(comments, on="ts", how="full", coalesce=True)
        named = both.with_columns(symbol=pl.lit(coin.symbol), subreddit=pl.lit(names.subreddit))
        frames.append(named.select(frames[0].columns))
    return SOURCE.rows(pl.concat(frames), window, http.now())


def _series(http: Http, window: Window, subreddit: str, kind: str) -> pl.DataFrame:
    """Columns ts and, under the name of the kind, its counts."""
    params = {
        "key": f"r/{subreddit}/{kind}/count",
        "precision": "day",
        "after": int(window.start.timestamp()),
        "before": int(window.end.timestamp()),
    }
    rows = payload.entries(http.get_json(PROVIDER.key, PATH, params), PROVIDER.key, PATH, "data")
    where = f"{PATH} {params['key']}"
    columns = {
        "ts": payload.field(rows, "date", payload.seconds, PROVIDER.key, where),
        kind: payload.field(rows, "value", payload.integer, PROVIDER.key, where),
    }
    return payload.frame_of(columns).cast({kind: pl.Int64})


SOURCE = Source(
    table=RawArcticShiftCounts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(days=3),
    pool=PROVIDER.key,
    freshness=timedelta(days=5),
    terms="Arctic Shift states no licence; Reddit's terms apply to derived data",
)
