"""What each account did in each fold of the walk: rows of `backtests/<strategy>` and `backtests/summary`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.evaluation.performance import hourly_gross_returns, hourly_returns, max_drawdown, sharpe, turnover_per_day
from crypto_assets.trading.backtest import Backtest
from crypto_assets.trading.tables import BacktestsSummary

LEAST_HOURS = 24
"""A shorter stretch of an account has no row."""


def by_fold(account: Backtest, folds: Sequence[Fold]) -> pl.DataFrame:
    """One row a fold that the account lived through for a day or more: columns of `trading.tables.BacktestsSummary`."""
    rows: list[dict[str, object]] = []
    for fold in folds:
        lived = account.equity.filter(pl.col("ts").is_between(fold.test.start, fold.test.end))
        rows += _row(account, lived, fold.name, pl.col("ts").is_between(fold.test.start, fold.test.end, closed="left"))
    return _table(rows)


def summary(accounts: Iterable[Backtest]) -> pl.DataFrame:
    """One row an account over its whole life: columns of `trading.tables.BacktestsSummary`."""
    return _table([row for account in accounts for row in _row(account, account.equity, "all", pl.lit(True))])


def _table(rows: list[dict[str, object]]) -> pl.DataFrame:
    """In the table's types, so that an account without a Sharpe ratio stands below one with it."""
    return BacktestsSummary.shape(pl.DataFrame(rows, infer_schema_length=None)) if rows else BacktestsSummary.empty()


def _row(account: Backtest, equity: pl.DataFrame, fold: str, inside: pl.Expr) -> list[dict[str, object]]:
    if len(equity) <= LEAST_HOURS:
        return []
    value, net = equity["equity_usd"].to_numpy(), hourly_returns(equity)
    orders = account.orders.filter(inside)
    return [
        {
            "ts": equity["ts"][0],
            "available_at": equity["ts"][-1],
            "model": account.model,
            "strategy": account.strategy,
            "fold": fold,
            "sharpe_net": _finite(sharpe(net)),
            "sharpe_gross": _finite(sharpe(hourly_gross_returns(equity))),
            "return_net": float(value[-1] / value[0] - 1),
            "max_drawdown": max_drawdown(value),
            "turnover_per_day": turnover_per_day(equity),
            "trades": len(account.trades.filter(inside)),
            "limited": len(orders.filter(pl.col("reason") != "signal")),
        }
    ]


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None
