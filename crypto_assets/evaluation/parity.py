"""Parity: does living through history hour by hour give what the batch gave? Forecasts bit for bit, trades one for one.

The batch is the lake's forecast table and a backtest of it; the other side is a paper account that lived through the same
hours. Both begin their volatilities at the same bar, because a sum depends on where it begins. Compared are the forecasts of
every hour, every fill, and the account's equity at every close.

Tolerance: none, but for models whose answer is a matrix product. There the order of additions inside a product depends on how
many rows are multiplied at once, and a batch multiplies a whole window where an hour is a handful of rows. A mean may be
nought, so what is forgiven there is a share of a hundredth of the standard deviation, where that is more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from crypto_assets.evaluation.closed_hour import ForecastsLatest, members_of
from crypto_assets.evaluation.walkforward import COMBINATIONS
from crypto_assets.lake import Lake
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import Window
from crypto_assets.trading import paper
from crypto_assets.trading.backtest import Backtest, backtest
from crypto_assets.trading.paper import Plan
from crypto_assets.trading.paper_ledger import PaperLedger

EXACT = ("base_rate", "coin_prior", "reversal", "last_rv", "ewma", "lightgbm")
"""Models that make each row by itself, or by trees: no tolerance."""
TOLERANCE = 1e-5
"""Relative, of the others: single precision has 24 bits, a product of a few hundred terms loses some of them."""
LEAST = {"mean": 0.01 * (pl.col("log_var") / 2).exp()}
"""Column -> what the tolerance is a share of where the value is less: a sum of terms of that order in single precision."""
SIX_DIGITS = 1e-5
"""Of what the served interface says, which is rounded: what is forgiven of a forecast, not of a trade."""
FORECAST = ("p_up", "mean", "log_var", "p_beats_median", "realised_var", "model_version")
TRADE = ("side", "quantity", "price", "fee_usd", "slippage_usd", "realised_pnl_usd")
EQUITY = ("equity_usd", "cash_usd")


@dataclass(frozen=True)
class Difference:
    """Where two tables part first. `size`: largest absolute difference of the column, None where it has none."""

    table: str
    column: str
    rows: int
    ts: datetime
    key: str
    batch: Any
    lived: Any
    size: float | None

    def __str__(self) -> str:
        size = "" if self.size is None else f", at most {self.size:.3g} apart"
        return (
            f"{self.table} {self.column}: {self.rows} rows differ{size}; first {self.ts:%Y-%m-%d %H:%M} {self.key}: "
            f"batch {self.batch!r}, lived {self.lived!r}"
        )


def compare(
    whole: Lake, lived: pl.DataFrame, ledger: PaperLedger, plan: Plan, until: datetime, *, is_served: bool = False
) -> dict[str, Any]:
    """The whole comparison as JSON, from the account's first decision to `until`; `differences` is empty where there is parity.

    `lived`: rows of `forecasts/latest` as they were made, or with `is_served` as the interface said them: rounded, and of a
    bundle's version. Raises LakeError where the lake has no forecasts of these hours.
    """
    window = Window(plan.begins, until)
    batch = _batch(whole, plan, window)
    account = _account(whole, batch, plan, window)
    tolerance = tolerance_of(plan.model)
    mine = lived.filter(pl.col("model") == plan.model, pl.col("ts") >= window.start, pl.col("ts") < window.end)
    trades = ledger.trades(window.start, window.end)
    hours = ledger.hours().filter(pl.col("ts") <= window.end)
    said, forgiven = (FORECAST[:-1], max(tolerance, SIX_DIGITS)) if is_served else (FORECAST, tolerance)
    pairs = (
        ("forecasts", batch, mine, ("ts", "symbol", "horizon"), said, forgiven),
        ("trades", account.trades, trades, ("ts", "symbol", "reason"), TRADE, tolerance),
        ("equity", account.equity, hours, ("ts",), EQUITY, tolerance),
    )
    found = [d for pair in pairs for d in differences(*pair)]
    return {
        "from": window.start,
        "to": window.end,
        "model": plan.model,
        "strategy": plan.strategy,
        "symbols": list(plan.symbols),
        "tolerance": tolerance,
        "tolerance_of_forecasts": forgiven,
        "forecasts": batch.height,
        "trades": account.trades.height,
        "hours": account.equity.height,
        "equity_usd": float(account.equity["equity_usd"][-1]),
        "largest": {name: largest(a, b, key, columns) for name, a, b, key, columns, _ in pairs},
        "differences": [{**d.__dict__, "text": str(d)} for d in found],
    }


def tolerance_of(model: str) -> float:
    """What is forgiven, relative to the value."""
    return 0.0 if set(members_of(model)) <= set(EXACT) else TOLERANCE


def differences(
    table: str, batch: pl.DataFrame, lived: pl.DataFrame, key: Sequence[str], columns: Sequence[str], tolerance: float = 0.0
) -> list[Difference]:
    """One a column that differs anywhere, and one for rows that only one side has."""
    both = _joined(batch, lived, key, columns)
    found = []
    lone = both.filter(pl.col("_batch").is_null() | pl.col("_lived").is_null())
    if lone.height:
        first = lone.row(0, named=True)
        batch_has, lived_has = ("there" if first[side] else "missing" for side in ("_batch", "_lived"))
        found.append(Difference(table, "row", lone.height, first["ts"], _key(first, key), batch_has, lived_has, None))
    met = both.filter(pl.col("_batch") & pl.col("_lived"))
    for column in columns:
        a, b = pl.col(column), pl.col(f"{column}_lived")
        is_number = met.schema[column].is_numeric()
        sizes = (a.abs(), b.abs(), *(size for name, size in LEAST.items() if name == column))
        within = ((a - b).abs() <= tolerance * pl.max_horizontal(*sizes)) if is_number else a.eq_missing(b)
        off = met.filter(~(within.fill_null(False) | (a.is_null() & b.is_null())))
        if off.height:
            first = off.row(0, named=True)
            size = off.select((a - b).abs().max()).item() if is_number else None
            batch_has, lived_has = first[column], first[f"{column}_lived"]
            found.append(Difference(table, column, off.height, first["ts"], _key(first, key), batch_has, lived_has, size))
    return found


def largest(batch: pl.DataFrame, lived: pl.DataFrame, key: Sequence[str], columns: Sequence[str]) -> float:
    """The largest absolute difference of any number, within the tolerance or not."""
    both = _joined(batch, lived, key, columns)
    numbers = [c for c in columns if both.schema[c].is_numeric()]
    found = both.select(pl.max_horizontal((pl.col(c) - pl.col(f"{c}_lived")).abs() for c in numbers).max()).item()
    return float(found or 0.0)


def _joined(batch: pl.DataFrame, lived: pl.DataFrame, key: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    a = batch.select(*key, *columns, _batch=pl.lit(True))
    b = lived.select(*key, *columns, _lived=pl.lit(True))
    return a.join(b, on=list(key), how="full", coalesce=True, suffix="_lived", nulls_equal=True).sort(list(key))


def _key(row: dict[str, Any], key: Sequence[str]) -> str:
    return " ".join(str(row[k]) for k in key if k != "ts")


def _batch(whole: Lake, plan: Plan, window: Window) -> pl.DataFrame:
    made_of = COMBINATIONS.get(plan.model)
    table = (made_of.table if made_of else "") or f"forecasts/{plan.model}"
    rows = whole.scan(table, window.start, window.end).filter(pl.col("symbol").is_in(list(plan.symbols))).collect()
    if rows.is_empty():
        raise LakeError(f"{whole.root} has no rows of {table} from {window.start} to {window.end}: build it for these days")
    return rows.select(*ForecastsLatest.key[1:], *FORECAST)


def _account(whole: Lake, forecasts: pl.DataFrame, plan: Plan, window: Window) -> Backtest:
    span = (window.start - paper.WARMUP, window.end)
    candles = whole.scan("curated/candles", *span).filter(pl.col("symbol").is_in(list(plan.symbols))).collect()
    funding = whole.scan("raw/binance_funding", *span).sort("ts", "symbol", "available_at").collect()
    funding = funding.unique(["symbol", "ts"], keep="first", maintain_order=True).sort("symbol", "ts")
    return backtest(
        forecasts.sort("symbol", "horizon", "ts"),
        candles.sort("symbol", "ts"),
        funding,
        plan.rule,
        plan.costs,
        model=plan.model,
        rules=plan.rules,
        limits=plan.limits,
        window=window,
        initial_capital_usd=plan.capital_usd,
    )
