"""Asking again, by REST, for what the WebSocket did not bring: bars, trades, books, the time. The same client as the sources'.

These functions block; the service runs them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from crypto_assets.market.coins import Universe
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources import binance_candles, binance_perp_candles
from crypto_assets.sources._binance import Endpoint, klines
from crypto_assets.sources._http import Http
from crypto_assets.sources.stream.bars import STEP_MS, Hole
from crypto_assets.sources.stream.tables import MINUTE
from crypto_assets.sources.stream.trades import Missing

METHODS = {
    "binance_spot": {"time": "publicGetTime", "trades": "publicGetAggTrades", "depth": "publicGetDepth"},
    "binance_futures": {"time": "fapiPublicGetTime", "trades": "fapiPublicGetAggTrades", "depth": "fapiPublicGetDepth"},
}
BARS = {"binance_spot": binance_candles.ENDPOINT, "binance_futures": binance_perp_candles.ENDPOINT}
STEPS = {"1m": MINUTE, "1h": HOUR}
PAGE, MOST_PAGES = 1000, 20
"""Aggregate trades a call, and calls in a row for one hole: what is left of a longer one is asked for after the others."""
DEPTH = 500
VALUES = ("open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume")


class _Asking:
    """The client, for some of the coins."""

    def __init__(self, http: Http, universe: Universe, now: datetime) -> None:
        self.universe, self.call, self.now = universe, http.call, lambda: now


def exchange_ms(http: Http, provider: str) -> int:
    """The exchange's time, milliseconds. Raises a SourceError."""
    method = METHODS[provider]["time"]
    answer = http.call(provider, method, {})
    return payload.field([answer], "serverTime", payload.integer, provider, method)[0]


def bars(http: Http, provider: str, holes: Sequence[Hole]) -> dict[tuple[str, str], list[tuple[int, dict[str, Any]]]]:
    """Closed bars of every hole, by (symbol, interval), as (open in ms, values). Raises a SourceError."""
    found: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
    # A bar counts as closed by the clock of who is asked, should another venue's be ahead.
    now = min(http.now(), _utc(exchange_ms(http, provider)))
    for interval in sorted({hole.interval for hole in holes}):
        same = [hole for hole in holes if hole.interval == interval]
        for symbols, first, last in _grouped(same):
            rows = _klines(http, provider, interval, symbols, (first, last), now)
            for symbol in symbols:
                own = rows.filter(pl.col("symbol") == symbol) if rows.height else rows
                opens = own["ts"].dt.epoch("ms").to_list() if rows.height else []
                values = own.select(VALUES).to_dicts() if rows.height else []
                found[symbol, interval] = list(zip(opens, values, strict=True))
    return found


def newest_trade(http: Http, provider: str, symbol_name: str) -> int | None:
    """Number of the last aggregate trade so far, None before the first. Raises a SourceError."""
    method = METHODS[provider]["trades"]
    answer = http.call(provider, method, {"symbol": symbol_name, "limit": 1})
    page = payload.entries(answer, provider, f"{method} {symbol_name}")
    return payload.field(page, "a", payload.integer, provider, method)[-1] if page else None


def trades(http: Http, provider: str, symbol_name: str, missing: Missing) -> list[Mapping[str, Any]]:
    """The aggregate trades of a range, of a long one the first `MOST_PAGES` pages. Raises a SourceError."""
    rows: list[Mapping[str, Any]] = []
    method, number = METHODS[provider]["trades"], missing.first
    for _ in range(MOST_PAGES):
        answer = http.call(provider, method, {"symbol": symbol_name, "fromId": number, "limit": PAGE})
        page = payload.entries(answer, provider, f"{method} {symbol_name}")
        numbers = payload.field(page, "a", payload.integer, provider, method)
        rows += [row for row, n in zip(page, numbers, strict=True) if missing.first <= n <= missing.last]
        if len(page) < PAGE or max(numbers) >= missing.last:
            break
        number = max(numbers) + 1
    return rows


def depth(http: Http, provider: str, symbol_name: str) -> Mapping[str, Any]:
    """A snapshot of the book: `lastUpdateId`, `bids`, `asks`. Raises a SourceError."""
    method = METHODS[provider]["depth"]
    answer = http.call(provider, method, {"symbol": symbol_name, "limit": DEPTH})
    payload.field([answer], "lastUpdateId", payload.integer, provider, method)
    for side in ("bids", "asks"):
        payload.entries(answer, provider, method, side)
    return answer


def _grouped(holes: Sequence[Hole]) -> Iterator[tuple[list[str], int, int]]:
    """(symbols, first, last): holes of the same span are asked for together."""
    spans: dict[tuple[int, int], list[str]] = {}
    for hole in holes:
        spans.setdefault((hole.first, hole.last), []).append(hole.symbol)
    for (first, last), symbols in sorted(spans.items()):
        yield symbols, first, last


def _klines(
    http: Http, provider: str, interval: str, symbols: Sequence[str], span: tuple[int, int], now: datetime
) -> pl.DataFrame:
    base = BARS[provider]
    endpoint = Endpoint(provider, base.method, base.limit, STEPS[interval], (("interval", interval),))
    window = Window(_utc(span[0]), _utc(span[1] + STEP_MS[interval]))
    try:
        return klines(_Asking(http, Universe.of(symbols), now), endpoint, window)  # type: ignore[arg-type]
    except NotPublishedYetError:
        return pl.DataFrame()


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
