"""What the Binance tables share: names of the day, paging, the twelve fields of a kline, and the road over the archive's files.

Both hosts answer ascending rows from `startTime` to `endTime` (both inclusive, milliseconds), at most `limit` of them. A row is
the same by REST and from the archive (`_bulk.py`): same values, same `available_at`, same `source`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import BadPayloadError, GeoBlockedError, NotPublishedYetError
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.sources import _bulk as bulk
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._bulk import File, Layout, Part

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

INVALID_SYMBOL = "-1121"
SHORT = 8 * DAY
"""Up to this length a window of bars is asked for by REST alone: one call a coin."""
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
KLINES: Layout = {
    "open_time": ("ts", bulk.instant),
    **{name: (name, bulk.number) for name in ("open", "high", "low", "close", "volume")},
    "close_time": None,
    "quote_volume": ("quote_volume_usd", bulk.number),
    "count": ("trades", bulk.whole),
    "taker_buy_volume": ("taker_buy_volume", bulk.number),
}
FUNDING: Layout = {
    "calc_time": ("ts", bulk.instant),
    "funding_interval_hours": None,
    "last_funding_rate": ("funding_rate", bulk.number),
}


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
    folder: str = ""
    kind: str = "klines"
    """Where the archive has the same rows; nowhere without a folder."""


def spans(coin: Coin, window: Window, provider: str) -> list[tuple[str, Window]]:
    """(exchange symbol, part of `window` in which it held), split where the coin was renamed and cut at its delisting."""
    end = window.end if coin.delisted is None else min(window.end, midnight(coin.delisted))
    cuts = sorted({window.start, end, *(midnight(day) for _, day in coin.former if window.start < midnight(day) < end)})
    parts = [Window(a, b) for a, b in itertools.pairwise(cuts) if b <= end]
    return [(symbol_on(coin, provider, part.start.date()), part) for part in parts]


def symbol_on(coin: Coin, provider: str, day: date) -> str:
    """The exchange symbol of a coin, for example BTCUSDT."""
    return coin.name_at(provider, day).split(":")[0].replace("/", "")


def present(http: Http, provider: str, day: date) -> dict[str, str]:
    """Exchange symbol -> our symbol of the coins that trade on `day`."""
    return {symbol_on(coin, provider, day): coin.symbol for coin in http.universe if coin.is_listed(day)}


def parts(http: Http, provider: str, window: Window, now: datetime) -> list[Part]:
    """The universe under its names of the day, up to `now`; empty for a window in the future."""
    if window.start >= now:
        return []
    past = Window(window.start, min(window.end, now))
    return [Part(coin, symbol, part) for coin in http.universe for symbol, part in spans(coin, past, provider)]


def require(frames: list[pl.DataFrame], asked: list[Part], provider: str, what: str) -> None:
    """Raises NotPublishedYetError if no frame has a row although a coin was listed for a whole day or more."""
    due = [part.coin.symbol for part in asked if _is_due(part.coin, part.window)]
    if due and not any(frame.height for frame in frames):
        start, end = min(part.window.start for part in asked), max(part.window.end for part in asked)
        names = ", ".join(dict.fromkeys(due))
        raise NotPublishedYetError(
            provider, f"{what}: expected rows of {names} from {start} to {end}, found empty lists only: ask again later"
        )


def klines(http: Http, endpoint: Endpoint, window: Window) -> pl.DataFrame:
    """All closed bars of the universe in `window`, columns of a CandleTable without `source` and `available_at`.

    In a window longer than `SHORT` the closed months come from the archive's monthly files, where it has them; the rest, which
    is a page or two of each coin, comes by REST. Where the exchange does not serve this address (HTTP 451), the days come from
    the archive too, and only if one of them is not there yet the refusal stands.
    """
    now = http.now()
    asked = parts(http, endpoint.provider, window, now)
    monthly = _bar_files(bulk.months, endpoint, asked, now) if window.end - window.start > SHORT else []
    frames, rest = bulk.archived(asked, bulk.sound(http, monthly, KLINES))
    try:
        found = [(part, pages(http, endpoint, part, lambda row: row[0])) for part in rest]
        frames += [_bars(endpoint, part, rows, now) for part, rows in found if rows]
    except GeoBlockedError as refusal:
        daily = _bar_files(bulk.days, endpoint, rest, now)
        frames += bulk.instead(refusal, rest, bulk.sound(http, daily, KLINES))
    require(frames, asked, endpoint.provider, endpoint.method)
    return pl.concat(frames) if frames else CandleTable.empty().drop("source", "available_at")


def _bar_files(choose: Callable[..., list[File]], endpoint: Endpoint, asked: list[Part], now: datetime) -> list[File]:
    """The files of `bulk.months` or `bulk.days` that hold the endpoint's bars; none for one that the archive has not."""
    if not endpoint.folder:
        return []
    interval = dict(endpoint.params)["interval"]
    return [f for p in asked for f in choose(endpoint.folder, endpoint.kind, p.symbol, p.window, now, interval)]


def _bars(endpoint: Endpoint, part: Part, rows: list[Any], now: datetime) -> pl.DataFrame:
    where = f"{endpoint.method} {part.symbol}"
    columns = {n: payload.field(rows, k, read, endpoint.provider, where, n) for k, (n, read) in enumerate(_FIELDS)}
    closed = payload.frame_of(columns).filter(pl.col("close_time") < now).drop("close_time")
    return closed.with_columns(symbol=pl.lit(part.coin.symbol))


def funding(http: Http, endpoint: Endpoint, window: Window) -> pl.DataFrame:
    """Settlements of the universe in `window`: symbol, ts (floored to the second), funding_rate, mark_price (or null).

    Special settlements (dividends of tokenised stocks) are left out. By REST, even in a long window: a call holds 11 months,
    and the archive's monthly files have no mark price. They stand in, with a null there, where the exchange does not serve this
    address (HTTP 451).
    """
    now = http.now()
    asked = parts(http, endpoint.provider, window, now)
    try:
        found = [(part, pages(http, endpoint, part, lambda row: row["fundingTime"])) for part in asked]
        frames = [_settlements(endpoint, part, rows) for part, rows in found if rows]
    except GeoBlockedError as refusal:
        monthly = [f for p in asked for f in bulk.months(endpoint.folder, "fundingRate", p.symbol, p.window, now)]
        frames = bulk.instead(refusal, asked, bulk.sound(http, monthly, FUNDING), _without_mark)
    require(frames, asked, endpoint.provider, endpoint.method)
    return pl.concat(frames) if frames else pl.DataFrame()


def _settlements(endpoint: Endpoint, part: Part, rows: list[Any]) -> pl.DataFrame:
    where = f"{endpoint.method} {part.symbol}"
    regular = [row for row in rows if row.get("rateType", "Regular") == "Regular"]
    prices = [{"markPrice": None, **row} for row in regular]  # absent in rows before 2023-11
    columns = {
        "ts": payload.field(regular, "fundingTime", payload.milliseconds, endpoint.provider, where),
        "funding_rate": payload.field(regular, "fundingRate", payload.number, endpoint.provider, where),
        "mark_price": payload.field(prices, "markPrice", payload.number_or_none, endpoint.provider, where),
    }
    frame = payload.frame_of(columns).with_columns(pl.col("funding_rate", "mark_price").cast(pl.Float64))
    return frame.with_columns(pl.col("ts").dt.truncate("1s"), symbol=pl.lit(part.coin.symbol))


def _without_mark(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("ts").dt.truncate("1s"), mark_price=pl.lit(None, pl.Float64))


def _is_due(coin: Coin, window: Window) -> bool:
    return window.end - window.start >= DAY and all(coin.is_listed(day) for day in window.days)


def pages(http: Http, endpoint: Endpoint, part: Part, time_of: Callable[[Any], Any]) -> list[Any]:
    """Every row of one part. A page that is empty though the coin is listed is asked for once more before it is believed."""
    start, end = ms(part.window.start), ms(part.window.end)
    rows: list[Any] = []
    while start < end:
        span = {"startTime": start, "endTime": end - 1, "limit": endpoint.limit}
        found = page(http, endpoint.provider, endpoint.method, part, {**dict(endpoint.params), **span})
        rows += found
        if len(found) < endpoint.limit:
            break
        where = f"{endpoint.method} {part.symbol}"
        try:
            last = int(time_of(found[-1]))
        except (LookupError, TypeError, ValueError):
            raise BadPayloadError(endpoint.provider, f"{where}: the last row has no time: {str(found[-1])[:80]}") from None
        if last < start:
            raise BadPayloadError(endpoint.provider, f"{where}: the last row must be later than {start}, was of {last}")
        start = last + int(endpoint.step.total_seconds() * 1000)
    return rows


def page(http: Http, provider: str, method: str, part: Part, params: dict[str, Any]) -> list[Any]:
    """One page of one symbol, asked for again where it is empty though the coin is listed; empty for an unlisted symbol."""
    is_due = _is_due(part.coin, part.window)
    for _ in range(1 + is_due):
        try:
            answer = http.call(provider, method, {"symbol": part.symbol, **params})
        except BadPayloadError as error:
            if INVALID_SYMBOL in str(error) and not is_due:
                return []
            raise
        if rows := payload.entries(answer, provider, f"{method} {part.symbol}"):
            return rows
    return []


def minute_of(moment: datetime) -> datetime:
    """The minute the moment lies in: `ts` of a snapshot."""
    return moment.replace(second=0, microsecond=0)


def ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)
