"""What an account's history says, as tables: equity by the hour, positions, trades, orders. One account each."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from crypto_assets.trading import account as notes
from crypto_assets.trading.grid import Market
from crypto_assets.trading.tables import BacktestsEquity, BacktestsOrders, BacktestsPositions, BacktestsTrades

REASONS = ("signal", "delisting", "liquidation")
QUIET = notes.BANDED
"""Notes that say why nothing was sent at all: counted, but without a line of their own."""


def equity(grid: Market, history: Any, capital: float, model: str, strategy: str) -> pl.DataFrame:
    """Table backtests/equity: one row an hour from the first decision (initial capital) on."""
    value_TN = values(history)
    value = np.append(capital, history.cash_T + value_TN.sum(axis=1))
    fees, slippage = (
        np.append(0.0, a.sum(axis=1) + b.sum(axis=1))
        for a, b in ((history.fills.fee_N, history.forced.fee_N), (history.fills.slippage_N, history.forced.slippage_N))
    )
    funding = np.append(0.0, history.funding_TN.sum(axis=1))
    turned = sum(np.nansum(np.abs(f.traded_N) * f.reference_N, axis=1) for f in (history.fills, history.forced))
    gross, net = np.append(0.0, np.abs(value_TN).sum(axis=1)), np.append(0.0, value_TN.sum(axis=1))
    alive = value > 0
    frame = pl.DataFrame(
        {
            "ts": np.append(grid.ts_T[:1], grid.ts_T + np.timedelta64(1, "h")),
            "equity_usd": value,
            "gross_equity_usd": value + np.cumsum(fees + slippage + funding),
            "cash_usd": np.append(capital, history.cash_T),
            "gross_exposure": np.divide(gross, value, out=np.zeros_like(gross), where=alive),
            "net_exposure": np.divide(net, value, out=np.zeros_like(net), where=alive),
            "turnover_usd": np.append(0.0, turned),
            "fees_usd": fees,
            "slippage_usd": slippage,
            "funding_usd": funding,
        }
    )
    return BacktestsEquity.shape(stamped(frame, model, strategy))


def positions(grid: Market, history: Any, model: str, strategy: str) -> pl.DataFrame:
    """Table backtests/positions: one row a coin and bar with a position, by time."""
    t, n = np.nonzero(history.quantity_TN)
    value_TN = values(history)
    equity_T = history.cash_T + value_TN.sum(axis=1)
    value = value_TN[t, n]
    frame = pl.DataFrame(
        {
            "symbol": _symbols(grid, n),
            "ts": grid.ts_T[t] + np.timedelta64(1, "h"),
            "quantity": history.quantity_TN[t, n],
            "price": history.price_TN[t, n],
            "weight": np.divide(value, equity_T[t], out=np.zeros_like(value), where=equity_T[t] > 0),
        }
    )
    return BacktestsPositions.shape(stamped(frame, model, strategy))


def trades(grid: Market, history: Any, model: str, strategy: str) -> pl.DataFrame:
    """Table backtests/trades: one row a fill, sorted by time."""
    both = [_fills(grid, history, history.fills, False), _fills(grid, history, history.forced, True)]
    return BacktestsTrades.shape(stamped(pl.concat(both).sort("t", "n", "reason").drop("t", "n"), model, strategy))


def _fills(grid: Market, history: Any, fills: Any, is_forced: bool) -> pl.DataFrame:
    t, n = np.nonzero(fills.traded_N)
    traded, slippage, reference = fills.traded_N[t, n], fills.slippage_N[t, n], fills.reference_N[t, n]
    quantity = np.abs(traded)
    return pl.DataFrame(
        {
            "t": t,
            "n": n,
            "symbol": _symbols(grid, n),
            "ts": grid.ts_T[t],
            "side": np.where(traded > 0, "buy", "sell"),
            "quantity": quantity,
            "price": reference + np.sign(traded) * slippage / quantity,
            "fee_usd": fills.fee_N[t, n],
            "slippage_usd": slippage,
            "realised_pnl_usd": fills.realised_N[t, n],
            "is_maker": ~np.isnan(history.limit_TN[t, n]) & (not is_forced),
            "reason": np.where(is_forced, REASONS[2], np.where(grid.delisted_TN[t, n], REASONS[1], REASONS[0])),
        },
        schema_overrides={"side": pl.String, "reason": pl.String},
    )


def orders(grid: Market, history: Any, model: str, strategy: str) -> pl.DataFrame:
    """Table backtests/orders: one row a coin and bar with an order, or with a note that says why there was none, or less."""
    t, n = np.nonzero((history.order_TN != 0) | ((history.note_TN & ~QUIET) != 0))
    sent, done, note = history.order_TN[t, n], history.fills.traded_N[t, n], history.note_TN[t, n]
    share = np.divide(done, sent, out=np.zeros_like(sent), where=sent != 0)
    status = np.select([sent == 0, done == 0, share < 1 - 1e-12], ["none", "unfilled", "partial"], "filled")
    words = {
        int(bits): ", ".join(text for bit, text in notes.NOTES.items() if bits & bit) or "signal" for bits in np.unique(note)
    }
    frame = pl.DataFrame(
        {
            "symbol": _symbols(grid, n),
            "ts": grid.ts_T[t],
            "quantity": sent,
            "filled": done,
            "limit_price": history.limit_TN[t, n],
            "status": status,
            "reason": [words[int(bits)] for bits in note],
        },
        schema_overrides={"status": pl.String, "reason": pl.String},
    ).with_columns(pl.col("limit_price").fill_nan(None))
    return BacktestsOrders.shape(stamped(frame, model, strategy))


def counts(history: Any) -> dict[str, int]:
    """How often (coin-bars) each note was made; notes that were never made are left out."""
    found = {text: int(((history.note_TN & bit) != 0).sum()) for bit, text in notes.NOTES.items()}
    return {text: number for text, number in found.items() if number}


def values(history: Any) -> np.ndarray:
    """Signed position values, USD, `[T, N]`."""
    return np.asarray(history.quantity_TN * np.nan_to_num(history.price_TN))


def stamped(frame: pl.DataFrame, model: str, strategy: str) -> pl.DataFrame:
    """`frame` with UTC times and whose account it is."""
    ts = pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(ts, model=pl.lit(model), strategy=pl.lit(strategy)).with_columns(available_at=pl.col("ts"))


def _symbols(grid: Market, n: np.ndarray) -> pl.Series:
    return pl.Series(grid.symbols, dtype=pl.String).gather(n)
