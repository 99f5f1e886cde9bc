"""Par yield of the 10-year US Treasury.

CSV of the Department of the Treasury, one calendar year a call, keyless, since 1990, newest first, percent. Columns come and
go over the years, so the tenor is found by name; blank where there was no quote. Day D is out in the afternoon of New York and
taken as known at 23:30 UTC. Public domain.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/resource-center/data-chart-center/interest-rates/daily-treasury-rates.csv/{year}/all"
MAX_AGE = timedelta(minutes=10)
NO_QUOTE = ("", "N/A")


class RawTreasury10y(RawTable):
    """One row per day with a quote."""

    name = "raw/treasury_10y"
    key = ("ts", "source")

    yield_pct: float = Field(ge=-5, le=30, unit="%", meaning="10-year par yield")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per day with a quote in `window`; none on weekends and holidays.

    Raises a SourceError: NotPublishedYetError if a year that has begun before this week has no file or an empty one.
    """
    now = http.now()
    years = sorted({day.year for day in window.days if day <= now.date()})
    frames = [frame for year in years if (frame := _year(http, year, now)) is not None]
    return SOURCE.rows(pl.concat(frames), window, now) if frames else RawTreasury10y.empty()


def _year(http: Http, year: int, now: datetime) -> pl.DataFrame | None:
    path = PATH.format(year=year)
    params = {"type": "daily_treasury_yield_curve", "field_tdr_date_value": year, "page": "", "_format": "csv"}
    try:
        body = http.get_text("treasury", path, params, MAX_AGE)
        frame = payload.table_of_csv(body, ["Date", "10 Yr"], "treasury", path) if body.strip() else None
        if frame is None or frame.is_empty():
            raise NotPublishedYetError("treasury", f"{path}: expected the rows of {year}, found none: ask again later")
    except NotPublishedYetError:
        if now.year == year and (now.month, now.day) <= (1, 7):
            return None
        raise
    quoted = frame.filter(pl.col("10 Yr").is_in(NO_QUOTE).not_())
    dated = payload.days(payload.floats(quoted, ["10 Yr"], "treasury", path), "Date", "treasury", path)
    payload.covering(dated, [date(year, 1, 1), min(date(year, 12, 31), now.date())], "treasury", path)
    return dated.select("ts", yield_pct="10 Yr")


SOURCE = Source(
    table=RawTreasury10y,
    fetch=fetch,
    provider="treasury",
    available_at=pl.col("ts") + timedelta(hours=23, minutes=30),
    pool="treasury",
    freshness=timedelta(days=6),
    terms="public domain",
    is_core=True,
)
