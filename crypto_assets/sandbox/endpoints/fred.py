"""FRED: `/fred/series/observations` with vintages, JSON; numbers are texts, a version has the days on which it held.

Yields, VIX and oil are those of their publishers, a business day (oil: a release) later; the broad dollar appears on Mondays
and is corrected ten days later on some days. A request may span 2000 vintages.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox import macro
from crypto_assets.sandbox.daily import FIRST_DAY, is_trading_day
from crypto_assets.sandbox.defi import dated, last_day, within
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.endpoints.eia import weekly
from crypto_assets.sandbox.endpoints.treasury import SPREADS
from crypto_assets.sandbox.series import days, level, noise

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"count":0,"offset":0,"limit":100000,"observations":[]}'
KNOWN_AFTER = timedelta(hours=30)
MOST_ROWS = 100_000
MOST_VINTAGES = 2000
FOREVER = date(9999, 12, 31)
SERIES = ("DGS10", "T10Y2Y", "DFF", "VIXCLS", "DTWEXBGS", "DCOILWTICO")
CORRECTED = 1.0
"""A day of the broad dollar is corrected when its noise is above this."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/fred/series/observations", lambda request: _observations(world, request))]


def _refusal(message: str) -> Response:
    return json_text(json.dumps({"error_code": 400, "error_message": f"Bad Request.  {message}"}), 400)


def _observations(world: World, request: Request) -> Response:
    query = request.query_params
    if not query.get("api_key"):
        return _refusal("Variable api_key is not set.  Read https://fred.stlouisfed.org/docs/api/api_key.html.")
    if query.get("series_id") not in SERIES:
        return _refusal("The series does not exist.")
    today = world.now().date()
    start, end = _date(query.get("realtime_start"), today), _date(query.get("realtime_end"), today)
    first, last = _date(query.get("observation_start"), date(1776, 7, 4)), _date(query.get("observation_end"), FOREVER)
    if start > today:
        return _refusal("Variable realtime_start can not be after today's date.")
    versions = [v for v in _spans(world.market, query["series_id"], today) if v[2] <= end and v[3] >= start]
    if len({v[2] for v in versions if v[2] >= start}) > MOST_VINTAGES:
        return _refusal(f"This exceeds the maximum number of vintage dates allowed ({MOST_VINTAGES}).")
    rows = [
        {"realtime_start": f"{max(a, start)}", "realtime_end": f"{min(b, end)}", "date": f"{day}", "value": text}
        for day, text, a, b in versions
        if first <= day <= last
    ]
    offset, limit = int(query.get("offset", "0")), min(int(query.get("limit", str(MOST_ROWS))), MOST_ROWS)
    head = {"realtime_start": f"{start}", "realtime_end": f"{end}", "units": "lin", "count": len(rows)}
    return json_text(json.dumps({**head, "offset": offset, "limit": limit, "observations": rows[offset : offset + limit]}))


def _date(text: str | None, default: date) -> date:
    return date.fromisoformat(text) if text else default


def _spans(market: SimulatedMarket, series: str, today: date) -> list[tuple[date, str, date, date]]:
    """(day, value or a point, first and last day it held) of every version that has appeared, by day and version."""
    known = versions(market, series, today).filter(pl.col("vintage") <= midnight(today)).sort("ts", "vintage")
    following = known.with_columns(until=pl.col("vintage").shift(-1).over("ts"))
    found = [
        (ts.date(), str(value), vintage.date(), (until - DAY).date() if until else FOREVER)
        for ts, value, vintage, until in following.select("ts", "value", "vintage", "until").iter_rows()
    ]
    if series == "DGS10":  # days without trading are listed, with a point
        closed = [day for day in days(FIRST_DAY, today) if day.weekday() < 5 and not is_trading_day(day)]
        found = sorted([*found, *((day, ".", day, FOREVER) for day in closed)])
    return found


@lru_cache(maxsize=32)
def versions(market: SimulatedMarket, series: str, last: date) -> pl.DataFrame:
    """ts, value, vintage of every version of the days up to `last`."""
    end = midnight(last) + timedelta(hours=1)
    if series in ("DGS10", "T10Y2Y"):
        ten = market.treasury_10y(midnight(FIRST_DAY), end)
        spread = pl.lit(-SPREADS["2 Yr"], dtype=pl.Float64)
        return _appear(ten.select("ts", value="yield_pct" if series == "DGS10" else spread), _next_business_day)
    if series == "VIXCLS":
        return _appear(market.vix(midnight(FIRST_DAY), end).select("ts", value="close"), _next_business_day)
    if series == "DCOILWTICO":
        return _appear(macro.oil(market, last).select("ts", value="WTI"), weekly)
    slow = level(market.randomness, f"fred:{series}", FIRST_DAY, last, half_life_days=120.0)[:, 0]
    if series == "DFF":
        return _appear(dated({"value": np.round(4.5 + 0.3 * slow, 2)}, last), _next_business_day)
    broad = macro.on(dated({"value": np.round(120 * np.exp(0.03 * slow), 4)}, last), lambda day: day.weekday() < 5)
    drawn = macro.on(
        dated({"drawn": noise(market.randomness, "fred:corrections", FIRST_DAY, last)[:, 0]}, last), lambda d: d.weekday() < 5
    )
    corrected = broad.filter(drawn["drawn"] > CORRECTED).with_columns((pl.col("value") + 0.05).round(4))
    return pl.concat([_appear(broad, _next_monday), _appear(corrected, lambda ts: _next_monday(ts) + 10 * DAY)])


def _appear(frame: pl.DataFrame, when) -> pl.DataFrame:
    return frame.with_columns(vintage=pl.Series([when(ts) for ts in frame["ts"]], dtype=UTC_US))


def _next_business_day(ts: datetime) -> datetime:
    return ts + DAY * {4: 3, 5: 2}.get(ts.weekday(), 1)


def _next_monday(ts: datetime) -> datetime:
    return ts + (7 - ts.weekday()) * DAY


def _rows(market, start, end, symbols) -> pl.DataFrame:
    frames = [within(versions(market, s, last_day(end)), start, end).with_columns(series=pl.lit(s)) for s in SERIES]
    return pl.concat(frames, how="diagonal").with_columns(available_at=pl.col("vintage") + KNOWN_AFTER)


TABLES = {"fred_series": _rows}
