"""US Treasury: par-yield curve CSV of one year, newest first; day D from 22:00 UTC. Other tenors are a fixed spread off."""

from __future__ import annotations

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import BEGINNING, get

PATH = "/resource-center/data-chart-center/interest-rates/daily-treasury-rates.csv/{year:int}/all"
SPREADS = {
    **{"1 Mo": -0.1, "1.5 Mo": -0.1, "2 Mo": -0.1, "3 Mo": -0.15, "4 Mo": -0.15, "6 Mo": -0.2, "1 Yr": -0.3, "2 Yr": -0.4},
    **{"3 Yr": -0.4, "5 Yr": -0.3, "7 Yr": -0.15, "10 Yr": 0.0, "20 Yr": 0.55, "30 Yr": 0.6},
}
HEADER = ",".join(["Date", *(f'"{tenor}"' for tenor in SPREADS)])
EMPTY = f"{HEADER}\n".encode()
LAG = timedelta(hours=22)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get(PATH, lambda request: _year(world, request))]


def _year(world: World, request: Request) -> Response:
    year = request.path_params["year"]
    if request.query_params.get("_format") != "csv" or request.query_params.get("field_tdr_date_value") != str(year):
        return Response(b"<!DOCTYPE html><html><body>Daily Treasury Rates</body></html>", media_type="text/html")
    known = world.now() - LAG + timedelta(microseconds=1)
    frame = world.market.treasury_10y(BEGINNING, known)
    rows = [
        ",".join([f"{ts:%m/%d/%Y}", *(f"{value + spread:.2f}" for spread in SPREADS.values())])
        for ts, value in frame.sort("ts", descending=True).select("ts", "yield_pct").iter_rows()
        if ts.year == year
    ]
    return Response("\n".join([HEADER, *rows]).encode() + b"\n", media_type="text/csv")
