"""Who holds Bitcoin, since when, and at what profit, from BGeometrics.

`GET /v1/{metric}` of bitcoin-data.com, keyless: 10 calls an hour, 15 a day, the last four years without the last seven days. So
the whole history of every metric is asked for at once and kept for most of a day, and calls are counted on disk (`_quota.py`).
Values are text under the metric's name in camel case. `bgeometrics_key` (a subscription) lifts the limits. Day D is taken as
known at D+8 00:00 UTC, with a key too. History is restated when the method changes. Attribution to BGeometrics.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import NotPublishedYetError, PlanRestrictedError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete, long
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider(
        "bgeometrics",
        "https://bitcoin-data.com",
        rate=1,
        per=2,
        attempts=2,
        quotas=((8, 3600), (14, 86_400)),
        secret="bgeometrics_key",
        secret_header="Authorization",
        secret_format="Bearer {}",
    )
)
METRICS = (
    "sopr",
    "sth-sopr",
    "nupl",
    "mvrv-zscore",
    "puell-multiple",
    "long-term-hodler-supply-btc",
    "short-term-hodler-supply-btc",
)
WAVES = "hodl-waves-supply"
"""Supply by the age of its last move; with it there are as many calls as an hour allows."""
AGES = ("0d_1d", "1d_1w", "1w_1m", "1m_3m", "3m_6m", "6m_1y", "1y_2y", "2y_3y", "3y_4y", "4y_5y", "5y_7y", "7y_10y", "10y")
MAX_AGE = timedelta(hours=20)
LAG = 8 * DAY
log = logging.getLogger(__name__)


class RawBgeometricsOnchain(RawTable):
    """One row per metric and day, of Bitcoin."""

    name = "raw/bgeometrics_onchain"
    key = ("metric", "ts", "source")

    metric: str = Field(meaning="the provider's name, for example sth-sopr, or hodl-waves-supply/age_1y_2y")
    value: float = Field(meaning="ratio; supplies in BTC")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per metric and day in `window`. A metric the plan does not hold is left out, with a warning.

    Raises a SourceError for anything but the documented answer, and when the plan holds no metric at all.
    """
    frames, refused = [], None
    for metric in (*METRICS, WAVES):
        try:
            frames += _history(metric, http)
        except (PlanRestrictedError, NotPublishedYetError) as error:
            log.warning("left out: %s", error)
            refused = error
    if refused and not frames:
        raise refused
    return complete(SOURCE.rows(pl.concat(frames), window, http.now()), window, LAG, http.now(), PROVIDER.key)


def _history(metric: str, http: Http) -> list[pl.DataFrame]:
    path = f"/v1/{metric}"
    rows = payload.history(http.get_json(PROVIDER.key, path, max_age=MAX_AGE), PROVIDER.key, path)
    ts = payload.field(rows, "d", payload.day, PROVIDER.key, path)
    fields = {f"{WAVES}/age_{age}": f"age_{age}" for age in AGES} if metric == WAVES else {metric: camel(metric)}
    return [
        long(ours, ts, payload.field(rows, theirs, payload.number_or_none, PROVIDER.key, path))
        for ours, theirs in fields.items()
    ]


def camel(metric: str) -> str:
    """`mvrv-zscore` -> `mvrvZscore`."""
    return re.sub(r"-(\w)", lambda found: found[1].upper(), metric)


SOURCE = Source(
    table=RawBgeometricsOnchain,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    history=History("days", 1461),
    freshness=timedelta(days=11),
    terms="BGeometrics free plan, attribution",
)
