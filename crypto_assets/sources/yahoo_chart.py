"""Daily bars of the dollar index and of gold, silver and oil futures, from Yahoo Finance.

`GET /v8/finance/chart/{ticker}` of query2.finance.yahoo.com, no key, not a published interface: programs are often turned away
with 429. Parallel lists of times (seconds, the start of the session where the exchange is) and prices, null where there was no
trade; the running session may be appended. Day D is taken as known at 06:00 UTC of D+1. Off by default: Yahoo's terms bar
automated access; it is asked in world live only with `accept_yahoo_terms`. The publishers carry these metrics by default.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._errors import snippet
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("yahoo", "https://query2.finance.yahoo.com", 1, 2))
PATH = "/v8/finance/chart/{ticker}"
TICKERS = ("DX-Y.NYB", "GC=F", "SI=F", "CL=F")
PRICES = ("open", "high", "low", "close", "volume")
BEFORE = timedelta(days=14)
"""Asked for in front of the window, so that an empty answer is an error."""


class RawYahooChart(RawTable):
    """One row per ticker and trading day."""

    name = "raw/yahoo_chart"
    key = ("ticker", "ts", "source")

    ticker: str = Field(isin=TICKERS, meaning="dollar index, or next future of gold, silver, WTI")
    open: float | None = Field(meaning="first price, index points or USD")
    high: float | None = Field(meaning="highest price")
    low: float | None = Field(meaning="lowest price")
    close: float = Field(meaning="last price; oil was below zero on 2020-04-20")
    volume: float | None = Field(ge=0, unit="contracts", meaning="traded on that day")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per ticker and trading day in `window`. Raises a SourceError for anything but the answer described above."""
    now = http.now()
    if window.start >= now:
        return RawYahooChart.empty()
    return SOURCE.rows(pl.concat([_bars(http, ticker, window) for ticker in TICKERS]), window, now)


def _bars(http: Http, ticker: str, window: Window) -> pl.DataFrame:
    path = PATH.format(ticker=ticker)
    span = {"period1": int((window.start - BEFORE).timestamp()), "period2": int((window.end + DAY).timestamp())}
    chart = _part(http.get_json(PROVIDER.key, path, {**span, "interval": "1d"}), "chart", path)
    if chart.get("error"):
        raise BadPayloadError(PROVIDER.key, f"{path}: refused, {snippet(str(chart['error']))}")
    result = (chart.get("result") or [{}])[0]
    if not result.get("timestamp"):
        raise NotPublishedYetError(PROVIDER.key, f"{path}: expected bars of two weeks, found none: ask again later")
    zone = payload.field([_part(result, "meta", path)], "exchangeTimezoneName", payload.text, PROVIDER.key, path)[0]
    quote = (_part(result, "indicators", path).get("quote") or [{}])[0]
    times = payload.field([[t] for t in result["timestamp"]], 0, payload.seconds, PROVIDER.key, path, "timestamp")
    columns = {name: _column(quote, name, len(times), path) for name in PRICES}
    frame = payload.frame_of({"ts": times, **columns}).cast(dict.fromkeys(PRICES, pl.Float64)).drop_nulls("close")
    # Midnight UTC of the day it is at the exchange, whose offset changes with summer time.
    day = pl.col("ts").dt.convert_time_zone(zone).dt.date().cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(ts=day, ticker=pl.lit(ticker)).unique("ts", keep="first", maintain_order=True)


def _part(value: Any, key: str, path: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        raise BadPayloadError(PROVIDER.key, f"{path}: expected the object {key!r}, found {str(value)[:80]!r}")
    return found


def _column(quote: Any, name: str, size: int, path: str) -> list[float | None]:
    values = payload.entries(quote, PROVIDER.key, path, name)
    if len(values) != size:
        raise BadPayloadError(PROVIDER.key, f"{path}: expected {size} values of {name!r}, one a timestamp, found {len(values)}")
    return payload.field([[v] for v in values], 0, payload.number_or_none, PROVIDER.key, path, name)


SOURCE = Source(
    table=RawYahooChart,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=30),
    pool="yahoo",
    consent="accept_yahoo_terms",
    freshness=timedelta(days=6),
    terms="Yahoo: unofficial, automated access is barred by its terms; personal use",
    may_fail=True,
    substitute="its terms bar this use; ecb_fixings, lbma_metals and eia_oil carry these metrics by default",
)
