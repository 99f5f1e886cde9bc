"""Daily numbers of the Bitcoin network from Blockchain.com's charts: a second opinion on Coin Metrics.

`GET /charts/{name}?start=&timespan=&sampled=false&format=json` of api.blockchain.info, keyless; limits are not published, one
call in 10 seconds is kept. Without `sampled=false` the provider thins a series to about 1500 points and does not say so. Back
to 2009. Daily charts have one point a day, at the midnight that begins it; `mempool-size` and `total-bitcoins` have many, of
which the last of the day is taken. Day D is there in the morning of D+1 and taken as known at 12:00 UTC. Recent days are
revised. Site terms, attribution.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete, long
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("blockchain_com", "https://api.blockchain.info", rate=1, per=10))
CHARTS = (
    "n-unique-addresses",
    "n-transactions",
    "n-transactions-per-block",
    "hash-rate",
    "difficulty",
    "miners-revenue",
    "transaction-fees",
    "estimated-transaction-volume-usd",
    "total-bitcoins",
    "mempool-size",
    "mvrv",
    "nvt",
)
LAG = timedelta(hours=36)


class RawBlockchainComCharts(RawTable):
    """One row per chart and day, of Bitcoin."""

    name = "raw/blockchain_com_charts"
    key = ("metric", "ts", "source")

    metric: str = Field(meaning="the chart's name, for example hash-rate")
    value: float = Field(ge=0, meaning="in the chart's unit: counts, TH/s, BTC, USD, bytes, ratio")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per chart and day in `window`. Raises a SourceError for anything but the documented answer."""
    frames = [_chart(name, window, http) for name in CHARTS]
    return complete(SOURCE.rows(pl.concat(frames), window, http.now()), window, LAG, http.now(), PROVIDER.key)


def _chart(name: str, window: Window, http: Http) -> pl.DataFrame:
    """The last point of each day."""
    path = f"/charts/{name}"
    span = {"start": f"{window.days[0]}", "timespan": f"{len(window.days)}days"}
    answer = http.get_json(PROVIDER.key, path, {**span, "sampled": "false", "format": "json"})
    rows = payload.entries(answer, PROVIDER.key, path, "values")
    if answer.get("status", "ok") != "ok":
        raise BadPayloadError(PROVIDER.key, f"{path}: expected status 'ok', found {str(answer['status'])[:80]!r}")
    points = long(
        name,
        payload.field(rows, "x", payload.seconds, PROVIDER.key, path),
        payload.field(rows, "y", payload.number_or_none, PROVIDER.key, path),
    )
    day = pl.col("ts").dt.truncate("1d")
    return points.sort("ts").group_by(day, "metric", maintain_order=True).agg(pl.col("value").last())


SOURCE = Source(
    table=RawBlockchainComCharts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    freshness=timedelta(days=3),
    terms="Blockchain.com terms of service, attribution",
)
