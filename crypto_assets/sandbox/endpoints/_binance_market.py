"""What Binance shows beside bars, trades and books: tickers, premium index, positions; and the tables made of all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from crypto_assets.market.time import HOUR, Window
from crypto_assets.sandbox import book as books
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox import positions
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._binance import RefusedError, limit_of, missing, span, symbol_of, symbols
from crypto_assets.sandbox.endpoints._wire import decimal, json_text, to_ms
from crypto_assets.sandbox.simulator import SimulatedMarket

MINUTE = timedelta(minutes=1)
MOST_ROWS = 500
KEPT = timedelta(days=30)
"""`/futures/data` goes back so far."""
FILE_LAG = timedelta(hours=34)
"""When a day's file counts as known, from the begin of the day."""
PERIODS = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720, "1d": 1440}
"""Minutes."""
BANDS_BPS = (10, 50, 100)


def tickers(world: World, request: Request) -> Response:
    """One ticker for `symbol`, a list for `symbols` or none."""
    query = request.query_params
    known, now = symbols(world), world.now()
    if "symbol" in query:
        symbol_of(world, query)
        names = [query["symbol"]]
    elif "symbols" in query:
        try:
            names = json.loads(query["symbols"])
        except ValueError:
            raise RefusedError(-1100, "Illegal characters found in parameter 'symbols'.") from None
        if not set(names) <= set(known):
            raise RefusedError(-1121, "Invalid symbol.")
    else:
        names = [name for name, listed in known.items() if listed.start <= now < listed.end]
    found = [_ticker(world.market, known[name].symbol, name, to_ms(now)) for name in names]
    return json_text(json.dumps(found[0] if "symbol" in query else found), headers={"X-MBX-USED-WEIGHT-1M": "40"})


def _ticker(market: SimulatedMarket, symbol: str, name: str, at: int) -> dict:
    """The rolling 24 hours in the exchange's fields."""
    bar, book = micro.rolling_day(market, symbol, "spot", at), books.book(market, symbol, "spot", at)
    if bar is None or book is None:
        return {"symbol": name, "lastPrice": "0.0", "count": 0}
    (bid, bid_qty), (ask, ask_qty) = book.best(book.bids), book.best(book.asks)
    return {
        "symbol": name,
        "priceChange": decimal(bar.close - bar.open),
        "priceChangePercent": f"{100 * (bar.close / bar.open - 1):.3f}",
        "weightedAvgPrice": f"{bar.quote_volume_usd / bar.volume:.8f}",
        "prevClosePrice": decimal(bar.open),
        "lastPrice": decimal(bar.close),
        "lastQty": "0.00100000",
        **{"bidPrice": bid, "bidQty": bid_qty, "askPrice": ask, "askQty": ask_qty},
        **{"openPrice": decimal(bar.open), "highPrice": decimal(bar.high), "lowPrice": decimal(bar.low)},
        "volume": f"{bar.volume:.8f}",
        "quoteVolume": f"{bar.quote_volume_usd:.8f}",
        "openTime": at - 24 * micro.HOUR_MS + 1,
        "closeTime": at,
        **{"firstId": bar.first_trade, "lastId": bar.last_trade, "count": bar.trades},
    }


def premium_klines(world: World, request: Request, most: int) -> Response:
    """Hourly bars of the premium index in the twelve fields of a kline; the last one may still be open."""
    query, now = request.query_params, world.now()
    listed = symbol_of(world, query)
    if query.get("interval") != "1h":
        raise RefusedError(-1120, "Invalid interval. The sandbox has 1h only.")
    limit = limit_of(query, most, MOST_ROWS)
    start, end = span(query, listed, limit * HOUR, now)
    rows: list[str] = []
    if start < end:
        frame = positions.premium(world.market, listed.symbol, start, end)
        chosen = frame.head(limit) if "startTime" in query else frame.tail(limit)
        for opened, *prices in chosen.with_columns(pl.col("ts").dt.epoch("ms")).iter_rows():
            shown = prices if opened + micro.HOUR_MS <= to_ms(now) else prices[:1] * 4
            text = ",".join(f'"{price:.8f}"' for price in shown)
            rows.append(f'[{opened},{text},"0",{opened + micro.HOUR_MS - 1},"0",720,"0","0","0"]')
    return json_text(f"[{','.join(rows)}]")


def _interest(row: dict, name: str, supply: float) -> dict:
    held, worth = f"{row['open_interest']:.8f}", f"{row['open_interest_usd']:.8f}"
    return {"symbol": name, "sumOpenInterest": held, "sumOpenInterestValue": worth, "CMCCirculatingSupply": f"{supply:.8f}"}


def _long_short(row: dict, name: str, ratio: str) -> dict:
    long = row[ratio] / (1 + row[ratio])
    accounts = {"longAccount": f"{long:.4f}", "shortAccount": f"{1 - long:.4f}"}
    return {"symbol": name, "longShortRatio": f"{row[ratio]:.4f}", **accounts}


def _taken(row: dict, _: str) -> dict:
    return {"buySellRatio": f"{row['taker_ratio']:.4f}", "buyVol": f"{100 * row['taker_ratio']:.4f}", "sellVol": "100.0000"}


POSITIONS: dict[str, Callable[[dict, str], dict]] = {
    "openInterestHist": lambda row, name: _interest(row, name, 1e7),
    "topLongShortAccountRatio": lambda row, name: _long_short(row, name, "top_account_ratio"),
    "topLongShortPositionRatio": lambda row, name: _long_short(row, name, "top_position_ratio"),
    "globalLongShortAccountRatio": lambda row, name: _long_short(row, name, "account_ratio"),
    "takerlongshortRatio": _taken,
}
"""Calls of `/futures/data` -> one row, from one of `positions.metrics`."""


def held(world: World, request: Request, call: str) -> Response:
    """Rows of the last 30 days, ascending, at most 500; of a longer span the newest."""
    query, now = request.query_params, world.now()
    listed = symbol_of(world, query)
    if query.get("period") not in PERIODS:
        raise missing("period") if "period" not in query else RefusedError(-1130, "parameter 'period' is invalid.")
    limit = limit_of(query, MOST_ROWS, 30)
    step = timedelta(minutes=PERIODS[query["period"]])
    start, end = span(query, listed, limit * step, now)
    if start < now - KEPT and "startTime" in query:
        raise RefusedError(-1130, "parameter 'startTime' is invalid.")
    rows: list[dict] = []
    if start < end:
        found = [positions.metrics(world.market, listed.symbol, day) for day in Window(start, end).days]
        at = pl.col("ts")
        frame = pl.concat(found).filter(at >= start, at < end, at.dt.truncate(step) == at).tail(limit)
        rows = [POSITIONS[call](row, query["symbol"]) | {"timestamp": to_ms(row["ts"])} for row in frame.iter_rows(named=True)]
    return json_text(json.dumps(rows))


def _each(symbols: Iterable[str], rows: Callable[[str], pl.DataFrame], lag: pl.Expr) -> pl.DataFrame:
    frames = [rows(symbol).with_columns(symbol=pl.lit(symbol)) for symbol in symbols]
    return pl.concat(frames).with_columns(available_at=lag)


def _days(start: datetime, end: datetime, of_day: Callable[[date], pl.DataFrame]) -> pl.DataFrame:
    found = pl.concat([of_day(day) for day in Window(start, end).days])
    return found.filter(pl.col("ts") >= start, pl.col("ts") < end)


def trades(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """`raw/binance_trades`."""
    worth, bought = pl.col("price") * pl.col("quantity"), pl.col("quantity").filter(~pl.col("is_buyer_maker"))

    def minutes(symbol: str) -> pl.DataFrame:
        found = micro.trades(market, symbol, "spot", start, end)
        return found.group_by(pl.col("ts").dt.truncate(MINUTE), maintain_order=True).agg(
            trades=(pl.col("last_trade") - pl.col("first_trade") + 1).sum(),
            volume=pl.col("quantity").sum().round(8),
            quote_volume_usd=worth.sum().round(6),
            taker_buy_volume=bought.sum().round(8),
            vwap=worth.sum() / pl.col("quantity").sum(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
        )

    return _each(symbols, minutes, pl.col("ts") + MINUTE)


def open_interest(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """`raw/binance_open_interest`: an hour's last row is that of its 55th minute."""
    last = pl.col("ts").dt.minute() == 55

    def hours(symbol: str) -> pl.DataFrame:
        found = _days(start, end, lambda day: positions.metrics(market, symbol, day))
        return found.filter(last).with_columns(pl.col("ts").dt.truncate(HOUR))

    return _each(symbols, hours, pl.col("ts") + HOUR)


def depth_bands(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """`raw/binance_depth`."""
    last = pl.col("ts").dt.minute() == 55

    def hours(symbol: str) -> pl.DataFrame:
        found = _days(start, end, lambda day: positions.bands(market, symbol, day))
        return found.filter(last).with_columns(pl.col("ts").dt.truncate(HOUR))

    return _each(symbols, hours, pl.col("ts").dt.truncate("1d") + FILE_LAG)


def basis(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """`raw/binance_basis`."""

    def hours(symbol: str) -> pl.DataFrame:
        found = positions.premium(market, symbol, start, end)
        return found.select("ts", basis="close", basis_high="high", basis_low="low")

    return _each(symbols, hours, pl.col("ts") + HOUR)


def ticker(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """`raw/binance_ticker`: as seen at `start`."""
    rows = []
    for symbol in symbols:
        bar, book = micro.rolling_day(market, symbol, "spot", to_ms(start)), books.book(market, symbol, "spot", to_ms(start))
        if bar is not None and book is not None:
            best = {"bid": float(book.best(book.bids)[0]), "ask": float(book.best(book.asks)[0])}
            prices = {"last": bar.close, "open": bar.open, "high": bar.high, "low": bar.low, **best}
            more = {
                "vwap": round(bar.quote_volume_usd / bar.volume, 8),
                "change_pct": round(100 * (bar.close / bar.open - 1), 3),
                "volume": round(bar.volume, 8),
                "quote_volume_usd": round(bar.quote_volume_usd, 8),
                "trades": bar.trades,
            }
            rows.append({"symbol": symbol, "ts": start, "available_at": start, **prices, **more})
    return pl.DataFrame(rows)


def book(market: SimulatedMarket, start: datetime, end: datetime, symbols: Sequence[str]) -> pl.DataFrame:
    """`raw/binance_book`: as seen at `start`."""
    rows = []
    for symbol in symbols:
        found = books.book(market, symbol, "spot", to_ms(start))
        if found is None:
            continue
        scale = 10**found.ladder.decimals
        bid, ask = found.bids.level[0] / scale, found.asks.level[0] / scale
        middle = (bid + ask) / 2
        row: dict = {"symbol": symbol, "ts": start, "available_at": start, "bid": bid, "ask": ask}
        for name, side in (("bid", found.bids), ("ask", found.asks)):
            price = side.level / scale
            distance = np.abs(price / middle - 1) * 1e4
            for band in BANDS_BPS:  # nothing is known of a band that the book does not reach
                worth = (price * (side.lots / books.LOT))[distance <= band].sum()
                row[f"{name}_{band}bps_usd"] = float(worth) if distance[-1] >= band else None
        near = [row["bid_10bps_usd"], row["ask_10bps_usd"]]
        row |= {"spread_bps": (ask - bid) / middle * 1e4, "imbalance": (near[0] - near[1]) / sum(near)}
        rows.append(row)
    return pl.DataFrame(rows)


TABLES = {
    "binance_trades": trades,
    "binance_open_interest": open_interest,
    "binance_depth": depth_bands,
    "binance_basis": basis,
    "binance_ticker": ticker,
    "binance_book": book,
}
