"""The backtest: a forecast table traded over the candles, as tables of equity, positions and trades.

Decided at `ts` (a bar's close), filled at the open of the bar that begins at `ts`, marked at that bar's close. References on
the same coins and hours stand beside it. numba is imported inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import Window
from crypto_assets.trading import account, statements
from crypto_assets.trading.account import Bar
from crypto_assets.trading.costs import PERPETUAL, SPOT_HOLDING, Costs
from crypto_assets.trading.grid import HOUR_US, Market, lay_out, market, require
from crypto_assets.trading.limits import NO_LEVERAGE, Limits
from crypto_assets.trading.strategy import Signal, Strategy, Targets
from crypto_assets.trading.venues import Rules

INITIAL_CAPITAL_USD = 10_000.0
EXPOSURE_CAP = NO_LEVERAGE.gross
"""Sum of absolute position values over equity: no leverage."""
TAKER = Rules()
"""Orders take the next open; no margin model, which without leverage never bites."""


@dataclass(frozen=True)
class Backtest:
    """One account's life.

    `equity`: table backtests/equity, one row an hour from the first decision (initial capital) on. `positions`, `trades`,
    `orders`: tables backtests/positions, backtests/trades and backtests/orders. `buy_and_hold`, `equal_weight`: equity tables
    of the references over the same hours. `counts`: decisions (coin-hours with a forecast), ignored (forecasts of coins without
    a bar closing then), settlements (funding rates met while in a position), missed (orders that found no bar). `notes`: how
    often each limit or rule of `account.NOTES` bit, in coin-hours.
    """

    model: str
    strategy: str
    costs: Costs
    equity: pl.DataFrame
    positions: pl.DataFrame
    trades: pl.DataFrame
    orders: pl.DataFrame
    buy_and_hold: pl.DataFrame
    equal_weight: pl.DataFrame
    counts: dict[str, int]
    notes: dict[str, int]


@dataclass(frozen=True)
class _Prepared:
    """A market cut to the hours that are traded, last prices before them, volatilities known at each, and the targets."""

    market: Market
    price_N: np.ndarray
    sigma_TN: np.ndarray
    targets: Targets
    listed_TN: np.ndarray
    counts: dict[str, int]


def backtest(
    forecasts: pl.DataFrame,
    candles: pl.DataFrame,
    funding: pl.DataFrame | None,
    strategy: Strategy,
    costs: Costs = PERPETUAL,
    *,
    model: str,
    rules: Rules = TAKER,
    limits: Limits = NO_LEVERAGE,
    window: Window | None = None,
    initial_capital_usd: float = INITIAL_CAPITAL_USD,
) -> Backtest:
    """Trade `forecasts` (a `forecasts/*` table) over `candles` (curated/candles) with `funding` (raw/binance_funding).

    Runs from the first to the last decision time in `window` (all of the forecasts by default) that has a forecast of the
    strategy's column; candles before it give the volatility its past. A null or NaN forecast opens nothing, and what is
    held expires with the strategy's horizon. The last positions stay open, marked at the last close.
    Raises SchemaError for prices, clocks or columns that cannot be traded, and where no forecast is left; SettingsError for
    a capital that is not positive.
    """
    if not (np.isfinite(initial_capital_usd) and initial_capital_usd > 0):
        raise SettingsError(f"initial_capital_usd must be a finite amount above 0, was {initial_capital_usd!r}")
    prepared = _prepare(forecasts, market(candles, funding), strategy, costs, window)
    grid, capital = prepared.market, initial_capital_usd
    run = _run(prepared, prepared.targets, costs, capital, rules, limits)
    notes = statements.counts(run)
    hold, equal = (_run(prepared, t, SPOT_HOLDING, capital) for t in (_bought_once(prepared), _rebalanced_daily(prepared)))
    return Backtest(
        model,
        strategy.name,
        costs,
        statements.equity(grid, run, capital, model, strategy.name),
        statements.positions(grid, run, model, strategy.name),
        statements.trades(grid, run, model, strategy.name),
        statements.orders(grid, run, model, strategy.name),
        statements.equity(grid, hold, capital, "buy_and_hold", "reference"),
        statements.equity(grid, equal, capital, "equal_weight", "reference"),
        {**prepared.counts, "settlements": int((run.funding_TN != 0).sum()), "missed": notes.get("no bar", 0)},
        notes,
    )


def cost_sensitivity(
    forecasts: pl.DataFrame,
    candles: pl.DataFrame,
    funding: pl.DataFrame | None,
    strategy: Strategy,
    costs: Costs = PERPETUAL,
    *,
    model: str,
    multiples: Sequence[float] = (0.0, 1.0, 2.0, 4.0),
    window: Window | None = None,
    initial_capital_usd: float = INITIAL_CAPITAL_USD,
) -> dict[float, pl.DataFrame]:
    """Equity tables of the same decisions with fee and slippage times each of `multiples`; funding stays as it was.

    The no-trade band is that of `costs` throughout, so only what trades cost differs.
    """
    prepared = _prepare(forecasts, market(candles, funding), strategy, costs, window)
    curves = {}
    for multiple in multiples:
        run = _run(prepared, prepared.targets, costs.times(multiple), initial_capital_usd)
        curves[multiple] = statements.equity(prepared.market, run, initial_capital_usd, model, strategy.name)
    return curves


def _prepare(forecasts: pl.DataFrame, whole: Market, strategy: Strategy, costs: Costs, window: Window | None) -> _Prepared:
    require(forecasts, "forecasts", ("symbol", "ts", "horizon", strategy.column), ("symbol", "horizon", "ts"))
    rows = forecasts.filter(pl.col("horizon") == strategy.horizon, pl.col(strategy.column).is_not_null())
    rows = rows.filter(pl.col(strategy.column).is_not_nan())
    if window is not None:
        rows = rows.filter(pl.col("ts").is_between(window.start, window.end, closed="left"))
    is_probability = strategy.column.startswith("p_")
    allowed = pl.col(strategy.column).is_between(0, 1) if is_probability else pl.col(strategy.column).is_finite()
    bad = rows.filter(~allowed)
    if len(bad):
        kind = "a probability" if is_probability else "finite"
        raise SchemaError(f"forecasts.{strategy.column} must be {kind}; the first that is not: {bad.row(0, named=True)}")
    start = int(whole.ts_T[0].astype("int64"))
    signal = Signal(
        lay_out(rows, strategy.column, whole.symbols, start, len(whole.ts_T), np.nan), whole.volatility(), whole.listed_TN
    )
    signal.p_TN[~signal.listed_TN] = np.nan
    decided = ~np.isnan(signal.p_TN)
    hours = np.flatnonzero(decided.any(axis=1))
    if not len(hours):
        raise SchemaError(
            f"no forecast of {strategy.column} at {strategy.horizon} meets a candle "
            f"({len(rows)} forecasts, candles from {whole.ts_T[0]} to {whole.ts_T[-1]}): take another strategy or window"
        )
    cut = slice(int(hours[0]), int(hours[-1]) + 1)
    traded = whole.cut(cut)
    known = whole.known_TN[cut]
    targets = strategy.targets(Signal(signal.p_TN[cut], signal.sigma_TN[cut], signal.listed_TN[cut], known), costs)
    counts = {"decisions": int(decided.sum()), "ignored": len(rows) - int(decided.sum())}
    return _Prepared(traded, whole.last_close(cut.start), signal.sigma_TN[cut], targets, signal.listed_TN[cut], counts)


def _bought_once(prepared: _Prepared) -> Targets:
    """Equal dollars of every coin that trades at the first hour, then nothing."""
    weights = np.full(prepared.listed_TN.shape, np.nan)
    weights[0] = _equal(prepared.listed_TN[:1])[0]
    return Targets(weights, np.zeros(len(weights)))


def _rebalanced_daily(prepared: _Prepared) -> Targets:
    """Equal dollars of every coin that trades, again at each midnight."""
    hour = (prepared.market.ts_T.astype("int64") // HOUR_US) % 24
    weights = np.where((hour == 0)[:, None], _equal(prepared.listed_TN), np.nan)
    weights[0] = _equal(prepared.listed_TN[:1])[0]
    return Targets(weights, np.zeros(len(weights)))


def _equal(listed_TN: np.ndarray) -> np.ndarray:
    """Spot is bought with cash, which has to pay the costs too."""
    return listed_TN / np.maximum(listed_TN.sum(axis=1, keepdims=True), 1) / (1 + SPOT_HOLDING.side)


def _run(
    prepared: _Prepared, targets: Targets, costs: Costs, capital: float, rules: Rules = TAKER, limits: Limits = NO_LEVERAGE
) -> Any:
    from crypto_assets.trading import engine

    grid = prepared.market
    rate_TN = grid.rate_TN if costs.is_funding_paid else np.zeros_like(grid.rate_TN)
    prices = (grid.open_TN, grid.high_TN, grid.low_TN, grid.close_TN, grid.volume_TN, prepared.sigma_TN)
    bars = Bar(grid.ts_T.astype("int64"), *prices, rate_TN, grid.mark_TN, grid.delisted_TN)  # type: ignore[arg-type]
    terms, bounds = rules.terms(grid.symbols, costs), limits.bounds(grid.symbols)
    first = account.opened(capital, prepared.price_N)
    weights, never = np.ascontiguousarray(targets.weights_TN), np.zeros(len(grid.ts_T), bool)
    return engine.run(first, bars, weights, targets.band_T, False, rules.is_maker, never, terms, bounds)[1]
