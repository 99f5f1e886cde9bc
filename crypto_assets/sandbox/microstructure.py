"""What happens inside an hourly bar: its trades, prices by the second, minute bars, the rolling day.

One generator for all who show it: REST klines of minutes, aggTrades (REST, archive files, WebSocket), tickers, and the order
book (`sandbox/book.py`). An hour is a pure function of its bar, the market's seed and the absolute hour, so a history of any
market with `candles` and `randomness` can be played, simulated or imported.

The trades of an hour start at its open, end at its close, touch its high and its low, and add up to its volume, taker volume
and number of trades; minute bars are what the trades say, so 60 of them are the hour again. All of this holds in whole lots
(the last decimal the bar shows), not to a rounding. Quote volume is shared out in proportion to price times size: it adds up
over the minutes, but is not the sum of price times size.

An aggregate trade stands for `count` trades of one taker at one price. An hour has at most `intrabar.MOST_AN_HOUR` of them; a
bar of fewer trades than its four prices need has some of count nought.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox import intrabar
from crypto_assets.sandbox.candles import COLUMNS
from crypto_assets.sandbox.randomness import Randomness

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
LOOK_BACK = timedelta(days=7)
"""The last price is looked for this far back."""
BLOCK = timedelta(days=32)
"""Trade ids are counted in steps of this length."""


Row = tuple[float, float, float, float, float, float, int, float]
"""A bar's values in the order of `candles.COLUMNS`."""


class Market(Protocol):
    """What is needed of a market; it is compared by identity."""

    def __hash__(self) -> int: ...

    @property
    def randomness(self) -> Randomness:
        """Its generators."""
        ...

    def candles(self, symbol: str, venue: str, start: datetime, end: datetime) -> pl.DataFrame:
        """Hourly bars: ts, then `candles.COLUMNS`."""
        ...

    def listing(self, symbol: str) -> tuple[datetime, datetime | None]:
        """Open of the first bar, and the moment of delisting or None."""
        ...


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, or what is known of an open one. `first_trade` and `last_trade` are ids, -1 where nothing traded."""

    opened_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume_usd: float
    trades: int
    taker_buy_volume: float
    first_trade: int
    last_trade: int


@dataclass(frozen=True, eq=False)
class Hour:
    """The aggregate trades of one hourly bar in the order of time, one row each."""

    bar: Bar
    ms: np.ndarray
    price: np.ndarray
    lots: np.ndarray
    count: np.ndarray
    is_buy: np.ndarray
    """Whether the taker bought."""
    quote: np.ndarray
    lot: int
    """Lots in one coin."""
    quote_lot: int
    """Units of `quote` in one dollar."""
    first_id: int
    """Aggregate id of the first row."""
    trade_id: np.ndarray
    """Id of the first trade of each row."""

    def between(self, start_ms: int, end_ms: int) -> slice:
        """Rows with `start_ms <= ms < end_ms`."""
        first, last = np.searchsorted(self.ms, (start_ms, end_ms))
        return slice(int(first), int(last))

    def bar_of(self, rows: slice, opened_ms: int, before: float) -> Bar:
        """The bar these rows make; flat at the price `before` without any."""
        if rows.start >= rows.stop:
            return Bar(opened_ms, before, before, before, before, 0.0, 0.0, 0, 0.0, -1, -1)
        price, lots, count = self.price[rows], self.lots[rows], int(self.count[rows].sum())
        bought = int(lots[self.is_buy[rows]].sum())
        first = int(self.trade_id[rows.start])
        return Bar(
            opened_ms,
            float(price[0]),
            float(price.max()),
            float(price.min()),
            float(price[-1]),
            int(lots.sum()) / self.lot,
            int(self.quote[rows].sum()) / self.quote_lot,
            count,
            bought / self.lot,
            first if count else -1,
            first + count - 1 if count else -1,
        )


@lru_cache(maxsize=512)
def hour_of(market: Market, symbol: str, venue: str, hour: int) -> Hour | None:
    """The hour that opens `hour` hours after 1970; None where there is no bar."""
    row = bars_of(market, symbol, venue, hour // 24).get(hour)
    if row is None:
        return None
    opened, high, low, close, volume, quote, trades, bought = row
    rng = market.randomness.generator("microstructure", hour, f"{symbol}/{venue}")
    first_id, first_trade = _offsets(market, symbol, venue, hour)
    n = int(intrabar.aggregates(*(np.array([v]) for v in row))[0])
    lot, quote_lot = max(intrabar.lots_in_one(volume), intrabar.lots_in_one(bought)), intrabar.lots_in_one(quote)
    price = intrabar.path(rng, n, opened, high, low, close)
    ms = hour * HOUR_MS + np.sort(rng.integers(0, HOUR_MS, n))
    is_buy, lots = intrabar.sizes(rng, price, round(volume * lot), round(bought * lot))
    count = intrabar.split(rng.standard_exponential(n), trades)
    bar = Bar(
        hour * HOUR_MS, *row[:6], trades, bought, first_trade if trades else -1, first_trade + trades - 1 if trades else -1
    )
    return Hour(
        bar=bar,
        ms=ms,
        price=price,
        lots=lots,
        count=count,
        is_buy=is_buy,
        quote=intrabar.split(price * lots, round(quote * quote_lot), least=0),
        lot=lot,
        quote_lot=quote_lot,
        first_id=first_id,
        trade_id=first_trade + np.cumsum(count) - count,
    )


def trades(market: Market, symbol: str, venue: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Aggregate trades in `[start, end)`, ascending.

    Columns ts (UTC, whole milliseconds), id, price (USD), quantity (coins), first_trade, last_trade, is_buyer_maker (the taker
    sold). Ids count from the coin's listing without a gap.
    """
    first, last = ms_of(start), ms_of(end)
    parts = [_frame(hour, hour.between(first, last)) for hour in hours_between(market, symbol, venue, first, last)]
    return pl.concat(parts) if parts else pl.DataFrame(schema=_TRADES)


def hours_between(market: Market, symbol: str, venue: str, start_ms: int, end_ms: int) -> list[Hour]:
    """The hours with a bar that meet `[start_ms, end_ms)`, in order."""
    span = range(start_ms // HOUR_MS, -(-end_ms // HOUR_MS))
    found = (hour_of(market, symbol, venue, hour) for hour in span)
    return [hour for hour in found if hour is not None]


def minute_bars(market: Market, symbol: str, venue: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Bars of one minute whose open lies in `[start, end)`, in the columns of `market.candles`; none in hours without a bar."""
    bars = [b for b in minutes_between(market, symbol, venue, ms_of(start), ms_of(end))]
    columns = {name: [getattr(b, name) for b in bars] for name in COLUMNS}
    schema = {name: pl.Int64 if name == "trades" else pl.Float64 for name in COLUMNS}
    ts = pl.Series("ts", [b.opened_ms * 1000 for b in bars], dtype=pl.Int64).cast(UTC_US)
    return pl.DataFrame([ts, *(pl.Series(name, values, dtype=schema[name]) for name, values in columns.items())])


def minutes_between(market: Market, symbol: str, venue: str, start_ms: int, end_ms: int) -> list[Bar]:
    """As `minute_bars`, as bars."""
    found = []
    for hour in hours_between(market, symbol, venue, start_ms, end_ms):
        first = max(-(-start_ms // MINUTE_MS) * MINUTE_MS, hour.bar.opened_ms)
        last = min(end_ms, hour.bar.opened_ms + HOUR_MS)
        found += [bar_until(market, symbol, venue, MINUTE_MS, t, t + MINUTE_MS) for t in range(first, last, MINUTE_MS)]
    return [bar for bar in found if bar is not None]


def bar_until(market: Market, symbol: str, venue: str, length_ms: int, opened_ms: int, until_ms: int) -> Bar | None:
    """The bar of `length_ms` (a minute or an hour, or what divides an hour) from the trades before `until_ms`.

    None in an hour without a bar. A closed hour is the bar of the market itself.
    """
    hour = hour_of(market, symbol, venue, opened_ms // HOUR_MS)
    if hour is None:
        return None
    if length_ms == HOUR_MS and until_ms >= opened_ms + HOUR_MS:
        return hour.bar
    rows = hour.between(opened_ms, min(until_ms, opened_ms + length_ms))
    before = hour.price[rows.start - 1] if rows.start else hour.bar.open
    return hour.bar_of(rows, opened_ms, float(before))


def seconds(market: Market, symbol: str, venue: str, hour: datetime) -> np.ndarray:
    """Price at the end of each of the 3600 seconds of the bar that opens at `hour`; empty where there is no bar."""
    found = hour_of(market, symbol, venue, ms_of(hour) // HOUR_MS)
    if found is None:
        return np.empty(0)
    ends = found.bar.opened_ms + 1000 * np.arange(1, 3601)
    row = np.searchsorted(found.ms, ends) - 1
    return np.where(row < 0, found.bar.open, found.price[np.maximum(row, 0)] if len(found.price) else found.bar.open)


def last_price(market: Market, symbol: str, venue: str, at_ms: int) -> float | None:
    """Price of the last trade up to and including `at_ms`; None before the first one and long after the last."""
    hour = hour_of(market, symbol, venue, at_ms // HOUR_MS)
    row = int(np.searchsorted(hour.ms, at_ms, "right")) - 1 if hour else -1
    if hour and row >= 0:
        return float(hour.price[row])
    before = _close_before(market, symbol, venue, at_ms // HOUR_MS)
    return hour.bar.open if hour and before is None else before


def rolling_day(market: Market, symbol: str, venue: str, at_ms: int) -> Bar | None:
    """The bar of the 24 hours that end with `at_ms`; None where nothing traded in them."""
    start, parts = at_ms + 1 - 24 * HOUR_MS, []
    for hour in range(start // HOUR_MS, at_ms // HOUR_MS + 1):
        row = bars_of(market, symbol, venue, hour // 24).get(hour)
        if row is None:
            continue
        opened = hour * HOUR_MS
        if opened >= start and opened + HOUR_MS <= at_ms + 1:
            first = _offsets(market, symbol, venue, hour)[1]
            parts.append(Bar(opened, *row, first, first + row[6] - 1))
        elif (found := hour_of(market, symbol, venue, hour)) is not None:
            rows = found.between(start, at_ms + 1)
            parts += [found.bar_of(rows, opened, 0.0)] if rows.start < rows.stop else []
    return joined(parts, start) if parts else None


def joined(bars: list[Bar], opened_ms: int) -> Bar:
    """One bar of several that follow each other."""
    return Bar(
        opened_ms,
        bars[0].open,
        max(b.high for b in bars),
        min(b.low for b in bars),
        bars[-1].close,
        sum(b.volume for b in bars),
        sum(b.quote_volume_usd for b in bars),
        sum(b.trades for b in bars),
        sum(b.taker_buy_volume for b in bars),
        bars[0].first_trade,
        bars[-1].last_trade,
    )


def aggregate_ids(market: Market, symbol: str, venue: str, first: int, most: int, until_ms: int) -> pl.DataFrame:
    """As `trades`: the `most` trades from aggregate id `first` on that happened before `until_ms`."""
    ids, hours = _ids(market, symbol, venue, until_ms // (BLOCK // HOUR * HOUR_MS))
    row = max(int(np.searchsorted(ids[:, 0], first, "right")) - 1, 0)
    parts, have = [], 0
    for hour in hours[row:].tolist():
        if have >= most or hour * HOUR_MS >= until_ms:
            break
        found = hour_of(market, symbol, venue, hour)
        if found is not None:
            rows = found.between(0, until_ms)
            start = max(first - found.first_id, 0)
            parts.append(_frame(found, slice(start, max(min(rows.stop, start + most - have), start))))
            have += parts[-1].height
    return pl.concat(parts) if parts else pl.DataFrame(schema=_TRADES)


def ms_of(moment: datetime) -> int:
    """Milliseconds since 1970, rounded up: a trade at a millisecond before `moment` lies before it."""
    return -((datetime(1970, 1, 1, tzinfo=UTC) - moment) // timedelta(milliseconds=1))


@lru_cache(maxsize=1024)
def bars_of(market: Market, symbol: str, venue: str, day: int) -> dict[int, Row]:
    """The hourly bars of a day (counted from 1970) by hour, in the order of `candles.COLUMNS`."""
    start = datetime.fromtimestamp(86_400 * day, UTC)
    frame = market.candles(symbol, venue, start, start + DAY)
    hours = (frame["ts"].dt.epoch("s") // 3600).to_list()
    return dict(zip(hours, frame.select(COLUMNS).rows(), strict=True))


def _close_before(market: Market, symbol: str, venue: str, hour: int) -> float | None:
    """Close of the last bar before `hour`."""
    for before in range(hour - 1, hour - 1 - LOOK_BACK // HOUR, -1):
        row = bars_of(market, symbol, venue, before // 24).get(before)
        if row is not None:
            return row[3]
    return None


_TRADES: dict[str, pl.DataType | type[pl.DataType]] = {
    "ts": UTC_US,
    "id": pl.Int64,
    "price": pl.Float64,
    "quantity": pl.Float64,
    "first_trade": pl.Int64,
    "last_trade": pl.Int64,
    "is_buyer_maker": pl.Boolean,
}


def _frame(hour: Hour, rows: slice) -> pl.DataFrame:
    first = hour.trade_id[rows]
    return pl.DataFrame(
        {
            "ts": pl.Series(hour.ms[rows] * 1000).cast(UTC_US),
            "id": hour.first_id + np.arange(rows.start, max(rows.start, min(rows.stop, len(hour.ms)))),
            "price": hour.price[rows],
            "quantity": hour.lots[rows] / hour.lot,
            "first_trade": first,
            "last_trade": first + hour.count[rows] - 1,
            "is_buyer_maker": ~hour.is_buy[rows],
        },
        schema=_TRADES,
    )


def _offsets(market: Market, symbol: str, venue: str, hour: int) -> tuple[int, int]:
    """Aggregate id and trade id of the first trade of an hour."""
    ids, hours = _ids(market, symbol, venue, hour // (BLOCK // HOUR))
    first, trade = ids[np.searchsorted(hours, hour)]
    return int(first), int(trade)


@lru_cache(maxsize=256)
def _ids(market: Market, symbol: str, venue: str, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids `[hour, (aggregate, trade)]` of the first trade of every bar to the end of a block, and the hours of these bars."""
    end = datetime.fromtimestamp(0, UTC) + (block + 1) * BLOCK
    frame = market.candles(symbol, venue, market.listing(symbol)[0], end)
    columns = [frame[name].to_numpy() for name in COLUMNS]
    each = np.stack([intrabar.aggregates(*columns), frame["trades"].to_numpy()], axis=1).astype(np.int64)
    return 1 + np.cumsum(each, axis=0) - each, (frame["ts"].dt.epoch("s") // 3600).to_numpy()
