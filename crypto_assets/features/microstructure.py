"""How a coin trades: the flow of its trades and what it does to the price, the order book, open interest, the premium.

Trades are spot trades by the minute; only minutes known by the end of their hour count. The book's depth is the archive's and
10 to 34 hours old when it is known; `book_...` are own snapshots. Everything else is known when its hour is over.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import GONE_H, bars, finite, hourly, trading, z_score
from crypto_assets.features._depth import COLUMNS as DEPTH
from crypto_assets.features._depth import depth_columns
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._flow import COLUMNS as FLOW
from crypto_assets.features._flow import flow

MAX_AGE = timedelta(hours=3)
SPANS = (1, 4, 24)
WEEK_H = 168
RATIOS = {
    "account_ratio": "the long over the short accounts",
    "top_account_ratio": "the long over the short accounts of top traders",
    "top_position_ratio": "the long over the short positions of top traders",
    "taker_ratio": "takers' buys over sells (the hour's last five minutes)",
}


def _hours(hours: float) -> timedelta:
    return MAX_AGE + timedelta(hours=hours)


COLUMNS = {
    **FLOW,
    **DEPTH,
    "book_spread": Column("log of the spread of bid and ask in basis points, snapshot", "log", MAX_AGE),
    "book_imbalance_10bps": Column("bids less asks within 10 bps, of both, snapshot", "-1 to 1", MAX_AGE),
    "book_imbalance_100bps": Column("bids less asks within 100 bps, of both, snapshot", "-1 to 1", MAX_AGE),
    **{f"oi_change_{h}h": Column(f"log change of the open interest over {h} h", "log", _hours(h)) for h in SPANS},
    "oi_z_168h": Column("log of the open interest against its last 168 h", "sd", _hours(WEEK_H)),
    **{name: Column(f"log of {words}", "log", MAX_AGE) for name, words in RATIOS.items()},
    **{
        f"{name}_change_24h": Column(f"change of log of {words} over 24 h", "log", _hours(24)) for name, words in RATIOS.items()
    },
    **{
        f"{name}_z_168h": Column(f"log of {words} against the last 168 h", "sd", _hours(WEEK_H))
        for name, words in RATIOS.items()
    },
    "premium": Column("premium index of the perpetual at the bar's close", "fraction", MAX_AGE),
    "premium_change_1h": Column("its change over 1 h", "fraction", _hours(1)),
    "premium_change_24h": Column("its change over 24 h", "fraction", _hours(24)),
    "premium_z_168h": Column("it against its last 168 h", "sd", _hours(WEEK_H)),
    "premium_range": Column("highest less lowest premium index within the bar", "fraction", MAX_AGE),
}


def compute(
    candles: pl.LazyFrame,
    trades: pl.LazyFrame,
    depth: pl.LazyFrame,
    book: pl.LazyFrame,
    open_interest: pl.LazyFrame,
    basis: pl.LazyFrame,
) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    grid = hourly(bars(candles).select("symbol", "ts")).collect()
    parts = [flow(trades, grid), depth_columns(depth, grid), _book(book, grid), _positions(open_interest, grid)]
    rows = pl.concat([grid, *parts, _premium(basis, grid)], how="horizontal").lazy().filter("is_bar")
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _known(table: pl.LazyFrame, grid: pl.DataFrame, columns: list[str]) -> pl.LazyFrame:
    known = as_known(table, grid.lazy(), max_age=MAX_AGE, columns=columns)
    return known.with_columns(pl.when(trading(GONE_H)).then(pl.col(columns)))


def _change(expr: pl.Expr, hours: int) -> pl.Expr:
    return expr - expr.shift(hours).over("symbol")


def _log(column: str) -> pl.Expr:
    return pl.when(pl.col(column) > 0).then(pl.col(column).log())


def _book(book: pl.LazyFrame, grid: pl.DataFrame) -> pl.DataFrame:
    bid, ask = pl.col("bid_100bps_usd"), pl.col("ask_100bps_usd")
    rows = _known(book, grid, ["spread_bps", "imbalance", "bid_100bps_usd", "ask_100bps_usd"])
    return rows.select(
        book_spread=_log("spread_bps"),
        book_imbalance_10bps="imbalance",
        book_imbalance_100bps=(bid - ask) / pl.when(bid + ask > 0).then(bid + ask),
    ).collect()


def _positions(open_interest: pl.LazyFrame, grid: pl.DataFrame) -> pl.DataFrame:
    names = ["open_interest", *RATIOS]
    rows = _known(open_interest, grid, names).with_columns(_log(name) for name in names)
    oi = pl.col("open_interest")
    found = {f"oi_change_{h}h": _change(oi, h) for h in SPANS} | {"oi_z_168h": z_score(oi, WEEK_H)}
    for name in RATIOS:
        ratio = pl.col(name)
        found |= {name: ratio, f"{name}_change_24h": _change(ratio, 24), f"{name}_z_168h": z_score(ratio, WEEK_H)}
    return rows.select(**found).collect()


def _premium(basis: pl.LazyFrame, grid: pl.DataFrame) -> pl.DataFrame:
    premium = pl.col("basis")
    return (
        _known(basis, grid, ["basis", "basis_high", "basis_low"])
        .select(
            premium=premium,
            premium_change_1h=_change(premium, 1),
            premium_change_24h=_change(premium, 24),
            # in basis points, so that the guard against a standard deviation of nothing has something to guard
            premium_z_168h=z_score(premium * 1e4, WEEK_H),
            premium_range=pl.col("basis_high") - pl.col("basis_low"),
        )
        .collect()
    )


FAMILY = FeatureFamily(
    "microstructure",
    {
        "candles": "curated/candles",
        "trades": "raw/binance_trades",
        "depth": "raw/binance_depth",
        "book": "raw/binance_book",
        "open_interest": "raw/binance_open_interest",
        "basis": "raw/binance_basis",
    },
    timedelta(days=11),
    COLUMNS,
    compute,
    grid="candles",
    by_coin=("candles", "trades", "depth", "book", "open_interest", "basis"),
)
