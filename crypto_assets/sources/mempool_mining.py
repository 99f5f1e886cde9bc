"""Bitcoin's hash rate by day and every change of its difficulty, from mempool.space.

`GET /v1/mining/hashrate/{interval}` and `/v1/mining/difficulty-adjustments/{interval}` of mempool.space/api, keyless; limits
are not published (429, then a ban), one call in 2 seconds is kept. Back to 2009. Hash rates are in H/s, beyond what 64 bits
hold, and are stamped with the midnight that ends their day: here `ts` is the midnight that begins it. Adjustments come newest
first, as `[time, height, difficulty, ratio]`. The mean of day D is computed after midnight and taken as known at 03:00 UTC of
D+1. A block's own clock may be two hours off, so an adjustment is taken as known two hours after it. Never revised. Public
instance of free software (AGPL), for light use.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete, long
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from datetime import datetime

    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("mempool", "https://mempool.space/api", rate=1, per=2))
HASH_RATE = "/v1/mining/hashrate/"
ADJUSTMENTS = "/v1/mining/difficulty-adjustments/"
A_YEAR = timedelta(days=360)
MAX_AGE = timedelta(hours=1)
LAG, CLOCK_ERROR = timedelta(hours=27), 2 * HOUR


class RawMempoolMining(RawTable):
    """One row per day of `hash_rate`, two per change of the difficulty, at the time of its block."""

    name = "raw/mempool_mining"
    key = ("metric", "ts", "source")

    metric: str = Field(isin=("hash_rate", "difficulty", "difficulty_ratio"), meaning="what the value is")
    value: float = Field(ge=0, meaning="H/s, mean of the day; difficulty from this block on; that over the one before")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Hash rates and adjustments in `window`. Raises a SourceError for anything but the documented answer."""
    interval = "1y" if window.start > http.now() - A_YEAR else "all"
    rates = _hash_rates(http.get_json(PROVIDER.key, HASH_RATE + interval, max_age=MAX_AGE), HASH_RATE + interval)
    changes = http.get_json(PROVIDER.key, ADJUSTMENTS + interval, max_age=MAX_AGE)
    rows = SOURCE.rows(pl.concat([rates, *_adjustments(changes, ADJUSTMENTS + interval)]), window, http.now())
    return complete(rows, window, LAG, http.now(), PROVIDER.key)


def _hash_rates(answer: Any, path: str) -> pl.DataFrame:
    """`ts` begins the day."""
    rows = payload.entries(answer, PROVIDER.key, path, "hashrates")
    ends = payload.field(rows, "timestamp", payload.seconds, PROVIDER.key, path)
    _daily(ends, path)
    values = payload.field(rows, "avgHashrate", payload.number, PROVIDER.key, path)
    return long("hash_rate", [end - DAY for end in ends], values).with_columns(pl.col("ts").dt.truncate("1d"))


def _daily(ends: list[datetime], path: str) -> None:
    """Raises BadPayloadError where the series was thinned out, as some statistics of this provider are."""
    gaps = sorted(b - a for a, b in pairwise(sorted(ends)))
    if gaps and gaps[len(gaps) // 2] > 1.5 * DAY:
        raise BadPayloadError(PROVIDER.key, f"{path}: expected a point a day, found one every {gaps[len(gaps) // 2]}")


def _adjustments(answer: Any, path: str) -> list[pl.DataFrame]:
    rows = payload.entries(answer, PROVIDER.key, path)
    ts = payload.field(rows, 0, payload.seconds, PROVIDER.key, path, "time")
    return [
        long("difficulty", ts, payload.field(rows, 2, payload.number, PROVIDER.key, path, "difficulty")),
        long("difficulty_ratio", ts, payload.field(rows, 3, payload.number, PROVIDER.key, path, "ratio")),
    ]


SOURCE = Source(
    table=RawMempoolMining,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + pl.when(pl.col("metric") == "hash_rate").then(LAG).otherwise(CLOCK_ERROR),
    pool=PROVIDER.key,
    freshness=timedelta(days=3),
    terms="mempool.space public instance, light use",
)
