"""EIA: `/dnav/pet/hist_xls/{RWTC,RBRTE}d.xls` as Excel 97 workbooks, `/v2/petroleum/pri/spt/data/` as JSON with a key.

Released on Wednesdays at 16:00 UTC up to the Monday before. In JSON numbers and totals are texts; at most 5000 rows a page.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.sandbox import macro
from crypto_assets.sandbox.defi import last_day, within
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.excel import xls

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"response":{"total":"0","dateFormat":"YYYY-MM-DD","frequency":"daily","data":[]}}'
SERIES = {
    "RWTC": ("WTI", "EPCWTI", "Cushing, OK WTI Spot Price FOB (Dollars per Barrel)"),
    "RBRTE": ("Brent", "EPCBRENT", "Europe Brent Spot Price FOB (Dollars per Barrel)"),
}
MOST_ROWS = 5000
NO_KEY = '{"error":{"code":"API_KEY_MISSING","message":"No api_key was supplied. Please register for one."}}'


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/dnav/pet/hist_xls/{name}", lambda request: _workbook(world, request.path_params["name"])),
        get("/v2/petroleum/pri/spt/data/", lambda request: _json(world, request)),
    ]


def weekly(ts: datetime) -> datetime:
    """The Wednesday, 00:00, on which the price of a day is released."""
    return ts + timedelta(days=(7 - ts.weekday()) % 7 + 2)


def _released(market: SimulatedMarket, now: datetime) -> pl.DataFrame:
    oil = macro.oil(market, now.date())
    out = [weekly(ts) + timedelta(hours=16) <= now for ts in oil["ts"]]
    return oil.filter(pl.Series(out, dtype=pl.Boolean))


def _workbook(world: World, name: str) -> Response:
    key = name.removesuffix("d.xls")
    if key not in SERIES or not name.endswith("d.xls"):
        return Response(b"<html><body>404 Not Found</body></html>", 404, media_type="text/html")
    frame = _released(world.market, world.now())
    last = frame["ts"][-1]
    return Response(_bytes(world.market, key, last), media_type="application/vnd.ms-excel")


@lru_cache(maxsize=16)
def _bytes(market: SimulatedMarket, key: str, last: datetime) -> bytes:
    grade, _, title = SERIES[key]
    rows = within(macro.oil(market, last.date()), datetime.min.replace(tzinfo=last.tzinfo), last + timedelta(hours=1))
    data = [[ts.date(), price] for ts, price in rows.select("ts", grade).iter_rows()]
    head = [["Back to Contents", f"Data 1: {title}"], ["Sourcekey", key], ["Date", title]]
    return xls({"Contents": [["Workbook Contents"], [title]], "Data 1": [*head, *data]})


def _json(world: World, request: Request) -> Response:
    query = request.query_params
    if not query.get("api_key"):
        return json_text(NO_KEY, 403)
    offset, length = int(query.get("offset", "0")), min(int(query.get("length", str(MOST_ROWS))), MOST_ROWS)
    first, last = query.get("start", "0000"), query.get("end", "9999")
    rows = []
    for row in _released(world.market, world.now()).iter_rows(named=True):
        day = f"{row['ts']:%Y-%m-%d}"
        for key in query.getlist("facets[series][]") if first <= day <= last else ():
            grade, product, title = SERIES[key]
            static = {"product": product, "process": "PF4", "series": key, "series-description": title, "units": "$/BBL"}
            rows.append({"period": day, **static, "value": str(row[grade])})
    page = {"total": str(len(rows)), "dateFormat": "YYYY-MM-DD", "frequency": "daily", "data": rows[offset : offset + length]}
    return json_text(json.dumps({"response": page, "request": {"command": request.url.path}, "apiVersion": "2.1.8"}))


def _rows(market, start, end, symbols) -> pl.DataFrame:
    wide = within(macro.oil(market, last_day(end)), start, end)
    known = [weekly(ts) + timedelta(days=1, hours=22) for ts in wide["ts"]]
    dated = wide.with_columns(available_at=pl.Series(known, dtype=wide.schema["ts"]))
    return dated.unpivot(["WTI", "Brent"], index=["ts", "available_at"], variable_name="grade", value_name="price_usd")


TABLES = {"eia_oil": _rows}
