"""The paper account: it is the backtest hour by hour, and what cannot be used has a defined outcome and a line that says so."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading import account as accounts
from crypto_assets.trading import paper
from crypto_assets.trading.backtest import backtest
from crypto_assets.trading.limits import Limits
from crypto_assets.trading.paper import Complaint, Plan
from crypto_assets.trading.venues import Rules
from crypto_assets_tests.trading import papers
from crypto_assets_tests.trading.papers import BEGINS, COINS, plan, told
from crypto_assets_tests.trading.worlds import HOUR

BAR = 5
"""Hours after the beginning at which something goes wrong."""


@pytest.mark.parametrize("strategy", ["relative_24h", "direction_1h"])
def test_hour_by_hour_it_is_the_backtest_to_the_last_bit(strategy):
    account = plan(strategy, limits=Limits(coin=0.2))
    hours = papers.live(account)
    bars, rates, said = papers.tables()
    batch = backtest(
        said.filter(pl.col("horizon") == account.rule.horizon),
        bars.filter(pl.col("ts") >= BEGINS - paper.WARMUP),
        rates,
        account.rule,
        model="m",
        limits=account.limits,
    )
    last = hours[-1].standing.at
    assert [h.values["equity_usd"] for h in hours] == batch.equity.filter(pl.col("ts") <= last)["equity_usd"].to_list()
    trades = pl.concat([h.trades for h in hours])
    assert trades.height > 20
    assert trades.equals(batch.trades.filter(pl.col("ts") < last))


def test_an_order_is_known_before_its_bar_and_is_what_the_bar_then_gets():
    hours = papers.live(plan("direction_1h"))
    for before, after in pairwise(hours):
        key = ["symbol", "ts", "quantity", "limit_price"]
        sent, settled = (h.filter(pl.col("quantity") != 0).select(key) for h in (before.sent, after.settled))
        assert sent.equals(settled)
    assert sum(h.sent.height for h in hours) > 30


def _hour(bad, account: Plan | None = None, until: int = BAR):
    """The account after an hour in which `bad(told)` was told instead, and what was complained about."""
    account = account or plan("direction_1h")
    memory, standing = papers.start(account)
    for n in range(until + 1):
        what = told(account, n)
        memory, hour = paper.advance(account, memory, standing, bad(what) if n == until else what)
        standing = hour.standing
    return hour


def _at(frame: pl.DataFrame, symbol: str, **values: object) -> pl.DataFrame:
    """`frame` with other values in a coin's row."""
    mine = pl.col("symbol") == symbol
    return frame.with_columns(pl.when(mine).then(pl.lit(v)).otherwise(pl.col(c)).alias(c) for c, v in values.items())


BAD = {
    "NaN forecast": (lambda t: replace(t, forecasts=_at(t.forecasts, "C1", value=float("nan"))), paper.NO_PROBABILITY),
    "forecast above 1": (lambda t: replace(t, forecasts=_at(t.forecasts, "C1", value=1.5)), paper.NO_PROBABILITY),
    "null forecast": (lambda t: replace(t, forecasts=_at(t.forecasts, "C1", value=None)), paper.NO_FORECAST),
    "no forecast": (lambda t: replace(t, forecasts=t.forecasts.filter(pl.col("symbol") != "C1")), paper.NO_FORECAST),
    "stale forecast": (lambda t: replace(t, forecasts=_at(t.forecasts, "C1", ts=t.at - HOUR)), paper.OTHER_HOUR),
    "duplicate forecast": (
        lambda t: replace(t, forecasts=pl.concat([t.forecasts, t.forecasts.filter(symbol="C1")])),
        paper.TWICE,
    ),
    "duplicate bar": (lambda t: replace(t, bars=pl.concat([t.bars, t.bars.filter(symbol="C1")])), paper.TWICE),
    "bar of another hour": (lambda t: replace(t, bars=_at(t.bars, "C1", ts=t.at - 3 * HOUR)), paper.REVISED),
    "zero price": (lambda t: replace(t, bars=_at(t.bars, "C1", open=0.0)), paper.BAD_PRICE),
    "negative price": (lambda t: replace(t, bars=_at(t.bars, "C1", close=-3.0)), paper.BAD_PRICE),
    "NaN price": (lambda t: replace(t, bars=_at(t.bars, "C1", close=float("nan"))), paper.BAD_PRICE),
    "halted coin": (lambda t: replace(t, bars=t.bars.filter(pl.col("symbol") != "C1")), accounts.NOTES[accounts.MISSED]),
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_cannot_be_used_is_left_out_and_named(name):
    bad, what = BAD[name]
    hour = _hour(bad)
    assert Complaint("C1", what) in hour.complaints
    assert np.isfinite(hour.values["equity_usd"])


@pytest.mark.parametrize("name", ["duplicate forecast", "duplicate bar"])
def test_what_is_told_twice_counts_once(name):
    assert _hour(BAD[name][0]).values == _hour(lambda t: t).values


def test_a_forecast_of_a_coin_that_has_no_bar_or_is_not_the_accounts_trades_nothing():
    foreign = pl.DataFrame({"symbol": ["DOGE"], "value": [0.99], "model_version": ["v1"]})
    hour = _hour(
        lambda t: replace(t, forecasts=pl.concat([t.forecasts, foreign.with_columns(ts=t.forecasts["ts"][0])], how="diagonal"))
    )
    assert Complaint("DOGE", paper.FOREIGN) in hour.complaints
    assert set(hour.sent["symbol"]) <= set(COINS)


def test_without_forecasts_what_is_held_expires_with_the_strategys_horizon():
    account = plan("direction_1h")
    silent = _hour(lambda t: replace(t, forecasts=t.forecasts.clear()), account)
    held = silent.standing.account.quantity_N != 0
    assert held.any()
    assert (silent.standing.wanted.target_N[held] == 0).all()


def test_a_coin_that_stays_silent_for_a_day_is_settled_at_its_last_price():
    account = plan("relative_24h")
    memory, standing = papers.start(account)
    hours = []
    for n in range(40):
        what = told(account, n)
        if n > 10:
            what = replace(what, bars=what.bars.filter(pl.col("symbol") != "C1"))
        memory, hour = paper.advance(account, memory, standing, what)
        standing = hour.standing
        hours.append(hour)
    (settled,) = [h for h in hours if "delisting" in h.trades["reason"].to_list()]
    assert settled.standing.at - BEGINS in [n * HOUR for n in range(34, 37)]
    assert standing.account.quantity_N[COINS.index("C1")] == 0


def test_a_strategy_that_asks_for_more_than_the_limits_gets_less_and_is_told_why():
    hours = papers.live(plan("direction_1h", limits=Limits(coin=0.1)))
    orders = pl.concat([h.sent for h in hours])
    assert orders.filter(pl.col("reason").str.contains("coin cap")).height > 10
    assert max(h.values["gross_exposure"] for h in hours) < 0.4


def test_an_account_below_its_margin_is_liquidated_with_the_reason():
    account = plan("direction_1h", rules=Rules(maintenance=0.5), limits=Limits(gross=3.0))
    hour = _hour(lambda t: t, account, until=1)
    standing = hour.standing._replace(wanted=accounts.targets([2.9, 0.0, 0.0]))
    memory, _ = papers.start(account)
    for n in range(2):
        memory = memory.with_(paper.sift(account, told(account, n))[0])
    crash = replace(told(account, 2), bars=_at(told(account, 2).bars, "C0", close=1.0))
    _, after = paper.advance(account, memory, standing, crash)
    assert "liquidation" in after.trades["reason"].to_list()
    assert any("liquidation" in reason for reason in after.settled["reason"])


def test_the_kill_switch_closes_everything_at_the_next_open():
    account = plan("direction_1h")
    memory, standing = papers.start(account)
    for n in range(8):
        memory, hour = paper.advance(account, memory, standing, replace(told(account, n), is_killed=n >= 6))
        standing = hour.standing
    assert not standing.account.quantity_N.any()
    assert hour.sent.filter(pl.col("quantity") != 0).is_empty()


def test_hours_come_one_by_one():
    account = plan()
    memory, standing = papers.start(account)
    for n in (1, -1):
        with pytest.raises(SettingsError, match="one by one"):
            paper.advance(account, memory, standing, told(account, n))


def test_a_plan_refuses_what_cannot_be_traded():
    for wrong in (
        {"strategy": "nothing"},
        {"capital_usd": -1.0},
        {"capital_usd": float("nan")},
        {"begins": BEGINS.replace(minute=3)},
    ):
        with pytest.raises(SettingsError):
            replace(plan(), **wrong)
    assert Plan.load(plan(limits=Limits(coin=0.3)).dump()) == plan(limits=Limits(coin=0.3))
