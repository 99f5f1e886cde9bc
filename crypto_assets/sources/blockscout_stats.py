"""Daily numbers of the Ethereum chain from Blockscout's statistics service.

`GET /stats-service/api/v1/lines/{name}?from=&to=&resolution=DAY` of eth.blockscout.com, keyless; one call a second is kept.
Back to 2015. Values are text; a day that is not over is marked `is_approximate` and left out. Day D is taken as known at D+1
12:00 UTC. Recent days are revised. Free software; public instance, fair use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._onchain import complete, long
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("blockscout", "https://eth.blockscout.com", rate=1, per=1))
PATH = "/stats-service/api/v1/lines/"
LINES = (
    "newTxns",
    "activeAccounts",
    "newAccounts",
    "newContracts",
    "averageGasPrice",
    "averageTxnFee",
    "txnsFee",
    "networkUtilization",
)
LAG = timedelta(hours=36)


class RawBlockscoutStats(RawTable):
    """One row per line and day, of Ethereum."""

    name = "raw/blockscout_stats"
    key = ("metric", "ts", "source")

    metric: str = Field(meaning="the provider's name, for example newTxns")
    value: float = Field(ge=0, meaning="in the line's unit: counts, gwei (averageGasPrice), ETH (fees), percent (utilisation)")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per line and finished day in `window`. Raises a SourceError for anything but the documented answer."""
    span = {"from": f"{window.days[0]}", "to": f"{window.days[-1]}", "resolution": "DAY"}
    frames = [_line(name, span, http) for name in LINES]
    return complete(SOURCE.rows(pl.concat(frames), window, http.now()), window, LAG, http.now(), PROVIDER.key)


def _line(name: str, span: dict[str, str], http: Http) -> pl.DataFrame:
    path = PATH + name
    rows = payload.entries(http.get_json(PROVIDER.key, path, span), PROVIDER.key, path, "chart")
    days = payload.field(rows, "date", payload.day, PROVIDER.key, path)
    values = payload.field(rows, "value", payload.number_or_none, PROVIDER.key, path)
    final = [None if row.get("is_approximate") else value for row, value in zip(rows, values, strict=True)]
    return long(name, days, final)


SOURCE = Source(
    table=RawBlockscoutStats,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    freshness=timedelta(days=3),
    terms="Blockscout public instance, fair use",
)
