"""The backtest: a forecast table traded over the candles, as tables of equity, positions and trades.

Decided at `ts` (a bar's close), filled at the open of the bar that begins at `ts`, marked at that bar's close. References on
the same coins and hours stand beside it. numba is imported inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import Window
from crypto_assets.trading.costs import BPS, PERPETUAL, SPOT_HOLDING, Costs
from crypto_assets.trading.grid import HOUR_US, Market, lay_out, market, require
from crypto_assets.trading.strategy import Signal, Strategy, Targets
from crypto_assets.trading.tables import BacktestsEquity, BacktestsTrades

INITIAL_CAPITAL_USD = 10_000.0
EXPOSURE_CAP = 1.0
"""Sum of absolute position values over equity: no leverage."""


@dataclass(frozen=True)
class Backtest:
    """One account's life.

    `equity`: table backtests/equity, one row an hour from the first decision (initial capital) on. `positions`: symbol, ts =
    bar's close, quantity, price, weight; rows with a position only. `trades`: table backtests/trades. `buy_and_hold`,
    `equal_weight`: equity tables of the references over the same hours. `counts`: decisions (coin-hours with a forecast),
    ignored (forecasts of coins without a bar closing then), settlements (funding rates met while in a position), missed
    (orders that found no bar).
    """

    model: str
    strategy: str
    costs: Costs
    equity: pl.DataFrame
    positions: pl.DataFrame
    trades: pl.DataFrame
    buy_and_hold: pl.DataFrame
    equal_weight: pl.DataFrame
    counts: dict[str, int]


@dataclass(frozen=True)
class _Prepared:
    """A market cut to the hours that are traded, last prices before them, and the targets."""

    market: Market
    price_N: np.ndarray
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
    run = _run(prepared, prepared.targets, costs, capital)
    hold, equal = (_run(prepared, t, SPOT_HOLDING, capital) for t in (_bought_once(prepared), _rebalanced_daily(prepared)))
    return Backtest(
        model,
        strategy.name,
        costs,
        _equity(grid, run, capital, model, strategy.name),
        _positions(grid, run),
        _trades(grid, run, model, strategy.name),
        _equity(grid, hold, capital, "buy_and_hold", "reference"),
        _equity(grid, equal, capital, "equal_weight", "reference"),
        {**prepared.counts, "settlements": int((run.funding_TN != 0).sum()), "missed": int(run.missed)},
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
        curves[multiple] = _equity(prepared.market, run, initial_capital_usd, model, strategy.name)
    return curves


def _prepare(forecasts: pl.DataFrame, whole: Market, strategy: Strategy, costs: Costs, window: Window | None) -> _Prepared:
    require(forecasts, "forecasts", ("symbol", "ts", "horizon", strategy.column), ("symbol", "horizon", "ts"))
    rows = forecasts.filter(pl.col("horizon") == strategy.horizon, pl.col(strategy.column).is_not_null())
    rows = rows.filter(pl.col(strategy.column).is_not_nan())
    if window is not None:
        rows = rows.filter(pl.col("ts").is_between(window.start, window.end, closed="left"))
    bad = rows.filter(~pl.col(strategy.column).is_between(0, 1))
    if len(bad):
        raise SchemaError(f"forecasts.{strategy.column} must be a probability; the first that is not: {bad.row(0, named=True)}")
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
    targets = strategy.targets(Signal(signal.p_TN[cut], signal.sigma_TN[cut], signal.listed_TN[cut]), costs)
    counts = {"decisions": int(decided.sum()), "ignored": len(rows) - int(decided.sum())}
    return _Prepared(traded, whole.last_close(cut.start), targets, signal.listed_TN[cut], counts)


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


@dataclass(frozen=True)
class _Run:
    """An account's life as arrays: `[T]` cash, `[T, N]` the rest, each row at its bar's close; units as in `engine`."""

    cash_T: np.ndarray
    quantity_TN: np.ndarray
    price_TN: np.ndarray
    traded_TN: np.ndarray
    reference_TN: np.ndarray
    fee_TN: np.ndarray
    slippage_TN: np.ndarray
    realised_TN: np.ndarray
    funding_TN: np.ndarray
    missed: int

    @property
    def value_TN(self) -> np.ndarray:
        """Signed position values, USD."""
        return self.quantity_TN * np.nan_to_num(self.price_TN)


def _run(prepared: _Prepared, targets: Targets, costs: Costs, capital: float) -> _Run:
    from crypto_assets.trading import engine

    grid = prepared.market
    rate_TN = grid.rate_TN if costs.is_funding_paid else np.zeros_like(grid.rate_TN)
    bars = engine.Bar(grid.open_TN, grid.close_TN, rate_TN, grid.mark_TN, grid.delisted_TN)
    terms = engine.Terms(costs.taker_fee_bps * BPS, costs.slippage_bps * BPS, EXPOSURE_CAP)
    weights = np.ascontiguousarray(targets.weights_TN)
    return _Run(*engine.run(engine.opened(capital, prepared.price_N), bars, weights, targets.band_T, terms))


def _equity(grid: Market, run: _Run, capital: float, model: str, strategy: str) -> pl.DataFrame:
    value_TN = run.value_TN
    equity = np.append(capital, run.cash_T + value_TN.sum(axis=1))
    fees, slippage, funding = (np.append(0.0, x.sum(axis=1)) for x in (run.fee_TN, run.slippage_TN, run.funding_TN))
    gross, net = np.append(0.0, np.abs(value_TN).sum(axis=1)), np.append(0.0, value_TN.sum(axis=1))
    alive = equity > 0
    frame = pl.DataFrame(
        {
            "ts": np.append(grid.ts_T[:1], grid.ts_T + np.timedelta64(1, "h")),
            "equity_usd": equity,
            "gross_equity_usd": equity + np.cumsum(fees + slippage + funding),
            "cash_usd": np.append(capital, run.cash_T),
            "gross_exposure": np.divide(gross, equity, out=np.zeros_like(gross), where=alive),
            "net_exposure": np.divide(net, equity, out=np.zeros_like(net), where=alive),
            "turnover_usd": np.append(0.0, np.nansum(np.abs(run.traded_TN) * run.reference_TN, axis=1)),
            "fees_usd": fees,
            "slippage_usd": slippage,
            "funding_usd": funding,
        }
    )
    return BacktestsEquity.shape(_stamped(frame, model, strategy))


def _positions(grid: Market, run: _Run) -> pl.DataFrame:
    t, n = np.nonzero(run.quantity_TN)
    equity_T = run.cash_T + run.value_TN.sum(axis=1)
    value = run.value_TN[t, n]
    frame = pl.DataFrame(
        {
            "symbol": _symbols(grid, n),
            "ts": grid.ts_T[t] + np.timedelta64(1, "h"),
            "quantity": run.quantity_TN[t, n],
            "price": run.price_TN[t, n],
            "weight": np.divide(value, equity_T[t], out=np.zeros_like(value), where=equity_T[t] > 0),
        }
    )
    return frame.with_columns(pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def _trades(grid: Market, run: _Run, model: str, strategy: str) -> pl.DataFrame:
    t, n = np.nonzero(run.traded_TN)
    traded, slippage = run.traded_TN[t, n], run.slippage_TN[t, n]
    quantity = np.abs(traded)
    frame = pl.DataFrame(
        {
            "symbol": _symbols(grid, n),
            "ts": grid.ts_T[t],
            "quantity": quantity,
            "price": run.reference_TN[t, n] + np.sign(traded) * slippage / quantity,
            "fee_usd": run.fee_TN[t, n],
            "slippage_usd": slippage,
            "realised_pnl_usd": run.realised_TN[t, n],
            "is_buy": traded > 0,
            "is_delisted": grid.delisted_TN[t, n],
        }
    )
    frame = frame.with_columns(
        side=pl.when("is_buy").then(pl.lit("buy")).otherwise(pl.lit("sell")),
        reason=pl.when("is_delisted").then(pl.lit("delisting")).otherwise(pl.lit("signal")),
    )
    return BacktestsTrades.shape(_stamped(frame.drop("is_buy", "is_delisted"), model, strategy))


def _symbols(grid: Market, n: np.ndarray) -> pl.Series:
    return pl.Series(grid.symbols, dtype=pl.String).gather(n)


def _stamped(frame: pl.DataFrame, model: str, strategy: str) -> pl.DataFrame:
    ts = pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(ts, model=pl.lit(model), strategy=pl.lit(strategy)).with_columns(available_at=pl.col("ts"))
