"""DefiLlama stablecoins: `/stablecoincharts/all`; the date is a text of seconds, amounts stand under their peg."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import midnight
from crypto_assets.sandbox import defi
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.endpoints.defillama import KNOWN_AFTER, final_day
from crypto_assets.sandbox.series import days

EMPTY = b"[]"
EURO_SHARE = 0.002
"""What is pegged to the euro, beside the dollar."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/stablecoincharts/all", lambda _: _all(world))]


def _all(world: World) -> Response:
    now = world.now()
    rows = [_row(*row) for row in defi.stablecoins(world.market, final_day(now)).iter_rows()]
    last = rows[-1]
    rows += [{**last, "date": _seconds(midnight(d))} for d in days(final_day(now) + timedelta(days=1), now.date())]
    return json_text(json.dumps(rows))


def _seconds(moment) -> str:
    return str(int(moment.timestamp()))


def _row(ts, circulating: float, circulating_usd: float) -> dict:
    euro = EURO_SHARE * circulating
    return {
        "date": _seconds(ts),
        "totalCirculating": {"peggedUSD": circulating, "peggedEUR": euro},
        "totalUnreleased": {"peggedUSD": 0, "peggedEUR": 0},
        "totalCirculatingUSD": {"peggedUSD": circulating_usd, "peggedEUR": 1.08 * euro},
        "totalMintedUSD": {"peggedUSD": 0, "peggedEUR": 0},
    }


def _rows(market, start, end, symbols) -> pl.DataFrame:
    frame = defi.within(defi.stablecoins(market, defi.last_day(end)), start, end)
    return frame.with_columns(available_at=pl.col("ts") + KNOWN_AFTER)


TABLES = {"defillama_stablecoins": _rows}
