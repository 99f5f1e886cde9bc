"""Files of data.binance.vision: `/data/{spot|futures/um}/{daily|monthly}/...zip` and `.CHECKSUM`, from the simulated market.

Spot has klines and aggTrades (no header row; microseconds from 2025 on), USD-M klines, premiumIndexKlines, metrics, bookDepth
and fundingRate (with a header, milliseconds or text). A day's file is there at 08:35 UTC of the next day, a month's at 08:35 of
the first Monday of the next month; before that, and for what never was, the answer is the object store's 404.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox import positions
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._binance import symbols
from crypto_assets.sandbox.endpoints._binance_market import TABLES as MARKET_TABLES
from crypto_assets.sandbox.endpoints._wire import get
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b""
TABLES = MARKET_TABLES
APPEARS = timedelta(hours=8, minutes=35)
MICROSECONDS_FROM = datetime(2025, 1, 1, tzinfo=UTC)
JITTER_MS = 3
FUNDING_HOURS = 8
_PATH = re.compile(
    r"(?P<folder>spot|futures/um)/(?P<period>daily|monthly)/(?P<kind>\w+)/(?P<symbol>[A-Z0-9]+)/(?:(?P<interval>\w+)/)?"
    r"(?P=symbol)-(?P<stem>\w+)-(?P<stamp>\d{4}-\d\d(?:-\d\d)?)\.zip(?P<sum>\.CHECKSUM)?"
)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    return [get("/data/{path:path}", lambda request: _answer(world, request))]


def _answer(world: World, request: Request) -> Response:
    found = _PATH.fullmatch(request.path_params["path"])
    span = _span(found["period"], found["stamp"]) if found else None
    listed = symbols(world).get(found["symbol"]) if found else None
    if found is None or span is None or listed is None or found["stem"] != (found["interval"] or found["kind"]):
        return _missing()
    make = FILES.get((found["folder"], found["period"], found["kind"], found["interval"]))
    start, end = max(span[0], listed.start), min(span[1], listed.end)
    if make is None or start >= end or _appears(found["period"], span[1]) > world.now():
        return _missing()
    name = f"{found['symbol']}-{found['stem']}-{found['stamp']}"
    body = _packed(world.market, make, listed.symbol, found["symbol"], name, start, end)
    if body is None:
        return _missing()
    if found["sum"]:
        return Response(f"{hashlib.sha256(body).hexdigest()}  {name}.zip\n", media_type="text/plain")
    return Response(body, media_type="application/zip")


def _span(period: str, stamp: str) -> tuple[datetime, datetime] | None:
    try:
        start = datetime.strptime(stamp, "%Y-%m-%d" if period == "daily" else "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        return None
    return start, start + DAY if period == "daily" else (start + 32 * DAY).replace(day=1)


def _appears(period: str, end: datetime) -> datetime:
    return end + APPEARS + (timedelta(days=-end.weekday() % 7) if period == "monthly" else timedelta(0))


Make = Callable[[SimulatedMarket, str, str, datetime, datetime], tuple[str, pl.DataFrame]]
"""Market, our symbol, theirs, span -> header line (or nothing) and the columns in order."""


@lru_cache(maxsize=64)
def _packed(
    market: SimulatedMarket, make: Make, symbol: str, listed_as: str, name: str, start: datetime, end: datetime
) -> bytes | None:
    header, frame = make(market, symbol, listed_as, start, end)
    if frame.is_empty():
        return None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(f"{name}.csv", end.timetuple()[:6])
        text = header + frame.write_csv(include_header=False, float_scientific=False)
        archive.writestr(entry, text, zipfile.ZIP_DEFLATED, compresslevel=1)
    return buffer.getvalue()


def _epoch(column: str, is_spot: bool, start: datetime) -> pl.Expr:
    return pl.col(column).dt.epoch("us" if is_spot and start >= MICROSECONDS_FROM else "ms")


def _klines(venue: str, header: str) -> Make:
    def make(market: SimulatedMarket, symbol: str, _: str, start: datetime, end: datetime) -> tuple[str, pl.DataFrame]:
        frame = market.candles(symbol, venue, start, end)
        unit = 1_000_000 if venue == "spot" and start >= MICROSECONDS_FROM else 1000
        opened = _epoch("ts", venue == "spot", start)
        taken = pl.col("taker_buy_volume") / pl.col("volume") * pl.col("quote_volume_usd")
        columns = (
            *(
                opened.alias("open_time"),
                "open",
                "high",
                "low",
                "close",
                "volume",
                (opened + 3600 * unit - 1).alias("close_time"),
            ),
            *("quote_volume_usd", "trades", "taker_buy_volume", taken.fill_nan(0).round(8).alias("taken"), pl.lit(0)),
        )
        return header, frame.select(columns)

    return make


def _premium(market: SimulatedMarket, symbol: str, _: str, start: datetime, end: datetime) -> tuple[str, pl.DataFrame]:
    opened = pl.col("ts").dt.epoch("ms")
    none = [pl.lit(0).alias(name) for name in ("quote", "count", "taken", "taken_quote", "ignore")]
    closed = (opened + 3_600_000 - 1).alias("close_time")
    frame = positions.premium(market, symbol, start, end)
    return KLINES, frame.select(opened.alias("open_time"), pl.exclude("ts"), pl.lit(0).alias("volume"), closed, *none)


def _trades(market: SimulatedMarket, symbol: str, _: str, start: datetime, end: datetime) -> tuple[str, pl.DataFrame]:
    frame = micro.trades(market, symbol, "spot", start, end)
    maker = pl.when("is_buyer_maker").then(pl.lit("True")).otherwise(pl.lit("False"))
    time = _epoch("ts", True, start)
    columns = ("id", "price", "quantity", "first_trade", "last_trade", time, maker.alias("maker"), pl.lit("True").alias("best"))
    return "", frame.select(columns)


def _metrics(market: SimulatedMarket, symbol: str, listed_as: str, start: datetime, _: datetime) -> tuple[str, pl.DataFrame]:
    frame = positions.metrics(market, symbol, start.date())
    at = pl.col("ts")
    told = frame.sort(at.dt.minute(), at)  # the exchange's rows are not in the order of time
    return METRICS, told.select(at.dt.to_string("%Y-%m-%d %H:%M:%S"), pl.lit(listed_as).alias("symbol"), pl.exclude("ts"))


def _bands(market: SimulatedMarket, symbol: str, _: str, start: datetime, __: datetime) -> tuple[str, pl.DataFrame]:
    frame = positions.bands(market, symbol, start.date())
    has_digits = start.date() >= positions.NARROW_SINCE
    band = (
        pl.format("{}{}", pl.col("band_pct").cast(pl.String), pl.lit("0")) if has_digits else pl.col("band_pct").cast(pl.Int64)
    )
    return BANDS, frame.select(pl.col("ts").dt.to_string("%Y-%m-%d %H:%M:%S"), band.alias("band"), "depth", "notional_usd")


def _funding(market: SimulatedMarket, symbol: str, _: str, start: datetime, end: datetime) -> tuple[str, pl.DataFrame]:
    frame = market.funding(symbol, start, end)
    time = pl.col("ts").dt.epoch("ms") + JITTER_MS
    return FUNDING, frame.select(time, pl.lit(FUNDING_HOURS).alias("hours"), "funding_rate")


def _missing() -> Response:
    return Response(MISSING, 404, media_type="application/xml")


MISSING = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>"
KLINES = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
METRICS = (
    "create_time,symbol,sum_open_interest,sum_open_interest_value,count_toptrader_long_short_ratio,"
    "sum_toptrader_long_short_ratio,count_long_short_ratio,sum_taker_long_short_vol_ratio\n"
)
BANDS = "timestamp,percentage,depth,notional\n"
FUNDING = "calc_time,funding_interval_hours,last_funding_rate\n"
FILES: dict[tuple[str, str, str, str | None], Make] = {
    **{("spot", period, "klines", "1h"): _klines("spot", "") for period in ("daily", "monthly")},
    **{("futures/um", period, "klines", "1h"): _klines("perp", KLINES) for period in ("daily", "monthly")},
    **{("futures/um", period, "premiumIndexKlines", "1h"): _premium for period in ("daily", "monthly")},
    ("spot", "daily", "aggTrades", None): _trades,
    ("futures/um", "daily", "metrics", None): _metrics,
    ("futures/um", "daily", "bookDepth", None): _bands,
    ("futures/um", "monthly", "fundingRate", None): _funding,
}
"""Folder, period, kind and interval -> the rows."""
