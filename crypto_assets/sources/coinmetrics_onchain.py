"""Daily on-chain metrics of Coin Metrics, community edition.

`GET /v4/timeseries/asset-metrics` of community-api.coinmetrics.io, keyless, 10 calls in 6 s, pages linked by `next_page_url`.
Numbers are quoted, times have nanoseconds. Metrics a coin has not, and metrics that need a plan, are absent. Day D is published
between 02:00 and 03:00 UTC of D+1. Values are revised, exchange flows far back: they are point in time only from the first own
capture on. CC BY-NC 4.0. With `coinmetrics_key` set the paid host is asked, which carries more coins.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/v4/timeseries/asset-metrics"
METRICS = (
    "AdrActCnt",
    "TxCnt",
    "HashRate",
    "CapMVRVCur",
    "CapMrktCurUSD",
    "FlowInExNtv",
    "FlowOutExNtv",
    "SplyExNtv",
    "SplyCur",
    "IssTotUSD",
    "FeeTotNtv",
)
PAGE_SIZE = 10_000
MOST_PAGES = 1_000
ALWAYS = {"btc", "eth"}
"""Assets with values for every day; an answer without any for them is none."""
LAG = timedelta(hours=27)


class RawCoinmetricsOnchain(RawTable):
    """One row per coin, metric and day."""

    name = "raw/coinmetrics_onchain"
    key = ("symbol", "metric", "ts", "source")

    symbol: str = Field(meaning="our symbol")
    metric: str = Field(meaning="the provider's name, for example AdrActCnt")
    value: float = Field(meaning="in the provider's unit: counts, TH/s, ratio, USD, native coins")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin, metric and day in `window`; metrics the provider does not have are absent.

    Raises a SourceError: NotPublishedYetError for an empty answer about BTC or ETH.
    """
    days = window.days
    names = {coin.name_at("coinmetrics"): coin.symbol for coin in http.universe}
    params: dict[str, Any] = {
        "assets": ",".join(names),
        "metrics": ",".join(METRICS),
        "frequency": "1d",
        "start_time": days[0].isoformat(),
        "end_time": days[-1].isoformat(),
        "page_size": PAGE_SIZE,
        "paging_from": "start",
        "ignore_forbidden_errors": "true",
        "ignore_unsupported_errors": "true",
    }
    rows = _all_pages(http, params)
    if not rows and ALWAYS & set(names) and window.start + LAG < http.now():
        raise NotPublishedYetError("coinmetrics", f"{PATH}: expected rows from {days[0]}, found an empty list: ask again later")
    return SOURCE.rows(_long(rows, names), window, http.now())


def _all_pages(http: Http, params: dict[str, Any]) -> list[Any]:
    """Rows of every page. The next page is asked at the same address with the parameters of `next_page_url`."""
    rows: list[Any] = []
    for _ in range(MOST_PAGES):
        answer = http.get_json("coinmetrics", PATH, params)
        rows += payload.entries(answer, "coinmetrics", PATH, "data")
        following = answer.get("next_page_url")
        if not following:
            return rows
        if not isinstance(following, str) or not urlsplit(following).path.endswith(PATH):
            raise BadPayloadError("coinmetrics", f"{PATH}: next_page_url must lead to {PATH}, found another place")
        params = {name: value for name, value in parse_qsl(urlsplit(following).query) if name != "api_key"}
    raise BadPayloadError("coinmetrics", f"{PATH}: next_page_url leads on after {MOST_PAGES} pages: it goes in circles")


def _long(rows: list[Any], names: dict[str, str]) -> pl.DataFrame:
    """symbol, ts, metric, value of every metric that is there."""
    assets = payload.field(rows, "asset", payload.text, "coinmetrics", PATH)
    unknown = sorted(set(assets) - set(names))
    if unknown:
        raise BadPayloadError("coinmetrics", f"{PATH}: field 'asset' must be one of {list(names)}, found {unknown}")
    times = payload.field(rows, "time", payload.iso, "coinmetrics", PATH)
    parts = []
    for metric in METRICS:
        have = [n for n, row in enumerate(rows) if row.get(metric) is not None]
        values = payload.field([rows[n] for n in have], metric, payload.number, "coinmetrics", PATH)
        columns = {"ts": [times[n] for n in have], "symbol": [names[assets[n]] for n in have], "value": values}
        parts.append(
            payload.frame_of(columns).cast({"symbol": pl.String, "value": pl.Float64}).with_columns(metric=pl.lit(metric))
        )
    return pl.concat(parts)


SOURCE = Source(
    table=RawCoinmetricsOnchain,
    fetch=fetch,
    provider="coinmetrics",
    available_at=pl.col("ts") + LAG,
    pool="coinmetrics",
    freshness=timedelta(hours=54),
    terms="CC BY-NC 4.0, attribution to Coin Metrics",
    is_core=True,
)
