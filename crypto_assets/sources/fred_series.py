"""Macro series with every version of every value, from FRED and ALFRED of the Federal Reserve Bank of St. Louis.

`GET /fred/series/observations` of api.stlouisfed.org with `fred_key` (free), 120 requests a minute, at most 100 000 rows a page
and 2000 vintages a request, so a long real-time period is asked for in pieces. Numbers are texts, `.` is no value. A version
counts from the end of the day on which it appeared, in St. Louis. Off by default: FRED's terms of June 2024 prohibit storing
its data and using it for machine learning, and some series belong to others; it is asked in world live only with
`accept_fred_terms`. The publishers themselves carry these metrics by default.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable, Timestamp
from crypto_assets.market.errors import AuthFailedError, BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("fred", "https://api.stlouisfed.org", 100, 60, secret="fred_key"))
PATH = "/fred/series/observations"
SERIES = ("DGS10", "T10Y2Y", "DFF", "VIXCLS", "DTWEXBGS", "DCOILWTICO")
PAGE_SIZE = 100_000
PIECE = timedelta(days=5 * 365)
"""Real-time period of one request: some 1300 vintages of a daily series."""
BEFORE = timedelta(days=21)
"""Asked for in front of the window, so that an empty answer is an error."""
FOREVER = "9999-12-31"
NO_VALUE = "."


class RawFredSeries(RawTable):
    """One row per series, day and version."""

    name = "raw/fred_series"
    key = ("series", "ts", "vintage", "source")

    series: str = Field(isin=SERIES, meaning="FRED's name of the series")
    vintage: Timestamp = Field(unit="UTC", meaning="day on which this version appeared")
    value: float = Field(meaning="percent; DTWEXBGS an index, DCOILWTICO USD a barrel")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per series, day and version of the days in `window`.

    Raises a SourceError for anything but the documented answer, AuthFailedError for a key that is not known.
    """
    now = http.now()
    if window.start >= now:
        return RawFredSeries.empty()
    return SOURCE.rows(pl.concat([_versions(http, series, window, now) for series in SERIES]), window, now)


def _versions(http: Http, series: str, window: Window, now: datetime) -> pl.DataFrame:
    rows = [row for piece in _pieces(window, now) for row in _all_pages(http, series, window, piece)]
    if not rows:
        raise NotPublishedYetError(
            PROVIDER.key, f"{PATH} {series}: expected values of three weeks, found none: ask again later"
        )

    def column(key: str, read: Any) -> list[Any]:
        return payload.field(rows, key, read, PROVIDER.key, f"{PATH} {series}")

    columns = {"ts": column("date", _day), "vintage": column("realtime_start", _day), "value": column("value", _value)}
    frame = payload.frame_of(columns).cast({"value": pl.Float64}).drop_nulls().sort("ts", "vintage")
    # A piece begins with the version that held then, under its own first day: the same value again is no new version.
    before = pl.col("value").shift(1).over("ts")
    return frame.filter(before.is_null() | (before != pl.col("value"))).with_columns(series=pl.lit(series))


def _pieces(window: Window, now: datetime) -> list[tuple[str, str]]:
    """Real-time periods from the first day of the window on; the last one is open. No value is older than its day."""
    start = min(window.start, now - DAY)
    starts = [start]
    while starts[-1] + PIECE < now:
        starts.append(starts[-1] + PIECE)
    ends = [f"{(begin - DAY).date()}" for begin in starts[1:]]
    return list(zip([f"{begin.date()}" for begin in starts], [*ends, FOREVER], strict=True))


def _all_pages(http: Http, series: str, window: Window, piece: tuple[str, str]) -> list[Any]:
    params = {
        "series_id": series,
        "file_type": "json",
        "observation_start": f"{(window.start - BEFORE).date()}",
        "observation_end": f"{window.days[-1]}",
        "realtime_start": piece[0],
        "realtime_end": piece[1],
        "sort_order": "asc",
        "limit": PAGE_SIZE,
    }
    rows: list[Any] = []
    while True:
        try:
            answer = http.get_json(PROVIDER.key, PATH, {**params, "offset": len(rows)})
        except BadPayloadError as error:
            if "api_key" in str(error):
                raise AuthFailedError(
                    PROVIDER.key, f"{PATH}: the key is not known: set a valid CRYPTO_ASSETS_FRED_KEY"
                ) from None
            raise
        page = payload.entries(answer, PROVIDER.key, f"{PATH} {series}", "observations")
        rows += page
        if not page or len(rows) >= payload.field([answer], "count", payload.integer, PROVIDER.key, PATH)[0]:
            return rows


def _day(value: Any) -> datetime:
    """A date YYYY-MM-DD."""
    return midnight(date.fromisoformat(payload.text(value)))


def _value(value: Any) -> float | None:
    """A number in text, or a point for none."""
    return None if value == NO_VALUE else payload.number(payload.text(value))


SOURCE = Source(
    table=RawFredSeries,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("vintage") + timedelta(hours=30),
    pool="fred",
    keys=("fred_key",),
    consent="accept_fred_terms",
    freshness=timedelta(days=14),
    terms="FRED: storing, caching and use for machine learning are prohibited without permission; some series are copyrighted",
    substitute="its terms bar this use; treasury_10y, cboe_vix, ecb_fixings and eia_oil carry these metrics by default",
)
