"""Google searches for each coin, from Google Trends through pytrends: unofficial, keyless and refused more often than not.

`POST /api/explore`, then `GET /api/widgetdata/multiline` of trends.google.com/trends, whose values are whole percent of the
highest day of the same answer: numbers of two answers cannot be compared, and a day's number changes with what is asked
beside it. So all days of a week (Monday to Sunday) come from one request for the eight weeks that end with it, each row
carries that request's window, and it counts as known two days after the window's end, when the last day is whole. Three
requests a coin and week. Values are drawn from a sample of searches and differ a little each time. 429 is the rule from
data centres: then the table stays as it is, with the reason (`may_fail`). The default for attention is
`raw/wikimedia_pageviews`; Google's own API is in closed trial. Google's terms of service; no licence.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable, Timestamp
from crypto_assets.market import handles
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, base_of, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("google_trends", "https://trends.google.com/trends", rate=1, per=15, attempts=3))
WEEK, SPAN, LAG = 7 * DAY, 56 * DAY, 2 * DAY


class RawGoogleTrends(RawTable):
    """One row per coin and day; comparable within one request only."""

    name = "raw/google_trends"

    symbol: str = Field(meaning="our symbol")
    keyword: str = Field(meaning="what was searched for, worldwide")
    value_pct: float = Field(ge=0, le=100, unit="%", meaning="searches, of the highest day of the request")
    request_start: Timestamp = Field(unit="UTC", meaning="first day of the request")
    request_end: Timestamp = Field(unit="UTC", meaning="end of its last day")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin and day of the weeks in `window` that are two days over. Raises a SourceError."""
    from crypto_assets.sources import _trends

    frames = [RawGoogleTrends.empty().drop("source", "available_at")]
    ends = [end for end in _ends(window) if end + LAG <= http.now()]
    base = base_of(PROVIDER, http.settings)

    def connect() -> Any:
        return _trends.connect(base, PROVIDER.key, is_loopback=http.is_loopback, timeout_s=http.timeout_s)

    client = http.through(PROVIDER.key, connect) if ends else None
    for coin, names in handles.known(http.universe):
        for end in ends:
            asked = {"symbol": coin.symbol, "keyword": names.search, "request_start": end - SPAN, "request_end": end}
            week = _points(http, client, names.search, end).filter(pl.col("ts") >= end - WEEK, pl.col("ts") < end)
            fixed = [pl.lit(value, dtype=UTC_US if "request" in name else None).alias(name) for name, value in asked.items()]
            frames.append(week.with_columns(fixed))
    return SOURCE.rows(pl.concat(frames, how="diagonal"), window, http.now())


def _ends(window: Window) -> list[datetime]:
    """Ends of the weeks that the window touches."""
    return sorted({midnight(day) + (7 - day.weekday()) * DAY for day in window.days})


def _points(http: Http, client: Any, keyword: str, end: datetime) -> pl.DataFrame:
    """Columns ts, value_pct of the days of one request."""
    from crypto_assets.sources import _trends

    timeframe = f"{end - SPAN:%Y-%m-%d} {end - DAY:%Y-%m-%d}"
    where = f"{keyword!r} {timeframe}"
    rows = http.through(PROVIDER.key, lambda: _trends.points(client, PROVIDER.key, keyword, timeframe))
    whole = [row for row in payload.entries(rows, PROVIDER.key, where) if not row.get("isPartial")]
    values = [payload.entries(row, PROVIDER.key, where, "value") for row in whole]
    columns = {
        "ts": payload.field(whole, "time", payload.seconds, PROVIDER.key, where),
        "value_pct": payload.field(values, 0, payload.number, PROVIDER.key, where, "value"),
    }
    return pl.DataFrame(columns, schema={"ts": UTC_US, "value_pct": pl.Float64()})


SOURCE = Source(
    table=RawGoogleTrends,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts").dt.truncate("1w") + WEEK + LAG,
    pool=PROVIDER.key,
    freshness=timedelta(days=12),
    terms="Google Terms of Service; unofficial access",
    may_fail=True,
    substitute="unofficial and often refused; raw/wikimedia_pageviews is the default for attention",
)
