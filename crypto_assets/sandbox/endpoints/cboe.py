"""Cboe: `VIX_History.csv`, oldest first, six decimals; day D from 02:00 UTC of D+1."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import BEGINNING, get

HEADER = "DATE,OPEN,HIGH,LOW,CLOSE"
EMPTY = f"{HEADER}\n".encode()
LAG = timedelta(hours=26)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/api/global/us_indices/daily_prices/VIX_History.csv", lambda _: _history(world))]


def _history(world: World) -> Response:
    frame = world.market.vix(BEGINNING, world.now() - LAG + timedelta(microseconds=1))
    rows = [
        f"{ts:%m/%d/%Y}," + ",".join(f"{value:.6f}" for value in values)
        for ts, *values in frame.sort("ts").select("ts", "open", "high", "low", "close").iter_rows()
    ]
    return Response("\n".join([HEADER, *rows]).encode() + b"\n", media_type="text/csv")
