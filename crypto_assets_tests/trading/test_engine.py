"""The account against plain arithmetic: identities that must hold in every hour, and single bars computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.trading import engine

CENT = 0.01


def bar(opens, closes, rate=0.0, mark=np.nan, delisted=False) -> engine.Bar:
    n = len(opens)
    full = [np.broadcast_to(np.asarray(x), n).copy() for x in (rate, mark, delisted)]
    return engine.Bar(
        np.asarray(opens, float), np.asarray(closes, float), full[0].astype(float), full[1].astype(float), full[2]
    )


def test_a_buy_at_the_next_open_pays_slippage_and_fee():
    account = engine.opened(10_000, np.array([100.0]))
    after, flows = engine.step(account, bar([110.0], [121.0]), np.array([0.5]), 0.0, engine.Terms(5e-4, 2e-4, 1.0))
    coins = 0.5 * 10_000 / 100.0  # sized at the last close, not at the fill
    price = 110.0 * 1.0002
    assert flows.traded_N[0] == pytest.approx(coins)
    assert flows.fee_N[0] == pytest.approx(coins * price * 5e-4)
    assert flows.slippage_N[0] == pytest.approx(coins * 110.0 * 2e-4)
    assert engine.equity_of(after) == pytest.approx(10_000 - coins * price * (1 + 5e-4) + coins * 121.0)


@pytest.mark.parametrize(("weight", "sign"), [(1.0, 1), (-1.0, -1)])
def test_longs_pay_a_positive_funding_rate_and_shorts_receive_it(weight, sign):
    terms = engine.Terms(0.0, 0.0, 1.0)
    held, _ = engine.step(engine.opened(1000, np.array([10.0])), bar([10.0], [10.0]), np.array([weight]), 0.0, terms)
    after, flows = engine.step(held, bar([10.0], [10.0], rate=0.001, mark=10.5), np.array([np.nan]), 0.0, terms)
    assert flows.funding_N[0] == pytest.approx(sign * 100 * 10.5 * 0.001)
    assert engine.equity_of(after) == pytest.approx(1000 - sign * 1.05)


def test_funding_at_the_hour_of_the_first_fill_is_not_paid():
    account = engine.opened(1000, np.array([10.0]))
    _, flows = engine.step(account, bar([10.0], [10.0], rate=0.01), np.array([1.0]), 0.0, engine.Terms(0.0, 0.0, 1.0))
    assert flows.funding_N[0] == 0


def test_a_missing_bar_fills_nothing_and_keeps_the_last_price():
    terms = engine.Terms(5e-4, 2e-4, 1.0)
    held, _ = engine.step(engine.opened(1000, np.array([10.0])), bar([10.0], [12.0]), np.array([1.0]), 0.0, terms)
    after, flows = engine.step(held, bar([np.nan], [np.nan]), np.array([-1.0]), 0.0, terms)
    assert flows.missed == 1
    assert flows.traded_N[0] == 0
    assert after.price_N[0] == 12.0
    assert engine.equity_of(after) == engine.equity_of(held)


def test_a_delisted_coin_is_closed_at_its_last_price():
    terms = engine.Terms(0.0, 0.0, 1.0)
    held, _ = engine.step(engine.opened(1000, np.array([10.0])), bar([10.0], [7.0]), np.array([1.0]), 0.0, terms)
    after, flows = engine.step(held, bar([np.nan], [np.nan], delisted=True), np.array([1.0]), 0.0, terms)
    assert after.quantity_N[0] == 0
    assert flows.reference_N[0] == 7.0
    assert after.cash == pytest.approx(700)


def test_an_account_without_equity_closes_and_never_trades_again():
    terms = engine.Terms(0.0, 0.0, 1.0)
    short, _ = engine.step(engine.opened(1000, np.array([10.0])), bar([10.0], [25.0]), np.array([-1.0]), 0.0, terms)
    assert engine.equity_of(short) < 0
    closed, _ = engine.step(short, bar([25.0], [5.0]), np.array([-1.0]), 0.0, terms)
    assert closed.quantity_N[0] == 0
    again, flows = engine.step(closed, bar([5.0], [5.0]), np.array([1.0]), 0.0, terms)
    assert flows.traded_N[0] == 0
    assert engine.equity_of(again) == engine.equity_of(closed)


def test_a_change_inside_the_band_waits_but_getting_out_does_not():
    account = engine.Account(500.0, np.array([50.0]), np.array([10.0]), np.array([10.0]))
    assert engine.orders(account, np.array([0.52]), 0.05, 1.0)[0] == 0
    assert engine.orders(account, np.array([0.60]), 0.05, 1.0)[0] == pytest.approx(10.0)
    assert engine.orders(account, np.array([0.0]), 0.9, 1.0)[0] == -50


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.floats(0, 0.3))
def test_orders_never_aim_above_the_exposure_cap(weights, band):
    account = engine.opened(1000, np.full(len(weights), 10.0))
    quantity = engine.orders(account, np.array(weights), band, 1.0)
    assert np.abs(quantity * 10).sum() <= 1000 * engine.CAP_TOLERANCE + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 0.01), st.floats(0, 0.01), st.floats(0, 0.2))
def test_every_hour_balances_to_the_cent(seed, coins, fee, slippage, band):
    """Equity = cash + sum(quantity x price), from trades and funding alone; and gross of costs minus costs = net."""
    rng = np.random.default_rng(seed)
    T = 60
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, (T, coins)), axis=0))
    opens = close * np.exp(rng.normal(0, 0.01, (T, coins)))
    hole = rng.random((T, coins)) < 0.1
    close[hole], opens[hole] = np.nan, np.nan
    rate = np.where(rng.random((T, coins)) < 0.2, rng.normal(0, 0.001, (T, coins)), 0.0)
    target = np.where(rng.random((T, coins)) < 0.2, np.nan, rng.uniform(-1, 1, (T, coins)))
    delisted = np.zeros((T, coins), bool)
    delisted[40:, 0] = True
    close[40:, 0], opens[40:, 0] = np.nan, np.nan
    bars = engine.Bar(opens, close, rate, np.full((T, coins), np.nan), delisted)
    first = engine.opened(10_000, np.full(coins, 100.0))
    cash, q, price, traded, reference, fees, slip, *_ = engine.run(
        first, bars, target, np.full(T, band), engine.Terms(fee, slippage, 1.0)
    )
    equity = cash + (q * price).sum(axis=1)
    ledger_cash, held, last, costs, free = 10_000.0, np.zeros(coins), np.full(coins, 100.0), 0.0, 10_000.0
    for t in range(T):
        before = last.copy()
        for n in range(coins):
            ledger_cash -= held[n] * before[n] * rate[t, n]
            costs += held[n] * before[n] * rate[t, n] + fees[t, n] + slip[t, n]
            held[n] += traded[t, n]
            if traded[t, n]:
                fill = reference[t, n] * (1 + np.sign(traded[t, n]) * slippage)
                ledger_cash -= traded[t, n] * fill + abs(traded[t, n]) * fill * fee
                free -= traded[t, n] * reference[t, n]
            last[n] = before[n] if np.isnan(close[t, n]) else close[t, n]
        assert abs(cash[t] - ledger_cash) < CENT
        assert abs(equity[t] - (ledger_cash + held @ last)) < CENT
        assert abs(equity[t] + costs - (free + held @ last)) < CENT


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.005), st.floats(0, 0.005))
def test_realised_profits_are_all_the_money_once_everything_is_closed(seed, fee, slippage):
    rng = np.random.default_rng(seed)
    T, N = 40, 3
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, N)), axis=0))
    target = rng.uniform(-0.5, 0.5, (T, N))
    target[-1] = 0.0
    bars = engine.Bar(close, close, np.zeros((T, N)), np.full((T, N), np.nan), np.zeros((T, N), bool))
    first = engine.opened(10_000, close[0])
    cash, q, *rest = engine.run(first, bars, target, np.zeros(T), engine.Terms(fee, slippage, 1.0))
    realised = rest[5]
    assert not q[-1].any()
    assert cash[-1] - 10_000 == pytest.approx(realised.sum(), abs=CENT)


def test_the_compiled_step_is_the_python_step():
    rng = np.random.default_rng(0)
    account = engine.Account(4000.0, rng.normal(0, 10, 5), rng.uniform(50, 150, 5), np.full(5, 100.0))
    one = bar(rng.uniform(50, 150, 5), rng.uniform(50, 150, 5), rate=1e-4)
    weights, terms = rng.uniform(-0.3, 0.3, 5), engine.Terms(5e-4, 2e-4, 1.0)
    compiled, _ = engine.step(account, one, weights, 0.01, terms)
    plain, _ = engine.step.py_func(account, one, weights, 0.01, terms)
    assert engine.equity_of(compiled) == pytest.approx(engine.equity_of(plain), abs=1e-9)
    np.testing.assert_array_equal(compiled.quantity_N, plain.quantity_N)
