"""CoinDesk Data: `/index/cc/v1/historical/hours`, `/news/v1/article/list`; keyed, wrapped as `{"Data": ..., "Err": {}}`.

The index is the perpetual's price over both venues' volume. Headlines are those of the market, each published within the half
hour before its file at GDELT and taken in some minutes later.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._coindesk import has_key
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.simulator import SimulatedMarket

EMPTY = b'{"Data":[],"Err":{}}'
MOST_HOURS, DEFAULT_HOURS = 2000, 30
MOST_ARTICLES, DEFAULT_ARTICLES = 100, 50
SLOWEST = timedelta(hours=1)
"""No article is published longer than this before its file at GDELT."""


class RefusedError(Exception):
    """An answer in the provider's error format."""

    def __init__(self, status: int, kind: int, message: str) -> None:
        super().__init__(message)
        trouble = {"type": kind, "message": message, "other_info": {}, "http_status_code": status}
        self.response = json_text(json.dumps({"Data": {}, "Err": trouble}), status)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""

    def answering(handler: Callable[[World, Request], list]) -> Callable[[Request], Response]:
        def guarded(request: Request) -> Response:
            try:
                if not has_key(request):
                    raise RefusedError(401, 2, "API key required. Get one at developers.coindesk.com")
                return json_text(json.dumps({"Data": handler(world, request), "Err": {}}))
            except RefusedError as refused:
                return refused.response

        return guarded

    return [
        get("/index/cc/v1/historical/hours", answering(_hours)),
        get("/news/v1/article/list", answering(_articles)),
    ]


def _hours(world: World, request: Request) -> list[dict]:
    query, now = request.query_params, world.now()
    base, _, quote = query.get("instrument", "").partition("-")
    if query.get("market") != "cadli" or query.get("fill") != "false":
        raise RefusedError(400, 1, "The sandbox has market=cadli and fill=false only.")
    if base not in world.market.symbols or quote != "USD":
        raise RefusedError(404, 1, f"instrument {query.get('instrument')} was not found on market cadli")
    limit = _number(query.get("limit"), DEFAULT_HOURS, MOST_HOURS)
    last = datetime.fromtimestamp(_number(query.get("to_ts"), int(now.timestamp()), 2**40), UTC)
    end = min(last + timedelta(microseconds=1), now)
    frame = index_rows(world.market, base, end - (limit + 24) * HOUR, end).tail(limit)
    return [_hour(row, base, now) for row in frame.iter_rows(named=True)]


def _hour(row: dict, base: str, now: datetime) -> dict:
    """One value; of an open hour only the first price is known."""
    if row["ts"] + HOUR > now:
        row = {**row, **dict.fromkeys(("high", "low", "close"), row["open"]), "volume": 0.0, "quote_volume_usd": 0.0}
    begin = int(row["ts"].timestamp())
    prices = {name.upper(): row[name] for name in ("open", "high", "low", "close", "volume")}
    head = {"UNIT": "HOUR", "TIMESTAMP": begin, "TYPE": "267", "MARKET": "cadli", "INSTRUMENT": f"{base}-USD"}
    return {**head, **prices, "QUOTE_VOLUME": row["quote_volume_usd"], "TOTAL_INDEX_UPDATES": 3600}


def index_rows(market: SimulatedMarket, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
    """ts, open, high, low, close, volume, quote_volume_usd of hours that begin in `[start, end)`."""
    perp, spot = (market.candles(symbol, venue, start, end) for venue in ("perp", "spot"))
    both = perp.join(spot.select("ts", "volume", "quote_volume_usd"), on="ts", how="left", suffix="_spot")
    volumes = [pl.col(name) + pl.col(f"{name}_spot") for name in ("volume", "quote_volume_usd")]
    return both.select("ts", "open", "high", "low", "close", *volumes)


def _articles(world: World, request: Request) -> list[dict]:
    """Newest first, published at or before `to_ts`."""
    query, now = request.query_params, world.now()
    if query.get("lang", "EN") != "EN":
        return []
    limit = _number(query.get("limit"), DEFAULT_ARTICLES, MOST_ARTICLES)
    last = datetime.fromtimestamp(_number(query.get("to_ts"), int(now.timestamp()), 2**40), UTC)
    end = min(last, now) + timedelta(seconds=1)
    frame = articles(world.market, end - 2 * DAY, end).filter(pl.col("taken_in_at") <= now)
    return [_article(row) for row in frame.sort("ts", "id", descending=True).head(limit).iter_rows(named=True)]


def _article(row: dict) -> dict:
    return {
        "TYPE": "121",
        "ID": int(row["id"]),
        "GUID": row["url"],
        "PUBLISHED_ON": int(row["ts"].timestamp()),
        "TITLE": row["title"],
        "URL": row["url"],
        "AUTHORS": "A. Writer",
        "BODY": f"{row['title']}. More on the site.",
        "KEYWORDS": "",
        "LANG": "EN",
        "SENTIMENT": "NEUTRAL",
        "STATUS": "ACTIVE",
        "CREATED_ON": int(row["taken_in_at"].timestamp()),
        "SOURCE_DATA": {"TYPE": "120", "SOURCE_KEY": row["domain"].split(".")[0], "NAME": row["domain"]},
        "CATEGORY_DATA": [],
    }


def articles(market: SimulatedMarket, start: datetime, end: datetime) -> pl.DataFrame:
    """ts, id, title, url, domain, taken_in_at of articles published in `[start, end)`."""
    frame = market.headlines(start, end + SLOWEST)
    digits = frame["id"].str.split("-")
    number = digits.list.first().cast(pl.Int64) * 1000 + digits.list.last().cast(pl.Int64)
    hashed = [zlib.crc32(text.encode()) for text in frame["id"]]
    early = pl.Series("early", [1000 * (60 + h % 1500) for h in hashed], pl.Duration("ms"))
    late = pl.Series("late", [1000 * (60 + h // 1500 % 540) for h in hashed], pl.Duration("ms"))
    published = frame["ts"] - early
    taken = published + late
    shown = frame.with_columns(ts=published.cast(UTC_US), taken_in_at=taken.cast(UTC_US), id=number.cast(pl.String))
    return shown.filter(pl.col("ts") >= start, pl.col("ts") < end)


def _number(text: str | None, default: int, most: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise RefusedError(400, 1, f"{text} is not a whole number above zero")
    return min(int(text), most)


def _candle_table(market: SimulatedMarket, start: datetime, end: datetime, names: tuple[str, ...]) -> pl.DataFrame:
    frames = [index_rows(market, symbol, start, end).with_columns(symbol=pl.lit(symbol)) for symbol in names]
    return pl.concat(frames).with_columns(available_at=pl.col("ts") + HOUR)


def _news_table(market: SimulatedMarket, start: datetime, end: datetime, _: tuple[str, ...]) -> pl.DataFrame:
    return articles(market, start, end).with_columns(available_at=pl.col("taken_in_at"))


TABLES = {"coindesk_candles": _candle_table, "coindesk_news": _news_table}
