"""A paper account: what it is told each hour, what it makes of it. Pure; `paper_ledger` writes it down.

At the close of each hour, `at`: the bar that has just closed is stepped with what was decided at its open (`engine.step`, the
backtest's own), then the forecasts of `at` become targets by the same strategy over everything the account was ever told, and
the orders that follow from them are written down before the bar in which they fill has begun. Nothing but what was told
enters, so the same hours give the same account whoever tells them and however often the process dies in between.

What cannot be used is left out, with a line that says what it was (`Complaint`): a bar without a positive price, a forecast
that is no probability, of another hour or of a coin without a bar, whatever comes twice. A coin without a forecast opens
nothing, and what it holds expires as the strategy says; a coin without a bar cannot be traded until it has one, and is
settled at its last price after a day of silence. What a limit cuts or refuses is in the order's reason (`account.NOTES`).
numba is imported inside.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.trading import account as accounts
from crypto_assets.trading import statements
from crypto_assets.trading.account import Account, Bar, Bounds, Orders, Terms
from crypto_assets.trading.backtest import INITIAL_CAPITAL_USD, TAKER
from crypto_assets.trading.costs import PERPETUAL, Costs
from crypto_assets.trading.grid import DELISTED_AFTER, HOUR_US, VOLATILITY_HOURS, Market, lay_out
from crypto_assets.trading.limits import NO_LEVERAGE, Limits
from crypto_assets.trading.strategies import strategies
from crypto_assets.trading.strategy import Signal, Strategy
from crypto_assets.trading.venues import Rules

WARMUP = VOLATILITY_HOURS * HOUR + DAY
"""Bars before the first decision that the volatilities are made of."""
BAR = ("open", "high", "low", "close", "quote_volume_usd")
BARS = {"symbol": pl.String(), "ts": UTC_US, **dict.fromkeys(BAR, pl.Float64())}
FUNDING = {"symbol": pl.String(), "ts": UTC_US, "funding_rate": pl.Float64(), "mark_price": pl.Float64()}
FORECASTS = {"symbol": pl.String(), "ts": UTC_US, "value": pl.Float64(), "model_version": pl.String()}

NO_FORECAST, NO_PROBABILITY, OTHER_HOUR = "no forecast", "forecast is no probability", "forecast of another hour"
FOREIGN, TWICE, REVISED = "forecast of a coin without a bar", "told twice", "bar of another hour"
BAD_PRICE, BAD_RATE = accounts.NOTES[accounts.BAD_PRICE], "funding rate is no number"
EVERYTHING = "*"
"""`symbol` of a complaint that is about no coin in particular."""


@dataclass(frozen=True)
class Plan:
    """What an account is; fixed when it is opened.

    `begins`: the first hour at which it decides. `symbols`: in the panel's order.
    """

    name: str
    model: str
    strategy: str
    symbols: tuple[str, ...]
    begins: datetime
    capital_usd: float = INITIAL_CAPITAL_USD
    costs: Costs = PERPETUAL
    rules: Rules = TAKER
    limits: Limits = NO_LEVERAGE
    files: tuple[str, ...] = ()
    """Strategy files of the user's own."""

    def __post_init__(self) -> None:
        known = strategies(self.files)
        if self.strategy not in known:
            raise SettingsError(f"no strategy {self.strategy!r}: choose one of {', '.join(known)}")
        object.__setattr__(self, "_rule", known[self.strategy])
        if not (math.isfinite(self.capital_usd) and self.capital_usd > 0):
            raise SettingsError(f"the capital must be a finite amount above 0, was {self.capital_usd!r}")
        if self.begins.tzinfo is None or self.begins.replace(minute=0, second=0, microsecond=0) != self.begins:
            raise SettingsError(f"an account begins at a full hour in UTC, was {self.begins!r}")

    @property
    def rule(self) -> Strategy:
        """The strategy itself."""
        rule: Strategy = self._rule  # type: ignore[attr-defined]
        return rule

    @property
    def coins(self) -> tuple[str, ...]:
        """The coins of the account, sorted as the backtest has them, so that sums are added up in the same order."""
        return tuple(sorted(self.symbols))

    def terms(self) -> Terms:
        """The venue's terms as numbers."""
        return self.rules.terms(self.coins, self.costs)

    def bounds(self) -> Bounds:
        """The limits as numbers."""
        return self.limits.bounds(self.coins)

    def dump(self) -> str:
        """As JSON."""
        return json.dumps({**asdict(self), "begins": self.begins.isoformat()}, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Plan:
        """What `dump` wrote."""
        plain: dict[str, Any] = json.loads(text)
        plain["begins"] = datetime.fromisoformat(plain["begins"])
        plain |= {name: tuple(plain[name]) for name in ("symbols", "files")}
        plain |= {name: kind(**plain[name]) for name, kind in (("costs", Costs), ("rules", Rules), ("limits", Limits))}
        return cls(**plain)


class Complaint(NamedTuple):
    """Something that was left out, or missing."""

    symbol: str
    what: str


@dataclass(frozen=True)
class Told:
    """What an hour brings: rows with the columns of BARS (whose bars closed at `at`), FUNDING (settled at their open) and
    FORECASTS (made at `at`). `said`: what went wrong on the way here.
    """

    at: datetime
    bars: pl.DataFrame
    funding: pl.DataFrame
    forecasts: pl.DataFrame
    is_killed: bool = False
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Memory:
    """Everything an account was told and could use, oldest first; `since`: open of the first bar."""

    since: datetime
    bars: pl.DataFrame
    funding: pl.DataFrame
    forecasts: pl.DataFrame

    def with_(self, told: Told) -> Memory:
        """And an hour more."""
        pairs = ((self.bars, told.bars), (self.funding, told.funding), (self.forecasts, told.forecasts))
        return Memory(self.since, *(pl.concat([old, new]) for old, new in pairs))


class Standing(NamedTuple):
    """An account between two hours: its state at the close `at`, and what it wants of the bar that opens then."""

    at: datetime
    account: Account
    wanted: Orders


@dataclass(frozen=True)
class Hour:
    """What an hour did. `values`: equity_usd, cash_usd, gross and net exposure, turnover, fees, slippage and funding in USD.

    `settled`, `sent`: rows of backtests/orders, those decided an hour ago with what became of them, and the new ones (status
    `sent`); `trades`: rows of backtests/trades. `told` is what was used of what was told.
    """

    standing: Standing
    told: Told
    values: dict[str, float]
    trades: pl.DataFrame
    settled: pl.DataFrame
    sent: pl.DataFrame
    complaints: tuple[Complaint, ...]


def opened(plan: Plan, warmup: pl.DataFrame) -> tuple[Memory, Standing]:
    """A new account before its first hour, `begins`, with the bars before the one that closes then."""
    since, first = plan.begins - WARMUP, plan.begins - HOUR
    bars = _only(warmup, BARS, plan).filter(pl.col("ts") >= since, pl.col("ts") < first)
    good = bars.filter(_is_price("open"), _is_price("close")).unique(["symbol", "ts"], keep="first").sort("symbol", "ts")
    nothing = [pl.DataFrame(schema=schema) for schema in (FUNDING, FORECASTS)]
    memory = Memory(since, good, *nothing)
    N = len(plan.coins)
    price_N = grid(plan, memory, first).last_close(_row(since, first))
    return memory, Standing(first, accounts.opened(plan.capital_usd, price_N), accounts.targets(np.full(N, np.nan)))


def sift(plan: Plan, told: Told) -> tuple[Told, tuple[Complaint, ...]]:
    """What can be used of what was told, and what is wrong with the rest."""
    found: list[Complaint] = [Complaint(EVERYTHING, what) for what in told.said]

    def take(rows: pl.DataFrame, is_good: pl.Expr, what: str) -> pl.DataFrame:
        kept = rows.filter(is_good.fill_null(False))
        bad = rows.filter(~is_good.fill_null(False))["symbol"].unique().sort().to_list()
        found.extend(Complaint(symbol, what) for symbol in bad)
        return kept

    bars = take(_only(told.bars, BARS, plan), pl.col("ts") == told.at - HOUR, REVISED)
    bars = take(bars, _is_price("open") & _is_price("close"), BAD_PRICE)
    bars = take(bars, pl.col("symbol").is_first_distinct(), TWICE).sort("symbol")
    funding = _only(told.funding, FUNDING, plan).filter(pl.col("ts").dt.round("1h") == told.at - HOUR)
    funding = take(funding, pl.col("funding_rate").is_finite(), BAD_RATE).unique("symbol", keep="first").sort("symbol")
    forecasts = take(
        told.forecasts.select(pl.col(c).cast(t) for c, t in FORECASTS.items()), pl.col("ts") == told.at, OTHER_HOUR
    )
    forecasts = take(forecasts, pl.col("symbol").is_in(bars["symbol"].implode()), FOREIGN)
    forecasts = take(forecasts, pl.col("symbol").is_first_distinct(), TWICE).sort("symbol")
    forecasts = take(forecasts, pl.col("value").is_null() | pl.col("value").is_between(0, 1), NO_PROBABILITY)
    forecasts = forecasts.filter(pl.col("value").is_not_null())
    named = {c.symbol for c in found} | set(forecasts["symbol"])
    found += [Complaint(symbol, NO_FORECAST) for symbol in bars["symbol"] if symbol not in named]
    missing = sorted(set(plan.coins) - set(bars["symbol"]) - {c.symbol for c in found if c.what == BAD_PRICE})
    found += [Complaint(symbol, accounts.NOTES[accounts.MISSED]) for symbol in missing]
    return replace(told, bars=bars, funding=funding, forecasts=forecasts), tuple(found)


def advance(plan: Plan, memory: Memory, standing: Standing, told: Told) -> tuple[Memory, Hour]:
    """The next hour of an account. Raises SettingsError where `told` is not of the hour after the account's."""
    from crypto_assets.trading import engine

    if told.at != standing.at + HOUR:
        raise SettingsError(f"the account stands at {standing.at}, was told of {told.at}: hours come one by one")
    used, complaints = sift(plan, told)
    memory = memory.with_(used)
    market = grid(plan, memory, told.at)
    t = len(market.ts_T) - 2
    after, flows = engine.step(standing.account, _bar(plan, market, t), standing.wanted, plan.terms(), plan.bounds())
    wanted = _decided(plan, memory, market, told)
    history = _history(after, flows)
    row, names = market.cut(slice(t, t + 1)), (plan.model, plan.strategy)
    hour = Hour(
        Standing(told.at, after, wanted),
        used,
        _values(after, history),
        statements.trades(row, history, *names),
        statements.orders(row, history, *names),
        _sent(plan, market, after, wanted),
        complaints,
    )
    return memory, hour


def grid(plan: Plan, memory: Memory, at: datetime) -> Market:
    """The bars since the first, and an empty one that opens at `at`."""
    start, hours = _micros(memory.since), _row(memory.since, at) + 1

    def laid(frame: pl.DataFrame, column: str, empty: float = np.nan) -> np.ndarray:
        return lay_out(frame, column, plan.coins, start, hours, empty)

    opens, high, low, close, volume = (laid(memory.bars, column) for column in BAR)
    snapped = memory.funding.with_columns(pl.col("ts").dt.round("1h"))
    age = np.arange(hours)[:, None] - np.maximum.accumulate(
        np.where(np.isnan(close), -DELISTED_AFTER * hours, np.arange(hours)[:, None]), axis=0
    )
    was_there = np.maximum.accumulate(~np.isnan(close), axis=0)
    ts = (start + HOUR_US * np.arange(hours)).astype("datetime64[us]")
    rates = laid(snapped, "funding_rate", 0.0), laid(snapped, "mark_price")
    return Market(ts, plan.coins, opens, high, low, close, volume, *rates, was_there & (age >= DELISTED_AFTER))


def _decided(plan: Plan, memory: Memory, market: Market, told: Told) -> Orders:
    """What the strategy wants at `told.at`, from all forecasts since the first."""
    T, N = market.close_TN.shape
    if memory.forecasts.is_empty():
        return accounts.targets(np.full(N, np.nan), is_maker=plan.rules.is_maker, is_killed=told.is_killed)
    p_TN = lay_out(memory.forecasts, "value", plan.coins, _micros(memory.since), T, np.nan)
    since = slice(int(np.flatnonzero((~np.isnan(p_TN)).any(axis=1))[0]), T)
    signal = Signal(p_TN[since], market.volatility()[since], market.listed_TN[since])
    targets = plan.rule.targets(signal, plan.costs)
    return accounts.targets(
        targets.weights_TN[-1], float(targets.band_T[-1]), is_maker=plan.rules.is_maker, is_killed=told.is_killed
    )


def _sent(plan: Plan, market: Market, account: Account, wanted: Orders) -> pl.DataFrame:
    """The orders that `wanted` means: those that a step sends into a bar of which nothing is known yet."""
    from crypto_assets.trading import engine

    t = len(market.ts_T) - 1
    nothing = np.zeros(len(plan.coins))
    bar = _bar(plan, market, t)._replace(rate_N=nothing, delisted_N=nothing > 0)
    after, flows = engine.step(account, bar, wanted, plan.terms(), plan.bounds())
    flows = flows._replace(note_N=flows.note_N & ~accounts.MISSED)
    rows = statements.orders(market.cut(slice(t, t + 1)), _history(after, flows), plan.model, plan.strategy)
    return rows.with_columns(status=pl.when(pl.col("quantity") == 0).then(pl.lit("none")).otherwise(pl.lit("sent")))


def _bar(plan: Plan, market: Market, t: int) -> Bar:
    rate_N = market.rate_TN[t] if plan.costs.is_funding_paid else np.zeros(len(plan.coins))
    return Bar(
        int(market.ts_T[t].astype("int64")),
        market.open_TN[t],
        market.high_TN[t],
        market.low_TN[t],
        market.close_TN[t],
        market.volume_TN[t],
        market.volatility()[t],
        rate_N,
        market.mark_TN[t],
        market.delisted_TN[t],
    )


def _history(account: Account, flows: Any) -> Any:
    """One bar as the backtest keeps many."""
    from crypto_assets.trading import engine

    fills, forced = (accounts.Fills(*(x[None] for x in f)) for f in (flows.fills, flows.forced))
    held = (np.array([account.cash]), account.quantity_N[None], account.price_N[None])
    return engine.History(
        *held, flows.order_N[None], flows.limit_N[None], fills, forced, flows.funding_N[None], flows.note_N[None]
    )


def _values(account: Account, history: Any) -> dict[str, float]:
    value_N = statements.values(history)[0]
    equity = float(account.cash + value_N.sum())
    both = (history.fills, history.forced)
    return {
        "equity_usd": equity,
        "cash_usd": float(account.cash),
        "gross_exposure": float(np.abs(value_N).sum() / equity) if equity > 0 else 0.0,
        "net_exposure": float(value_N.sum() / equity) if equity > 0 else 0.0,
        "turnover_usd": float(sum(np.nansum(np.abs(f.traded_N) * f.reference_N) for f in both)),
        "fees_usd": float(sum(f.fee_N.sum() for f in both)),
        "slippage_usd": float(sum(f.slippage_N.sum() for f in both)),
        "funding_usd": float(history.funding_TN.sum()),
    }


def _only(rows: pl.DataFrame, schema: dict[str, Any], plan: Plan) -> pl.DataFrame:
    """The columns of `schema`, null where they are not there, of the account's coins."""
    columns = [pl.col(c).cast(t) if c in rows.columns else pl.lit(None, t).alias(c) for c, t in schema.items()]
    return rows.filter(pl.col("symbol").is_in(list(plan.coins))).select(columns)


def _is_price(column: str) -> pl.Expr:
    return (pl.col(column).is_finite() & (pl.col(column) > 0)).fill_null(False)


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _row(since: datetime, at: datetime) -> int:
    return (at - since) // HOUR


def order_id(strategy: str, symbol: str, at: datetime) -> str:
    """The name of an order: the same decision is always the same order."""
    return f"{strategy}:{symbol}:{at:%Y-%m-%dT%H}Z"


def kinds(complaints: Sequence[Complaint]) -> dict[str, int]:
    """How often each kind of complaint was made."""
    found: dict[str, int] = {}
    for complaint in complaints:
        found[complaint.what] = found.get(complaint.what, 0) + 1
    return found
