"""ECB data portal: `/service/data/EXR/D.{currencies}.EUR.SP00.A`, rates against the euro as CSV; day D from 14:30 UTC."""

from __future__ import annotations

from datetime import date, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import midnight
from crypto_assets.sandbox import macro
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.defi import within
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get
from crypto_assets.sandbox.endpoints.frankfurter import PUBLISHED

HEADER = "KEY,FREQ,CURRENCY,CURRENCY_DENOM,EXR_TYPE,EXR_SUFFIX,TIME_PERIOD,OBS_VALUE,OBS_STATUS"
EMPTY = f"{HEADER}\n".encode()


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/service/data/EXR/{series}", lambda request: _series(world, request))]


def _series(world: World, request: Request) -> Response:
    frequency, currencies, *rest = request.path_params["series"].split(".")
    if (frequency, rest) != ("D", ["EUR", "SP00", "A"]) or request.query_params.get("format") != "csvdata":
        return Response(b"No results found.", 404, media_type="text/plain")
    published = (world.now() - PUBLISHED).date()
    first = date.fromisoformat(request.query_params.get("startPeriod", FIRST_DAY.isoformat()))
    last = min(date.fromisoformat(request.query_params.get("endPeriod", published.isoformat())), published)
    rates = within(macro.per_euro(world.market, max(last, FIRST_DAY)), midnight(first), midnight(last) + timedelta(hours=1))
    rows = [
        f"EXR.D.{name}.EUR.SP00.A,D,{name},EUR,SP00,A,{ts:%Y-%m-%d},{value},A"
        for name in sorted(currencies.split("+"))
        if name in macro.PER_EURO
        for ts, value in rates.select("ts", name).iter_rows()
    ]
    return Response("\n".join([HEADER, *rows]).encode() + b"\n", media_type="text/csv")
