"""Monthly commodity prices and indices: the Pink Sheet of the World Bank.

`CMO-Historical-Data-Monthly.xlsx`, keyless, the whole history since 1960 each time. Its address on thedocs.worldbank.org
changes with every release and is read from the page `/en/research/commodity-markets` of www.worldbank.org. A column is found by
its name, in whatever row of the header that stands. Month M is out between the second and the fifth business day of M+1 and
taken as known when the fifth has ended. The last months are revised. CC BY 4.0.

`ts` is the day of release, since that is the daily partition a month belongs to; `month` says what the value describes.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import Window, midnight
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._excel import Rows, sheet_of
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("worldbank", "https://www.worldbank.org", 1, 1))
FILES = provide(Provider("worldbank_docs", "https://thedocs.worldbank.org", 1, 1))
PAGE = "/en/research/commodity-markets"
LINK = re.compile(r"https://thedocs\.worldbank\.org(/[\w./-]*CMO-Historical-Data-Monthly\.xlsx)")
SHEETS = {
    "Monthly Prices": (
        *("Crude oil, Brent", "Crude oil, WTI", "Natural gas, US", "Aluminum", "Copper", "Gold", "Silver", "Platinum"),
    ),
    "Monthly Indices": ("Energy", "Non-energy", "Agriculture", "Metals & Minerals", "Precious Metals"),
}
"""Sheet -> the names wanted of it."""
MONTH = re.compile(r"(\d{4})M(\d{2})")
NO_VALUE = ("", "..", "…")
MAX_AGE = timedelta(minutes=10)
RELEASE_DAY = 4
"""Business days after the first one of the month."""


class RawWorldbankCommodities(RawTable):
    """One row per series and month."""

    name = "raw/worldbank_commodities"
    key = ("series", "ts", "source")

    series: str = Field(meaning="name of the price or index in the Pink Sheet")
    month: str = Field(meaning="month that the value describes, YYYY-MM")
    value: float = Field(gt=0, unit="USD in the unit of the series, or index of 2010 = 100", meaning="average of the month")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per series and month released in `window`. Raises a SourceError for anything but the documented answer."""
    now = http.now()
    if window.start >= now:
        return RawWorldbankCommodities.empty()
    path = _address(http)
    body = http.get_bytes(FILES.key, path, max_age=MAX_AGE)
    frames = [_long(sheet_of(body, sheet, PROVIDER.key, path), sheet, names) for sheet, names in SHEETS.items()]
    return SOURCE.rows(pl.concat(frames), window, now)


def released(month: date) -> date:
    """The fifth business day of the month after `month`; 1 January is none."""
    following = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
    day = np.busday_offset(following, RELEASE_DAY, roll="forward", holidays=[date(following.year, 1, 1)])
    return date.fromisoformat(str(day))


def _address(http: Http) -> str:
    """Path of the newest workbook, from the page that links to it."""
    page = http.get_bytes(PROVIDER.key, PAGE, max_age=MAX_AGE).decode("utf-8", "replace")
    if not page:
        raise NotPublishedYetError(PROVIDER.key, f"{PAGE}: expected a page, found nothing: ask again later")
    found = LINK.search(page)
    if found is None:
        raise BadPayloadError(PROVIDER.key, f"{PAGE}: expected a link to CMO-Historical-Data-Monthly.xlsx, found none")
    return found[1]


def _long(rows: Rows, sheet: str, names: tuple[str, ...]) -> pl.DataFrame:
    """ts, series, month, value of the months with a value."""
    first = next((n for n, row in enumerate(rows) if row[0] and MONTH.fullmatch(row[0])), None)
    if first is None:
        raise BadPayloadError(PROVIDER.key, f"{sheet}: expected rows that begin with a month like 1960M01, found none")
    places = {_plain(cell): k for row in rows[:first] for k, cell in enumerate(row) if cell}
    missing = [name for name in names if _plain(name) not in places]
    if missing:
        raise BadPayloadError(PROVIDER.key, f"{sheet}: expected columns named {missing}, found {sorted(places)[:40]}")
    months = [(row, found) for row in rows[first:] if row[0] and (found := MONTH.fullmatch(row[0]))]
    columns: dict[str, list] = {"ts": [], "series": [], "month": [], "value": []}
    for row, found in months:
        month = date(int(found[1]), int(found[2]), 1)
        for name in names:
            cell = row[places[_plain(name)]]
            if cell is not None and cell.strip() not in NO_VALUE:
                value = payload.field([[cell]], 0, payload.number, PROVIDER.key, f"{sheet} {month:%Y-%m}", name)[0]
                for column, entry in zip(
                    columns.values(), (midnight(released(month)), name, f"{month:%Y-%m}", value), strict=True
                ):
                    column.append(entry)
    return payload.frame_of(columns)


def _plain(name: str) -> str:
    """A name without footnote marks, repeated blanks and capitals."""
    return " ".join(name.replace("*", " ").split()).lower()


SOURCE = Source(
    table=RawWorldbankCommodities,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(days=1),
    pool="worldbank",
    freshness=timedelta(days=45),
    terms="World Bank, CC BY 4.0",
)
