"""What the WebSocket streams of both Binance hosts say: for a stream and a span of time, its messages.

A message is a pure function of (market, stream, time of the event). Trades and closed bars are told one by one. What is a state
(open bars, tickers, books) is told at the pace of its stream, and when much time has passed at once only its newest value;
diffs of a book then span several steps, so that none is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from crypto_assets.sandbox import book as books
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._binance import Listed, symbols
from crypto_assets.sandbox.endpoints._wire import decimal, to_ms

Message = tuple[int, str]
"""Time of the event (ms), and the JSON."""
INTERVALS_MS = {"1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000, "1h": 3_600_000}
OPEN_BAR_MS = {"spot": 2000, "perp": 250}
TICKER_MS = {"spot": 1000, "perp": 2000}
DEPTH_MS = {"spot": 1000, "perp": 250}
MOST_DIFFS = 10
"""Diffs in one answer; more are joined."""


@dataclass(frozen=True)
class Stream:
    """A stream that was asked for. `channel` says which route of the futures host carries it."""

    name: str
    symbol: str
    """As the exchange writes it."""
    listed: Listed
    world: World
    venue: str
    channel: str
    tell: Callable[[Stream, int, int], list[Message]]

    def messages(self, after_ms: int, until_ms: int) -> list[Message]:
        """What it says after `after_ms` up to and including `until_ms`, while the symbol trades."""
        first, last = max(after_ms, to_ms(self.listed.start) - 1), min(until_ms, to_ms(self.listed.end))
        return self.tell(self, first, last) if first < last else []

    @property
    def where(self) -> tuple[micro.Market, str, str]:
        """What the generators take."""
        return self.world.market, self.listed.symbol, self.venue


def parse(world: World, venue: str, name: str) -> Stream | None:
    """The stream of a name such as `btcusdt@kline_1m`; None if there is no such symbol or channel."""
    base, _, channel = name.partition("@")
    listed = symbols(world).get(base.upper())
    if listed is None:
        return None
    for pattern, maker in _CHANNELS:
        if found := re.fullmatch(pattern, channel):
            return Stream(name, base.upper(), listed, world, venue, channel, maker(venue, *found.groups()))
    return None


def _moments(step: int, after: int, until: int) -> range:
    """Multiples of `step` in (after, until]."""
    return range((after // step + 1) * step, until + 1, step)


def _newest(step: int, after: int, until: int) -> int | None:
    """The last of `_moments`."""
    last = until // step * step
    return last if last > after else None


def _agg_trades(s: Stream, after: int, until: int) -> list[Message]:
    best_match = ',"M":true' if s.venue == "spot" else ""
    found = []
    for hour in micro.hours_between(*s.where, after + 1, until + 1):
        rows = hour.between(after + 1, until + 1)
        columns = (hour.ms, hour.price, hour.lots / hour.lot, hour.trade_id, hour.trade_id + hour.count - 1, hour.is_buy)
        for n, (ms, price, size, first, last, buy) in enumerate(zip(*(c[rows].tolist() for c in columns), strict=True)):
            found.append(
                (
                    ms,
                    f'{{"e":"aggTrade","E":{ms},"s":"{s.symbol}","a":{hour.first_id + rows.start + n},"p":"{decimal(price)}",'
                    f'"q":"{decimal(size)}","f":{first},"l":{last},"T":{ms},"m":{"false" if buy else "true"}{best_match}}}',
                )
            )
    return found


def _trades(s: Stream, after: int, until: int) -> list[Message]:
    """Each trade of the aggregates by itself; the lots are dealt out evenly."""
    found = []
    for hour in micro.hours_between(*s.where, after + 1, until + 1):
        rows = hour.between(after + 1, until + 1)
        columns = (hour.ms, hour.price, hour.lots, hour.trade_id, hour.count, hour.is_buy)
        for ms, price, lots, first, count, buy in zip(*(c[rows].tolist() for c in columns), strict=True):
            head, tail = (
                f'{{"e":"trade","E":{ms},"s":"{s.symbol}","t":',
                f',"T":{ms},"m":{"false" if buy else "true"},"M":true}}',
            )
            for n in range(count):
                size = (lots // count + (n < lots % count)) / hour.lot
                found.append((ms, f'{head}{first + n},"p":"{decimal(price)}","q":"{decimal(size)}"{tail}'))
    return found


def _klines(venue: str, interval: str) -> Callable[[Stream, int, int], list[Message]]:
    length, pace = INTERVALS_MS[interval], OPEN_BAR_MS[venue]

    def tell(s: Stream, after: int, until: int) -> list[Message]:
        found = []
        for closed in _moments(length, after, until):
            bar = micro.bar_until(*s.where, length, closed - length, closed)
            found += [(closed, _kline(s, interval, length, bar, closed, True))] if bar else []
        now = _newest(pace, after, until)
        if now is not None and now % length:
            bar = micro.bar_until(*s.where, length, now // length * length, now + 1)
            if bar and bar.first_trade >= 0:
                found.append((now, _kline(s, interval, length, bar, now, False)))
        return found

    return tell


def _kline(s: Stream, interval: str, length: int, bar: micro.Bar, at: int, closed: bool) -> str:
    taken = bar.taker_buy_volume / bar.volume * bar.quote_volume_usd if bar.volume else 0.0
    return (
        f'{{"e":"kline","E":{at},"s":"{s.symbol}","k":{{"t":{bar.opened_ms},"T":{bar.opened_ms + length - 1},"s":"{s.symbol}",'
        f'"i":"{interval}","f":{bar.first_trade},"L":{bar.last_trade},"o":"{decimal(bar.open)}","c":"{decimal(bar.close)}",'
        f'"h":"{decimal(bar.high)}","l":"{decimal(bar.low)}","v":"{decimal(bar.volume)}","n":{bar.trades},'
        f'"x":{"true" if closed else "false"},"q":"{decimal(bar.quote_volume_usd)}","V":"{decimal(bar.taker_buy_volume)}",'
        f'"Q":"{taken:.8f}","B":"0"}}}}'
    )


def _diffs(venue: str, pace: str | None) -> Callable[[Stream, int, int], list[Message]]:
    step = int(pace) if pace else DEPTH_MS[venue]

    def tell(s: Stream, after: int, until: int) -> list[Message]:
        moments = _moments(step, after, until)
        chosen = moments[:: -max(-(-len(moments) // MOST_DIFFS), 1)][::-1]
        found, before = [], after // step * step
        for at in chosen:
            book = books.changes(*s.where, before // books.TICK_MS, at // books.TICK_MS)
            before = at
            found += [(at, _update(s, book, at))] if book else []
        return found

    return tell


def _update(s: Stream, book: books.Book, at: int) -> str:
    more = f',"T":{at}' if s.venue == "perp" else ""
    previous = f',"pu":{book.first_id - 1}' if s.venue == "perp" else ""
    return (
        f'{{"e":"depthUpdate","E":{at}{more},"s":"{s.symbol}","U":{book.first_id},"u":{book.update_id}{previous},'
        f'"b":{book.text(book.bids)},"a":{book.text(book.asks)}}}'
    )


def _partial_books(venue: str, levels: str, pace: str | None) -> Callable[[Stream, int, int], list[Message]]:
    step, most = int(pace) if pace else DEPTH_MS[venue], int(levels)

    def tell(s: Stream, after: int, until: int) -> list[Message]:
        at = _newest(step, after, until)
        book = books.book(*s.where, at) if at is not None else None
        if at is None or book is None:
            return []
        shown = books.Book(book.ladder, book.first_id, book.update_id, book.bids.head(most), book.asks.head(most))
        if venue == "perp":
            return [(at, _update(s, shown, at))]
        return [(at, f'{{"lastUpdateId":{book.update_id},"bids":{book.text(shown.bids)},"asks":{book.text(shown.asks)}}}')]

    return tell


def _book_ticker(s: Stream, after: int, until: int) -> list[Message]:
    at = _newest(books.TICK_MS, after, until)
    best = books.best_changed(*s.where, after // books.TICK_MS, at // books.TICK_MS) if at is not None else None
    if at is None or best is None:
        return []
    event = f'"e":"bookTicker","E":{at},"T":{at},' if s.venue == "perp" else ""
    return [(at, f'{{{event}"u":{best.update_id},"s":"{s.symbol}",{_quotes(best)}}}')]


def _quotes(book: books.Book) -> str:
    """The best bid and ask as four keys."""
    (bid, bid_size), (ask, ask_size) = (book.best(side) for side in (book.bids, book.asks))
    return f'"b":"{bid}","B":"{bid_size}","a":"{ask}","A":"{ask_size}"'


def _ticker(s: Stream, after: int, until: int) -> list[Message]:
    at = _newest(TICKER_MS[s.venue], after, until)
    day = micro.rolling_day(*s.where, at) if at is not None else None
    book = books.book(*s.where, at) if at is not None else None
    if at is None or day is None or book is None:
        return []
    change, mean = day.close - day.open, day.quote_volume_usd / day.volume if day.volume else day.close
    quotes = f'"x":"{decimal(day.open)}",{_quotes(book)},' if s.venue == "spot" else ""
    text = (
        f'{{"e":"24hrTicker","E":{at},"s":"{s.symbol}","p":"{change:.8f}","P":"{100 * change / day.open:.3f}","w":"{mean:.8f}",'
        f'{quotes}"c":"{decimal(day.close)}","Q":"{book.best(book.bids)[1]}","o":"{decimal(day.open)}",'
        f'"h":"{decimal(day.high)}","l":"{decimal(day.low)}","v":"{day.volume:.8f}","q":"{day.quote_volume_usd:.8f}",'
        f'"O":{day.opened_ms},"C":{at},"F":{day.first_trade},"L":{day.last_trade},"n":{day.trades}}}'
    )
    return [(at, text)]


def _mini_ticker(s: Stream, after: int, until: int) -> list[Message]:
    at = _newest(1000, after, until)
    day = micro.rolling_day(*s.where, at) if at is not None else None
    if at is None or day is None:
        return []
    text = (
        f'{{"e":"24hrMiniTicker","E":{at},"s":"{s.symbol}","c":"{decimal(day.close)}","o":"{decimal(day.open)}",'
        f'"h":"{decimal(day.high)}","l":"{decimal(day.low)}","v":"{day.volume:.8f}","q":"{day.quote_volume_usd:.8f}"}}'
    )
    return [(at, text)]


_PACE = r"(?:@(100|250|500|1000)ms)?"
_CHANNELS: tuple[tuple[str, Callable[..., Callable[[Stream, int, int], list[Message]]]], ...] = (
    (r"aggTrade", lambda venue: _agg_trades),
    (r"trade", lambda venue: _trades),
    (rf"kline_({'|'.join(INTERVALS_MS)})", _klines),
    (rf"depth{_PACE}", _diffs),
    (rf"depth(5|10|20){_PACE}", _partial_books),
    (r"bookTicker", lambda venue: _book_ticker),
    (r"ticker", lambda venue: _ticker),
    (r"miniTicker", lambda venue: _mini_ticker),
)
