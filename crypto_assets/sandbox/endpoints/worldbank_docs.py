"""World Bank files: the Pink Sheet workbook, at an address that only the page of `worldbank` knows."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.sandbox import macro
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get
from crypto_assets.sandbox.endpoints.worldbank import address, newest, released
from crypto_assets.sandbox.excel import Cell, xlsx

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b""
TITLE = "World Bank Commodity Price Data (The Pink Sheet)"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/{path:path}", lambda request: _file(world, request.path_params["path"]))]


def _file(world: World, path: str) -> Response:
    month = newest(world.now())
    if f"/{path}" != address(month):
        return Response(b"<html><body>Not Found</body></html>", 404, media_type="text/html")
    return Response(_workbook(world.market, month), media_type=TYPE)


@lru_cache(maxsize=16)
def _workbook(market: SimulatedMarket, month: date) -> bytes:
    """Prices with names and units in two rows of the header, indices with names in three of them."""
    frame = macro.pink_sheet(market, released(month)).filter(pl.col("month") <= month)
    months = [f"{m:%Y}M{m:%m}" for m in frame["month"]]
    updated = f"Updated on {released(month):%B %d, %Y}"
    prices: list[list[Cell]] = [
        [TITLE],
        ["monthly prices in nominal US dollars, 1960 to present"],
        [None],
        [updated],
        [None, *(name + " **" * (name == "Natural gas, US") for name in macro.PRICES), "Coal, South African **"],
        [None, *(f"({unit})" for unit, _ in macro.PRICES.values()), "($/mt)"],
        *([m, *row, "…"] for m, row in zip(months, frame.select(*macro.PRICES).iter_rows(), strict=True)),
    ]
    indices: list[list[Cell]] = [
        [TITLE],
        ["monthly indices based on nominal US dollars, 2010=100, 1960 to present"],
        [updated],
        [None],
        [None, "Energy", "Non-energy"],
        [None, None, None, "Agriculture", "Metals  & Minerals", "Precious Metals"],
        *([m, *row] for m, row in zip(months, frame.select(*macro.INDICES).iter_rows(), strict=True)),
    ]
    return xlsx({"AFOSHEET": [["About"]], "Monthly Prices": prices, "Monthly Indices": indices})
