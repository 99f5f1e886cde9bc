"""Yahoo Finance: `/v8/finance/chart/{ticker}`, daily bars in parallel lists; single precision, times of midnight in New York.

The dollar index and oil are near those of their publishers, gold near PAXG. A running session is appended.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY
from crypto_assets.sandbox import macro
from crypto_assets.sandbox.daily import FIRST_DAY, is_trading_day
from crypto_assets.sandbox.defi import last_day, within
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.series import noise

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"chart":{"result":null,"error":null}}'
ZONE = ZoneInfo("America/New_York")
KNOWN_AFTER = timedelta(hours=30)
TICKERS = ("DX-Y.NYB", "GC=F", "SI=F", "CL=F")
NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
NO_TRADE = (12, 24)
"""A session that has a time but no prices."""


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/v8/finance/chart/{ticker}", lambda request: _chart(world, request))]


def _chart(world: World, request: Request) -> Response:
    ticker, query = request.path_params["ticker"], request.query_params
    if ticker not in TICKERS or query.get("interval") != "1d":
        return json_text(json.dumps({"chart": {"result": None, "error": NOT_FOUND}}), 404)
    now = world.now()
    first, last = (datetime.fromtimestamp(int(query[name]), UTC) for name in ("period1", "period2"))
    times, rows = [], []
    for ts, *values in bars(world.market, ticker, now.date()).iter_rows():
        opened = datetime(ts.year, ts.month, ts.day, tzinfo=ZONE).astimezone(UTC)
        if first <= opened < last and opened <= now:
            running = opened + DAY > now
            times.append(int((now if running else opened).timestamp()))
            rows.append(
                [None] * 5
                if (ts.month, ts.day) == NO_TRADE
                else [*values[:3], values[3] * (1.001 if running else 1), values[4]]
            )
    columns = dict(zip(("open", "high", "low", "close", "volume"), zip(*rows, strict=True) if rows else [()] * 5, strict=True))
    meta = {"currency": "USD", "symbol": ticker, "gmtoffset": -18000, "exchangeTimezoneName": "America/New_York"}
    result = {
        "meta": meta,
        "timestamp": times,
        "indicators": {"quote": [columns], "adjclose": [{"adjclose": columns["close"]}]},
    }
    return json_text(json.dumps({"chart": {"result": [result], "error": None}}))


@lru_cache(maxsize=16)
def bars(market: SimulatedMarket, ticker: str, last: date) -> pl.DataFrame:
    """ts, open, high, low, close, volume of the trading days up to `last`, in single precision."""
    known = {
        "DX-Y.NYB": lambda: macro.per_dollar(market, last).select("ts", close="dxy_ecb"),
        "GC=F": lambda: macro.token_gold(market, last),
        "SI=F": lambda: macro.metals(market, last).select("ts", close="silver"),
        "CL=F": lambda: macro.oil(market, last).select("ts", close="WTI"),
    }[ticker]()
    frame = macro.on(known, is_trading_day)
    drawn = noise(market.randomness, f"yahoo:{ticker}", FIRST_DAY, last, width=4)
    drawn = drawn[[(ts.date() - FIRST_DAY).days for ts in frame["ts"]]]
    close = frame["close"].to_numpy() * (1 + 0.001 * drawn[:, 0])
    opened = close * (1 + 0.004 * drawn[:, 1])
    high, low = (
        np.maximum(opened, close) * (1 + 0.003 * abs(drawn[:, 2])),
        np.minimum(opened, close) * (1 - 0.003 * abs(drawn[:, 3])),
    )
    single = {
        n: v.astype(np.float32).astype(np.float64)
        for n, v in (("open", opened), ("high", high), ("low", low), ("close", close))
    }
    volume = np.zeros(len(close)) if ticker == "DX-Y.NYB" else np.rint(2e5 * np.exp(0.3 * drawn[:, 2]))
    return frame.select("ts").with_columns(**{n: pl.Series(v) for n, v in single.items()}, volume=pl.Series(volume))


def _rows(market, start, end, symbols) -> pl.DataFrame:
    frames = [within(bars(market, t, last_day(end)), start, end).with_columns(ticker=pl.lit(t)) for t in TICKERS]
    there = (pl.col("ts").dt.month() != NO_TRADE[0]) | (pl.col("ts").dt.day() != NO_TRADE[1])
    return pl.concat(frames).filter(there).with_columns(available_at=pl.col("ts") + KNOWN_AFTER)


TABLES = {"yahoo_chart": _rows}
