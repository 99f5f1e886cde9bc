"""LBMA: `/json/gold_pm.json`, `/json/silver.json`; oldest first, [USD, GBP, EUR], null for none; day D from 15:30 UTC."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.sandbox import macro
from crypto_assets.sandbox.defi import last_day, within
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text

EMPTY = b"[]"
PUBLISHED = timedelta(hours=15, minutes=30)
KNOWN = timedelta(hours=18)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [
        get("/json/gold_pm.json", lambda _: _history(world, "gold")),
        get("/json/silver.json", lambda _: _history(world, "silver")),
    ]


def _history(world: World, metal: str) -> Response:
    frame = macro.metals(world.market, (world.now() - PUBLISHED).date())
    rows = [{"is_cms_locked": 0, "d": f"{ts:%Y-%m-%d}", "v": _prices(usd)} for ts, usd in frame.select("ts", metal).iter_rows()]
    return json_text(json.dumps(rows))


def _prices(usd: float | None) -> list[float | None]:
    return [None, None, None] if usd is None else [usd, round(usd / 1.27, 3), round(usd / 1.08, 3)]


def _rows(market, start, end, symbols) -> pl.DataFrame:
    found = within(macro.metals(market, last_day(end)), start, end)
    named = found.select("ts", pl.lit("lbma").alias("via"), gold_usd="gold", silver_usd="silver")
    return named.with_columns(available_at=pl.col("ts") + KNOWN)


TABLES = {"lbma_metals": _rows}
