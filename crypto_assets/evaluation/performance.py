"""Statistics of an account: from the hourly equity of a backtest to returns, risk and what they are worth.

Returns are fractions an hour, annualised with 24 x 365 hours: crypto never closes. Gross returns are the hour's profit before
fees, slippage and funding over the equity the hour began with, so they belong to the account as it was, not to another one.
A statistic that does not exist (no variation, no trade, fewer than two days) is NaN in the functions and null in `performance`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from crypto_assets.evaluation.selection import probabilistic_sharpe
from crypto_assets.evaluation.statistics import block_bootstrap
from crypto_assets.market.errors import SchemaError
from crypto_assets.trading.backtest import Backtest

Array = np.ndarray

HOURS_A_YEAR = 24 * 365
TAIL = 0.05
"""Value at risk and expected shortfall look at the worst 5 % of days (the 95 % level)."""
BLOCK_DAYS = 5
"""Days drawn together in the bootstrap: positions last about a day, volatility clusters for several."""
DRAWS = 1000


def hourly_returns(equity: pl.DataFrame) -> Array:
    """Net return of each hour, `[T - 1]`; 0 once there is no equity left. `equity`: table backtests/equity of one account."""
    value = _account(equity, "equity_usd")
    return _over(np.diff(value), value[:-1])


def hourly_gross_returns(equity: pl.DataFrame) -> Array:
    """Return of each hour before fees, slippage and funding, `[T - 1]`, on the equity the hour began with."""
    return _over(np.diff(_account(equity, "gross_equity_usd")), _account(equity, "equity_usd")[:-1])


def sharpe(r: Array) -> float:
    """Mean over standard deviation, annualised, against a rate of zero (Sharpe, Journal of Portfolio Management 1994)."""
    spread = r.std(ddof=1) if len(r) > 1 else 0.0
    return float(r.mean() / spread * np.sqrt(HOURS_A_YEAR)) if spread > 0 else float("nan")


def sharpe_interval(r: Array, ts: Array, level: float = 0.95, draws: int = DRAWS) -> tuple[float, float]:
    """Percentile interval of the Sharpe ratio, by the circular block bootstrap over whole days in blocks of five.

    `ts`: datetime64 start of each hour of `r`. (NaN, NaN) with fewer than two blocks of days, where nothing can be learnt.
    """
    _, day = np.unique(ts.astype("datetime64[D]"), return_inverse=True)
    if not len(r) or day[-1] + 1 < 2 * BLOCK_DAYS or not r.any():
        return float("nan"), float("nan")
    days = np.column_stack([np.bincount(day), np.bincount(day, r), np.bincount(day, r * r)])

    def statistic(drawn: Array) -> Array:
        n, total, squares = np.moveaxis(drawn.sum(axis=1), -1, 0)
        variance = (squares - total**2 / n) / (n - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(variance > 0, total / n / np.sqrt(variance), np.nan) * np.sqrt(HOURS_A_YEAR)

    return block_bootstrap(days, statistic, block=BLOCK_DAYS, draws=draws, level=level)


def sortino(r: Array) -> float:
    """Mean over downside deviation (root mean square of the losses), annualised (Sortino and Price 1994)."""
    downside = float(np.sqrt(np.mean(np.minimum(r, 0) ** 2))) if len(r) else 0.0
    return float(r.mean() / downside * np.sqrt(HOURS_A_YEAR)) if downside > 0 else float("nan")


def drawdown(value: Array) -> Array:
    """Share lost since the highest value so far: 0 at a new high, 0.25 after losing a quarter. `value[0]` must be positive."""
    return 1 - value / np.maximum.accumulate(value)


def max_drawdown(value: Array) -> float:
    """Largest drawdown, a positive fraction."""
    return float(drawdown(value).max())


def annual_return(value: Array) -> float:
    """Compound return a year of an hourly value series; -1 where nothing is left."""
    years = (len(value) - 1) / HOURS_A_YEAR
    if years <= 0:
        return float("nan")
    grown = value[-1] / value[0]
    with np.errstate(over="ignore"):
        return float(grown ** (1 / years) - 1) if grown > 0 else -1.0


def calmar(value: Array) -> float:
    """Annual return over maximum drawdown (Young 1991)."""
    worst = max_drawdown(value)
    return annual_return(value) / worst if worst > 0 else float("nan")


def information_ratio(r: Array, benchmark: Array) -> float:
    """Annualised mean over standard deviation of the return beyond the benchmark's."""
    return sharpe(r - benchmark)


def value_at_risk(daily: Array) -> float:
    """Loss that 5 % of days exceed, a positive fraction for a loss."""
    return float(-np.quantile(daily, TAIL)) if len(daily) else float("nan")


def expected_shortfall(daily: Array) -> float:
    """Mean loss of the worst 5 % of days (CVaR), at least one day."""
    worst = np.sort(daily)[: max(1, int(np.floor(TAIL * len(daily))))]
    return float(-worst.mean()) if len(worst) else float("nan")


def period_returns(equity: pl.DataFrame, every: str) -> pl.DataFrame:
    """Net return of each calendar period (`1d`, `1mo`) in UTC: start, return. Hours compound within it.

    The hour that ends at midnight belongs to the day it closes; the first and last periods may be partial.
    """
    rows = pl.DataFrame({"start": equity["ts"][:-1], "r": hourly_returns(equity)})
    return (
        rows.group_by(pl.col("start").dt.truncate(every), maintain_order=True)
        .agg(((1 + pl.col("r")).product() - 1).alias("return"))
        .sort("start")
    )


def daily_returns(equity: pl.DataFrame) -> Array:
    """Net return of each UTC day."""
    return period_returns(equity, "1d")["return"].to_numpy()


def turnover_per_day(equity: pl.DataFrame) -> float:
    """Value bought plus value sold, over equity, a day on average: 2 is everything sold and bought anew each day."""
    turned = _over(_account(equity, "turnover_usd")[1:], _account(equity, "equity_usd")[:-1])
    return float(turned.mean() * 24) if len(turned) else float("nan")


def performance(result: Backtest) -> dict[str, Any]:
    """Everything about one backtest, ready for JSON.

    Fractions unless the key has a unit; drawdown, value at risk and expected shortfall are positive for losses. `trades`
    counts fills; `win_rate_trades` is the share of closing fills with a profit after fees and slippage, `win_rate_days` the
    share of winning days among those that moved. `probabilistic_sharpe` is P(the true Sharpe ratio is positive) from daily
    returns, whose skewness and kurtosis (3 for a normal) stand beside it. `months`: net return of each. `versus` holds
    the references: Sharpe ratio, drawdown and total return of each, and the information ratio against it.
    """
    equity = result.equity
    value = _account(equity, "equity_usd")
    net, gross = hourly_returns(equity), hourly_gross_returns(equity)
    days = daily_returns(equity)
    closing = result.trades.filter(pl.col("realised_pnl_usd") != 0)["realised_pnl_usd"].to_numpy()
    low, high = sharpe_interval(net, equity["ts"].to_numpy()[:-1])
    found = {
        "strategy": result.strategy,
        "sharpe_gross": sharpe(gross),
        "sharpe_net": sharpe(net),
        "sharpe_net_ci95": [low, high] if np.isfinite(low) else None,
        "sortino_net": sortino(net),
        "calmar_net": calmar(value),
        "max_drawdown": max_drawdown(value),
        "turnover_per_day": turnover_per_day(equity),
        "total_return_net": value[-1] / value[0] - 1,
        "total_return_gross": float(np.prod(1 + gross)) - 1,
        "annual_return_net": annual_return(value),
        "annual_volatility_net": float(net.std(ddof=1) * np.sqrt(HOURS_A_YEAR)) if len(net) > 1 else float("nan"),
        "value_at_risk_95_day": value_at_risk(days),
        "expected_shortfall_95_day": expected_shortfall(days),
        "skewness_day": _moment(days, 3),
        "kurtosis_day": _moment(days, 4),
        "probabilistic_sharpe": probabilistic_sharpe(days),
        "win_rate_days": _share(days[days != 0] > 0),
        "win_rate_trades": _share(closing > 0),
        "gross_exposure_mean": float(_account(equity, "gross_exposure")[1:].mean()) if len(net) else float("nan"),
        "final_value_usd": value[-1],
        "trades": len(result.trades),
        "fees_usd": float(_account(equity, "fees_usd").sum()),
        "slippage_usd": float(_account(equity, "slippage_usd").sum()),
        "funding_usd": float(_account(equity, "funding_usd").sum()),
        "days": len(days),
        "versus": {
            "buy_and_hold": _versus(net, result.buy_and_hold),
            "equal_weight": _versus(net, result.equal_weight),
        },
        "months": [{"month": f"{start:%Y-%m}", "return": r} for start, r in period_returns(equity, "1mo").iter_rows()],
        "counts": dict(result.counts),
    }
    return _plain(found)


def _versus(net: Array, reference: pl.DataFrame) -> dict[str, float]:
    value, r = _account(reference, "equity_usd"), hourly_returns(reference)
    return {
        "sharpe_net": sharpe(r),
        "max_drawdown": max_drawdown(value),
        "total_return_net": value[-1] / value[0] - 1,
        "information_ratio": information_ratio(net, r),
    }


def _account(equity: pl.DataFrame, column: str) -> Array:
    """The column of one account in time order; refuses two accounts in one frame, which would chain their returns."""
    if equity.is_empty():
        raise SchemaError("the equity table holds no rows: run the backtest over a window with forecasts")
    if not (equity["ts"].diff().drop_nulls().dt.total_seconds() == 3600).all():
        raise SchemaError("the equity table must be one account, hourly and in time order: filter one model and strategy")
    return equity[column].to_numpy()


def _over(change: Array, base: Array) -> Array:
    return np.divide(change, base, out=np.zeros(len(change)), where=base > 0)


def _moment(x: Array, order: int) -> float:
    """Standardised central moment; NaN without variation."""
    spread = x.std() if len(x) else 0.0
    return float(np.mean(((x - x.mean()) / spread) ** order)) if spread > 0 else float("nan")


def _share(flags: Array) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def _plain(value: Any) -> Any:
    """Numpy scalars as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
