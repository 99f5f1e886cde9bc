"""The tables of a backtest in the lake: hourly equity and positions, trades, orders, one account per model and strategy."""

from __future__ import annotations

from crypto_assets.lake.tables import TABLES, Field, Table


class BacktestsEquity(Table):
    """One row an hour. `equity_usd = cash_usd + sum of quantity x price`, and
    `gross_equity_usd - equity_usd` = all fees, slippage and funding paid so far.
    """

    name = "backtests/equity"
    key = ("model", "strategy", "ts")

    model: str = Field(meaning="whose forecasts were traded, or a reference")
    strategy: str = Field(meaning="how forecasts became positions")
    equity_usd: float = Field(unit="USD", meaning="account value at the bar's close, all costs paid")
    gross_equity_usd: float = Field(unit="USD", meaning="account value had the same trades cost nothing")
    cash_usd: float = Field(unit="USD", meaning="capital less what was bought plus what was sold, less all costs")
    gross_exposure: float = Field(meaning="sum of absolute position values / equity; 0 where equity is not positive")
    net_exposure: float = Field(meaning="sum of signed position values / equity; 0 where equity is not positive")
    turnover_usd: float = Field(ge=0, unit="USD", meaning="value bought plus value sold in the hour, at the open")
    fees_usd: float = Field(ge=0, unit="USD", meaning="fees of the hour")
    slippage_usd: float = Field(ge=0, unit="USD", meaning="fill worse than the open, in the hour")
    funding_usd: float = Field(unit="USD", meaning="funding paid in the hour; negative when received")


class BacktestsTrades(Table):
    """One row a fill. `ts` is the open of the bar that begins at the decision time, and in which the fill was."""

    name = "backtests/trades"
    key = ("model", "strategy", "symbol", "ts", "reason")

    model: str = Field(meaning="whose forecasts were traded")
    strategy: str = Field(meaning="how forecasts became positions")
    symbol: str
    side: str = Field(isin=("buy", "sell"))
    quantity: float = Field(gt=0, unit="coins", meaning="coins bought or sold")
    price: float = Field(gt=0, unit="USD", meaning="price paid or received, slippage included")
    fee_usd: float = Field(ge=0, unit="USD", meaning="exchange fee")
    slippage_usd: float = Field(ge=0, unit="USD", meaning="fill worse than the open")
    realised_pnl_usd: float = Field(
        unit="USD", meaning="profit of the part that closed a position: fees and slippage of both ends paid, without funding"
    )
    is_maker: bool = Field(meaning="a resting order that the market came to, at its limit price")
    reason: str = Field(
        isin=("signal", "delisting", "liquidation"),
        meaning="why: the strategy asked, the coin stopped trading, or the margin was used up",
    )


class BacktestsOrders(Table):
    """One row an order, or a line about an order that was cut or refused by a limit. `ts` is the decision time."""

    name = "backtests/orders"
    key = ("model", "strategy", "symbol", "ts")

    model: str = Field(meaning="whose forecasts were traded")
    strategy: str = Field(meaning="how forecasts became positions")
    symbol: str
    quantity: float = Field(unit="coins", meaning="signed amount sent, after all limits; 0 = nothing was sent, see reason")
    filled: float = Field(unit="coins", meaning="signed amount that was bought or sold")
    limit_price: float | None = Field(gt=0, unit="USD", meaning="limit of a resting order; null = at market")
    status: str = Field(isin=("filled", "partial", "unfilled", "none"), meaning="what became of it in its bar")
    reason: str = Field(meaning="signal, or the limits and rules that bit, separated by commas")


class BacktestsPositions(Table):
    """One row an hour and coin that is held. `ts` is the bar's close."""

    name = "backtests/positions"
    key = ("model", "strategy", "symbol", "ts")

    model: str = Field(meaning="whose forecasts were traded")
    strategy: str = Field(meaning="how forecasts became positions")
    symbol: str
    quantity: float = Field(unit="coins", meaning="signed: negative is short")
    price: float = Field(gt=0, unit="USD", meaning="the last known close, at which it is marked")
    weight: float = Field(meaning="signed value / equity; 0 where equity is not positive")


class BacktestsSummary(Table):
    """One row an account over its whole life; `ts` is its first hour, `available_at` its last."""

    name = "backtests/summary"
    key = ("model", "strategy", "fold")

    model: str = Field(meaning="whose forecasts were traded")
    strategy: str = Field(meaning="how forecasts became positions")
    fold: str = Field(meaning="first test day of the fold, or all")
    sharpe_net: float | None = Field(meaning="annualised, after all costs; null without variation")
    sharpe_gross: float | None = Field(meaning="annualised, before costs")
    return_net: float = Field(meaning="fraction of the equity the stretch began with")
    max_drawdown: float = Field(ge=0, meaning="largest share lost since the highest value")
    turnover_per_day: float = Field(ge=0, meaning="value bought plus sold, over equity, a day")
    trades: int = Field(ge=0, meaning="number of fills")
    limited: int = Field(ge=0, meaning="lines of backtests/orders with another reason than the signal")


def fold_table(strategy: str) -> type[BacktestsSummary]:
    """Table `backtests/<strategy>`: the same, one row a model and fold."""
    name = f"backtests/{strategy}"
    known = TABLES.get(name)
    if known is not None:
        return known  # type: ignore[return-value]
    title = "".join(part.capitalize() for part in strategy.split("_"))
    doc = f"What the strategy {strategy} made of each model's forecasts, fold by fold; `ts` is the fold's first hour."
    return type(f"Backtests{title}", (BacktestsSummary,), {"name": name, "__doc__": doc, "__module__": __name__})
