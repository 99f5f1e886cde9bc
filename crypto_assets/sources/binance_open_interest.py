"""Open interest and positioning in Binance USD-M perpetuals: the last known values of each hour.

Closed days come from the daily metrics files of data.binance.vision (keyless, from 2020-09-01, one row every five minutes, at
about 08:30 UTC of the next day). What they have not yet comes by `GET /futures/data/...` of fapi.binance.com: open interest and
four ratios, five-minute rows, at most 500 a call, 1000 calls in 5 minutes, **the last 30 days only**. Ratios are rounded to the
four digits that REST has, so a row is the same on both roads; the files blank some values of some days. An hour's row is known
when the hour is over. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.sources import _bulk as bulk
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._binance import Endpoint, Part, pages, parts, require
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = "binance_futures"
RATIOS = ("top_account_ratio", "top_position_ratio", "account_ratio", "taker_ratio")
VALUES = ("open_interest", "open_interest_usd", *RATIOS)
LAYOUT: bulk.Layout = {
    "create_time": ("ts", bulk.clock),
    "symbol": None,
    "sum_open_interest": ("open_interest", bulk.number_or_none),
    "sum_open_interest_value": ("open_interest_usd", bulk.number_or_none),
    "count_toptrader_long_short_ratio": ("top_account_ratio", bulk.number_or_none),
    "sum_toptrader_long_short_ratio": ("top_position_ratio", bulk.number_or_none),
    "count_long_short_ratio": ("account_ratio", bulk.number_or_none),
    "sum_taker_long_short_vol_ratio": ("taker_ratio", bulk.number_or_none),
}
METHODS: dict[str, dict[str, str]] = {
    "fapiDataGetOpenInterestHist": {"open_interest": "sumOpenInterest", "open_interest_usd": "sumOpenInterestValue"},
    "fapiDataGetTopLongShortAccountRatio": {"top_account_ratio": "longShortRatio"},
    "fapiDataGetTopLongShortPositionRatio": {"top_position_ratio": "longShortRatio"},
    "fapiDataGetGlobalLongShortAccountRatio": {"account_ratio": "longShortRatio"},
    "fapiDataGetTakerlongshortRatio": {"taker_ratio": "buySellRatio"},
}
"""REST method -> our column -> its field."""


class RawBinanceOpenInterest(RawTable):
    """One row per coin and hour; `ts` is the hour's begin."""

    name = "raw/binance_open_interest"

    symbol: str = Field(meaning="our symbol")
    open_interest: float | None = Field(ge=0, unit="coins", meaning="open contracts")
    open_interest_usd: float | None = Field(ge=0, unit="USDT", meaning="worth of the open contracts")
    top_account_ratio: float | None = Field(ge=0, meaning="accounts of top traders that are long over those short")
    top_position_ratio: float | None = Field(ge=0, meaning="positions of top traders, long over short")
    account_ratio: float | None = Field(ge=0, meaning="all accounts that are long over those short")
    taker_ratio: float | None = Field(ge=0, meaning="takers' buys over sells in the last five minutes")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed hours of every coin in `window`; none where neither a file nor the last 30 days of REST have the day.

    A file that is missing or broken is made up for by REST as far as that reaches. Raises a SourceError: BadPayloadError for a
    broken file of an older day, NotPublishedYetError if no listed coin has any row of the days that REST reaches.
    """
    now = http.now()
    reach = midnight((now - 29 * DAY).date())
    frames: list[pl.DataFrame] = []
    if window.start < reach:
        frames += _old(http, Window(window.start, min(window.end, reach)), now)
    if window.end > reach:
        frames += _recent(http, Window(max(window.start, reach), window.end), now)
    return SOURCE.rows(pl.concat(frames), window, now) if frames else RawBinanceOpenInterest.empty()


def _old(http: Http, window: Window, now: datetime) -> list[pl.DataFrame]:
    """From the files alone."""
    asked = parts(http, PROVIDER, window, now)
    return bulk.archived(asked, bulk.read(http, _files(asked, now), LAYOUT), last_of_hours)[0]


def _recent(http: Http, window: Window, now: datetime) -> list[pl.DataFrame]:
    """From the files, and what they lack by REST."""
    asked = parts(http, PROVIDER, window, now)
    frames, rest = bulk.archived(asked, bulk.sound(http, _files(asked, now), LAYOUT), last_of_hours)
    for part in rest:
        rows = pl.concat([_rows(http, part, method) for method in METHODS], how="diagonal")
        if rows.height:
            frames.append(last_of_hours(rows).with_columns(symbol=pl.lit(part.coin.symbol)))
    require(frames, asked, PROVIDER, "futures/data")
    return frames


def _files(asked: list[Part], now: datetime) -> list[bulk.File]:
    return [f for p in asked for f in bulk.days("futures/um", "metrics", p.symbol, p.window, now)]


def _rows(http: Http, part: Part, method: str) -> pl.DataFrame:
    """`ts` and the columns of one method, a day a call: documents do not say which end of a longer span is left out."""
    endpoint = Endpoint(PROVIDER, method, limit=500, step=timedelta(minutes=5), params=(("period", "5m"),))
    days = [Part(part.coin, part.symbol, day) for day in part.window.chunks(1)]
    rows = [row for day in days for row in pages(http, endpoint, day, lambda row: row["timestamp"])]
    where = f"{method} {part.symbol}"
    columns = {ours: payload.field(rows, theirs, payload.number, PROVIDER, where) for ours, theirs in METHODS[method].items()}
    times = payload.field(rows, "timestamp", payload.milliseconds, PROVIDER, where)
    schema = {name: pl.Float64 for name in columns} | {"ts": UTC_US}
    return pl.DataFrame({"ts": times, **columns}, schema_overrides=schema)


def last_of_hours(rows: pl.DataFrame) -> pl.DataFrame:
    """The last value of each column and hour, `ts` the hour's begin."""
    hourly = rows.sort("ts").group_by(pl.col("ts").dt.truncate(HOUR), maintain_order=True)
    last = hourly.agg(pl.col(VALUES).drop_nulls().last())
    return last.with_columns(pl.col(RATIOS).round(4))


SOURCE = Source(
    table=RawBinanceOpenInterest,
    fetch=fetch,
    provider=PROVIDER,
    available_at=pl.col("ts") + HOUR,
    pool=PROVIDER,
    freshness=timedelta(hours=26),
    terms="Binance terms of use; own use, no redistribution",
)
