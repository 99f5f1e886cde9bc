"""What the three Binance tables share: names of the day, paging, the twelve fields of a kline.

Both hosts answer ascending rows from `startTime` to `endTime` (both inclusive, milliseconds), at most `limit` of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.sources import _payload as payload

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

INVALID_SYMBOL = "-1121"
_FIELDS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("ts", payload.milliseconds),
    ("open", payload.number),
    ("high", payload.number),
    ("low", payload.number),
    ("close", payload.number),
    ("volume", payload.number),
    ("close_time", payload.milliseconds),
    ("quote_volume_usd", payload.number),
    ("trades", payload.integer),
    ("taker_buy_volume", payload.number),
)


class CandleTable(RawTable):
    """Columns of a table of hourly candles; `ts` is the bar's open."""

    cadence = HOUR

    symbol: str = Field(meaning="our symbol")
    open: float = Field(gt=0, unit="USDT", meaning="first price")
    high: float = Field(gt=0, unit="USDT", meaning="highest price")
    low: float = Field(gt=0, unit="USDT", meaning="lowest price")
    close: float = Field(gt=0, unit="USDT", meaning="last price")
    volume: float = Field(ge=0, unit="coins", meaning="base volume")
    quote_volume_usd: float | None = Field(ge=0, unit="USDT", meaning="quote volume")
    trades: int | None = Field(ge=0, meaning="number of trades")
    taker_buy_volume: float | None = Field(ge=0, unit="coins", meaning="base volume bought by takers")

    @classmethod
    def rules(cls) -> dict[str, pl.Expr]:
        """The range of a bar holds its open and close."""
        high, low = pl.col("high"), pl.col("low")
        return {
            "high >= low": high >= low,
            "high >= open": high >= pl.col("open"),
            "high >= close": high >= pl.col("close"),
            "low <= open": low <= pl.col("open"),
            "low <= close": low <= pl.col("close"),
        }


@dataclass(frozen=True)
class Endpoint:
    """One ccxt method that pages through time."""

    provider: str
    method: str
    limit: int
    step: timedelta
    """Rows are at least this far apart."""
    params: tuple[tuple[str, str], ...] = ()


def spans(coin: Coin, window: Window, provider: str) -> list[tuple[str, Window]]:
    """(exchange symbol, part of `window` in which it held), split where the coin was renamed and cut at its delisting."""
    end = window.end if coin.delisted is None else min(window.end, midnight(coin.delisted))
    cuts = sorted({window.start, end, *(midnight(day) for _, day in coin.former if window.start < midnight(day) < end)})
    parts = [Window(a, b) for a, b in itertools.pairwise(cuts) if b <= end]
    return [(coin.name_at(provider, part.start.date()).split(":")[0].replace("/", ""), part) for part in parts]


def klines(http: Http, endpoint: Endpoint, window: Window) -> pl.DataFrame:
    """All closed bars of the universe in `window`, columns of a CandleTable without `source` and `available_at`."""
    frames = []
    for coin, symbol, rows in _rows(http, endpoint, window, lambda row: row[0]):
        where = f"{endpoint.method} {symbol}"
        columns = {n: payload.field(rows, k, read, endpoint.provider, where, n) for k, (n, read) in enumerate(_FIELDS)}
        closed = payload.frame_of(columns).filter(pl.col("close_time") < http.now()).drop("close_time")
        frames.append(closed.with_columns(symbol=pl.lit(coin.symbol)))
    return pl.concat(frames) if frames else CandleTable.empty().drop("source", "available_at")


def funding(http: Http, endpoint: Endpoint, window: Window) -> pl.DataFrame:
    """Settlements of the universe in `window`: symbol, ts (floored to the second), funding_rate, mark_price (or null).

    Special settlements (dividends of tokenised stocks) are left out.
    """
    frames = []
    for coin, symbol, rows in _rows(http, endpoint, window, lambda row: row["fundingTime"]):
        where = f"{endpoint.method} {symbol}"
        regular = [row for row in rows if row.get("rateType", "Regular") == "Regular"]
        prices = [{"markPrice": None, **row} for row in regular]  # absent in rows before 2023-11
        columns = {
            "ts": payload.field(regular, "fundingTime", payload.milliseconds, endpoint.provider, where),
            "funding_rate": payload.field(regular, "fundingRate", payload.number, endpoint.provider, where),
            "mark_price": payload.field(prices, "markPrice", payload.number_or_none, endpoint.provider, where),
        }
        frame = payload.frame_of(columns).with_columns(pl.col("ts").dt.truncate("1s"), pl.col("mark_price").cast(pl.Float64))
        frames.append(frame.with_columns(symbol=pl.lit(coin.symbol)))
    return pl.concat(frames) if frames else pl.DataFrame()


def _rows(http: Http, endpoint: Endpoint, window: Window, time_of: Callable[[Any], Any]) -> list[tuple[Coin, str, list[Any]]]:
    """(coin, exchange symbol, its rows) for every coin and name. Raises NotPublishedYetError if no listed coin has any."""
    now = http.now()
    if window.start >= now:
        return []
    past = Window(window.start, min(window.end, now))
    found = [
        (coin, symbol, _pages(http, endpoint, coin, symbol, part, time_of))
        for coin in http.universe
        for symbol, part in spans(coin, past, endpoint.provider)
    ]
    due = [coin.symbol for coin in http.universe if _is_due(coin, past)]
    if due and not any(rows for _, _, rows in found):
        raise NotPublishedYetError(
            endpoint.provider,
            f"{endpoint.method}: expected rows of {', '.join(due)} from {past.start} to {past.end}, found empty lists only: "
            f"ask again later",
        )
    return [entry for entry in found if entry[2]]


def _is_due(coin: Coin, window: Window) -> bool:
    return window.end - window.start >= DAY and all(coin.is_listed(day) for day in window.days)


def _pages(http: Http, endpoint: Endpoint, coin: Coin, symbol: str, window: Window, time_of: Callable[[Any], Any]) -> list[Any]:
    """Every row of one symbol. A page that is empty though the coin is listed is asked for once more before it is believed."""
    start, end = _ms(window.start), _ms(window.end)
    rows: list[Any] = []
    while start < end:
        params = {"symbol": symbol, **dict(endpoint.params), "startTime": start, "endTime": end - 1, "limit": endpoint.limit}
        page = _page(http, endpoint, coin, params, window)
        if not page and _is_due(coin, window):
            page = _page(http, endpoint, coin, params, window)
        rows += page
        if len(page) < endpoint.limit:
            break
        where = f"{endpoint.method} {symbol}"
        try:
            last = int(time_of(page[-1]))
        except (LookupError, TypeError, ValueError):
            raise BadPayloadError(endpoint.provider, f"{where}: the last row has no time: {str(page[-1])[:80]}") from None
        if last < start:
            raise BadPayloadError(endpoint.provider, f"{where}: the last row must be later than {start}, was of {last}")
        start = last + int(endpoint.step.total_seconds() * 1000)
    return rows


def _page(http: Http, endpoint: Endpoint, coin: Coin, params: dict[str, Any], window: Window) -> list[Any]:
    try:
        answer = http.call(endpoint.provider, endpoint.method, params)
    except BadPayloadError as error:
        if INVALID_SYMBOL in str(error) and not _is_due(coin, window):
            return []
        raise
    return payload.entries(answer, endpoint.provider, f"{endpoint.method} {params['symbol']}")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
