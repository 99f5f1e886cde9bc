"""Spot prices of crude oil, WTI at Cushing and Brent, from the US Energy Information Administration.

Keyless: `GET /dnav/pet/hist_xls/RWTCd.xls` and `RBRTEd.xls` of www.eia.gov, Excel workbooks (sheet `Data 1`) with the whole
history since 1986. With `eia_key`: `GET /v2/petroleum/pri/spt/data/` of api.eia.gov, JSON, at most 5000 rows a page. The same
numbers, one pace of a call a second. Released on Wednesdays (Thursdays after a holiday) up to the Monday before; taken as known
on Thursday, 22:00 UTC. Rarely revised. Below zero on 2020-04-20. Public domain.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import AuthFailedError, BadPayloadError, GeoBlockedError, NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._excel import sheet_of
from crypto_assets.sources._providers import Provider, provide, secret_of
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("eia", "https://www.eia.gov", 1, 1, secret="eia_key", keyed_base="https://api.eia.gov"))
SERIES = {"RWTC": "WTI", "RBRTE": "Brent"}
"""The publisher's key -> ours."""
XLS_PATH = "/dnav/pet/hist_xls/{key}d.xls"
SHEET = "Data 1"
JSON_PATH = "/v2/petroleum/pri/spt/data/"
PAGE_SIZE = 5000
MAX_AGE = timedelta(minutes=10)
BEFORE = timedelta(days=14)
"""Asked for in front of the window, so that an empty answer is an error."""


class RawEiaOil(RawTable):
    """One row per grade and trading day."""

    name = "raw/eia_oil"
    key = ("grade", "ts", "source")

    grade: str = Field(isin=("WTI", "Brent"), meaning="WTI (Cushing, Oklahoma) or Brent (Europe)")
    price_usd: float = Field(unit="USD a barrel", meaning="spot price")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per grade and trading day in `window`.

    Raises a SourceError for anything but the documented answer, AuthFailedError for a key that is not known.
    """
    now = http.now()
    if window.start >= now:
        return RawEiaOil.empty()
    is_keyed = secret_of(PROVIDER, http.settings) is not None
    return SOURCE.rows(_json(http, window) if is_keyed else _workbooks(http, window), window, now)


def _workbooks(http: Http, window: Window) -> pl.DataFrame:
    frames = []
    for key, grade in SERIES.items():
        path = XLS_PATH.format(key=key)
        rows = sheet_of(http.get_bytes(PROVIDER.key, path, max_age=MAX_AGE), SHEET, PROVIDER.key, path)
        if len(rows) < 4 or rows[1][:2] != ("Sourcekey", key) or rows[2][0] != "Date":
            found = [row[:2] for row in rows[:3]]
            raise BadPayloadError(PROVIDER.key, f"{path}: expected the rows title, Sourcekey {key} and Date, found {found}")
        frame = pl.DataFrame({"day": [row[0] for row in rows[3:]], "price_usd": [row[1] for row in rows[3:]]})
        trimmed = frame.filter(pl.col("day").is_not_null(), pl.col("price_usd").is_not_null()).cast(pl.String)
        dated = payload.days(trimmed.with_columns(pl.col("day").str.head(10)), "day", PROVIDER.key, path)
        priced = payload.floats(dated, ["price_usd"], PROVIDER.key, path)
        payload.covering(priced, [min(window.end - BEFORE, http.now() - BEFORE).date()], PROVIDER.key, path)
        frames.append(priced.select("ts", "price_usd", grade=pl.lit(grade)))
    return pl.concat(frames)


def _json(http: Http, window: Window) -> pl.DataFrame:
    rows = _all_pages(http, window)
    if not rows:
        raise NotPublishedYetError(PROVIDER.key, f"{JSON_PATH}: expected prices of two weeks, found none: ask again later")

    def column(key: str, read: Any) -> list[Any]:
        return payload.field(rows, key, read, PROVIDER.key, JSON_PATH)

    days = payload.days(pl.DataFrame({"day": column("period", payload.text)}), "day", PROVIDER.key, JSON_PATH)
    prices = pl.Series("price_usd", column("value", payload.number_or_none), dtype=pl.Float64)
    return days.select("ts", prices, grade=pl.Series(column("series", _grade))).drop_nulls()


def _all_pages(http: Http, window: Window) -> list[Any]:
    params = {
        "frequency": "daily",
        "data[0]": "value",
        "facets[series][]": list(SERIES),
        "start": f"{(window.start - BEFORE).date()}",
        "end": f"{window.days[-1]}",
        "sort[0][column]": "period",
        "sort[0][direction]": "asc",
        "length": PAGE_SIZE,
    }
    rows: list[Any] = []
    while True:
        try:
            answer = http.get_json(PROVIDER.key, JSON_PATH, {**params, "offset": len(rows)})
        except GeoBlockedError as error:
            if "API_KEY" in str(error):
                raise AuthFailedError(
                    PROVIDER.key, f"{JSON_PATH}: the key is not known: set a valid CRYPTO_ASSETS_EIA_KEY"
                ) from None
            raise
        body = answer.get("response") if isinstance(answer, dict) else None
        page = payload.entries(body, PROVIDER.key, JSON_PATH, "data")
        rows += page
        if not page or len(rows) >= payload.field([body], "total", payload.integer, PROVIDER.key, JSON_PATH)[0]:
            return rows


def _grade(value: Any) -> str:
    """A series that was asked for."""
    return SERIES[payload.text(value)]


def _released() -> pl.Expr:
    """Thursday 22:00 UTC of the first week whose Monday is not before the day."""
    weekday = pl.col("ts").dt.weekday().cast(pl.Int64)
    return pl.col("ts") + pl.duration(days=(8 - weekday) % 7 + 3, hours=22)


SOURCE = Source(
    table=RawEiaOil,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=_released(),
    pool="eia",
    freshness=timedelta(days=14),
    terms="public domain (US government)",
)
