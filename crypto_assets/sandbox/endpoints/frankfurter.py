"""Frankfurter: `/v1/{from}..{to}`, the ECB's rates of a period with the dollar as base; day D from 14:30 UTC.

A period without rates begins at the last working day before it, as there; one that lies ahead is not found.
"""

from __future__ import annotations

import json
from datetime import date, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import midnight
from crypto_assets.sandbox import macro
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.defi import last_day, within
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text

EMPTY = b'{"amount":1.0,"base":"USD","rates":{}}'
PUBLISHED = timedelta(hours=14, minutes=30)
KNOWN = timedelta(hours=16)
NOT_FOUND = '{"message":"not found"}'


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/v1/{period}", lambda request: _period(world, request))]


def _period(world: World, request: Request) -> Response:
    first, dots, last = request.path_params["period"].partition("..")
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return json_text(NOT_FOUND, 404)
    if not dots or request.query_params.get("base") != "USD":
        return json_text(NOT_FOUND, 404)
    published = (world.now() - PUBLISHED).date()
    rates = macro.per_dollar(world.market, max(min(end, published), FIRST_DAY)).drop("dxy_ecb")
    known = rates.filter(pl.col("ts") < midnight(start + timedelta(days=1)))
    begin = min(known["ts"][-1], midnight(start)) if known.height else midnight(start)
    shown = rates.filter(pl.col("ts") >= begin)
    if shown.is_empty() or start > published:
        return json_text(NOT_FOUND, 404)
    symbols = request.query_params.get("symbols", ",".join(macro.LEGS)).split(",")
    by_day = {row["ts"].date().isoformat(): {s: row[s] for s in symbols if s in row} for row in shown.iter_rows(named=True)}
    body = {"amount": 1.0, "base": "USD", "start_date": min(by_day), "end_date": max(by_day), "rates": by_day}
    return json_text(json.dumps(body))


def _rows(market, start, end, symbols) -> pl.DataFrame:
    rates = within(macro.per_dollar(market, last_day(end)), start, end)
    named = rates.rename({name: name.lower() for name in macro.LEGS})
    return named.with_columns(via=pl.lit("frankfurter"), available_at=pl.col("ts") + KNOWN)


TABLES = {"ecb_fixings": _rows}
