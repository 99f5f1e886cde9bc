"""World Bank: the page `/en/research/commodity-markets`, which links to the newest Pink Sheet; a release a month."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import midnight
from crypto_assets.sandbox import macro
from crypto_assets.sandbox.defi import last_day
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get

EMPTY = b""
FILE = "CMO-Historical-Data-Monthly.xlsx"
OUT = timedelta(hours=15)
"""When on the day of release the workbook appears."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/en/research/commodity-markets", lambda _: _page(world))]


def released(month: date) -> date:
    """The fifth business day of the next month; 1 January is none."""
    following = (month + timedelta(days=32)).replace(day=1)
    return date.fromisoformat(str(np.busday_offset(following, 4, roll="forward", holidays=[date(following.year, 1, 1)])))


def newest(now: datetime) -> date:
    """The last month that is out."""
    return [m for m in macro.months(now.date()) if midnight(released(m)) + OUT <= now][-1]


def address(month: date) -> str:
    """Path of the workbook that ends with `month`; every release has another."""
    return f"/en/doc/{month:%Y%m}0e11-0050012024/related/{FILE}"


def _page(world: World) -> Response:
    link = f"https://thedocs.worldbank.org{address(newest(world.now()))}"
    text = (
        "<!DOCTYPE html><html><head><title>Commodity Markets</title></head><body><h2>Pink Sheet Data</h2><ul>"
        f'<li><a href="{link.replace("Monthly", "Annual")}">Annual prices (XLS)</a></li>'
        f'<li><a href="{link}" target="_blank">Monthly prices (XLS)</a></li></ul></body></html>'
    )
    return Response(text.encode(), media_type="text/html")


def _rows(market, start, end, symbols) -> pl.DataFrame:
    sheet = macro.pink_sheet(market, last_day(end))
    long = sheet.unpivot([*macro.PRICES, *macro.INDICES], index="month", variable_name="series", value_name="value")
    days = pl.Series("ts", [midnight(released(m)) for m in long["month"]], dtype=pl.Datetime("us", "UTC"))
    dated = long.with_columns(days, pl.col("month").dt.strftime("%Y-%m"))
    inside = dated.filter(pl.col("ts") >= start, pl.col("ts") < end)
    return inside.with_columns(available_at=pl.col("ts") + timedelta(days=1))


TABLES = {"worldbank_commodities": _rows}
