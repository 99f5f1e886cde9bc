"""What must hold to the cent whatever happens: balances from their flows, profits from their fills, no look ahead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.trading import account as a
from crypto_assets.trading import engine

CENT = 0.01
HOUR = 3_600_000_000


class World(NamedTuple):
    """A made-up market and an account in it."""

    bars: a.Bar
    target: np.ndarray
    first: a.Account
    terms: a.Terms
    bounds: a.Bounds


WORLDS = st.builds(
    dict,
    seed=st.integers(0, 10_000),
    coins=st.integers(1, 4),
    taker=st.floats(0, 0.01),
    spread=st.floats(0, 0.01),
    leverage=st.sampled_from([1.0, 5.0]),
    participation=st.sampled_from([np.inf, 0.02]),
    is_carried=st.booleans(),
    lot=st.sampled_from([0.0, 0.01]),
    is_maker=st.booleans(),
    band=st.floats(0, 0.2),
)


def world(seed, coins, taker, spread, leverage, participation, is_carried, lot, is_maker, band) -> tuple[World, dict]:
    rng = np.random.default_rng(seed)
    T = 60
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, (T, coins)), axis=0))
    opens = close * np.exp(rng.normal(0, 0.01, (T, coins)))
    high = np.maximum(opens, close) * np.exp(np.abs(rng.normal(0, 0.02, (T, coins))))
    low = np.minimum(opens, close) * np.exp(-np.abs(rng.normal(0, 0.02, (T, coins))))
    hole = rng.random((T, coins)) < 0.1
    delisted = np.zeros((T, coins), bool)
    delisted[40:, 0] = True
    for prices in (opens, high, low, close):
        prices[hole | delisted] = np.nan
    rate = np.where(rng.random((T, coins)) < 0.2, rng.normal(0, 0.001, (T, coins)), 0.0)
    volume = rng.uniform(0, 1e6, (T, coins))
    target = np.where(rng.random((T, coins)) < 0.2, np.nan, leverage * rng.uniform(-1, 1, (T, coins)))
    bars = a.Bar(
        HOUR * (1 + np.arange(T)), opens, high, low, close, volume, np.full((T, coins), 0.03), rate, np.full_like(rate, np.nan),
        delisted,
    )  # fmt: skip
    terms = a.terms(
        coins, taker=taker, maker=taker / 2, spread=spread, impact=0.5, participation=participation, is_carried=is_carried,
        lot=lot, least=5.0, most=5000.0, maintenance=0.02, liquidation=0.0125,
    )  # fmt: skip
    bounds = a.bounds([f"C{i}" for i in range(coins)], gross=leverage)
    made = World(bars, target, a.opened(10_000, np.full(coins, 100.0)), terms, bounds)
    return made, {"band": np.full(T, band), "is_maker": is_maker}


def lived(w: World, band: np.ndarray, is_maker: bool, until: int | None = None) -> tuple[a.Account, engine.History]:
    bars = a.Bar(*(np.ascontiguousarray(x[:until]) for x in w.bars))
    T = len(bars.ts)
    return engine.run(w.first, bars, w.target[:T], band[:T], False, is_maker, np.zeros(T, bool), w.terms, w.bounds)


@settings(max_examples=60, deadline=None)
@given(WORLDS)
def test_every_hour_balances_to_the_cent(drawn):
    """Cash from fills, fees and funding alone; equity = cash + sum(quantity x price); gross of costs less costs = net."""
    w, how = world(**drawn)
    _, h = lived(w, **how)
    T, coins = w.target.shape
    cash, held, last, costs, free = 10_000.0, np.zeros(coins), np.full(coins, 100.0), 0.0, 10_000.0
    for t in range(T):
        for n in range(coins):
            cash -= held[n] * last[n] * w.bars.rate_N[t, n]
            costs += held[n] * last[n] * w.bars.rate_N[t, n]
        for fills in (h.fills, h.forced):
            for n in np.flatnonzero(fills.traded_N[t]):
                q, reference = fills.traded_N[t, n], fills.reference_N[t, n]
                cash -= q * reference + fills.slippage_N[t, n] + fills.fee_N[t, n]
                costs += fills.slippage_N[t, n] + fills.fee_N[t, n]
                free -= q * reference
                held[n] += q
        last = np.where(np.isnan(w.bars.close_N[t]), last, w.bars.close_N[t])
        equity = h.cash_T[t] + (h.quantity_TN[t] * h.price_TN[t]).sum()
        assert abs(h.cash_T[t] - cash) < CENT
        assert abs(equity - (cash + held @ last)) < CENT
        assert abs(equity + costs - (free + held @ last)) < CENT


@settings(max_examples=60, deadline=None)
@given(WORLDS)
def test_realised_profits_less_funding_are_all_the_money_once_everything_is_closed(drawn):
    w, how = world(**{**drawn, "participation": np.inf, "is_maker": False})
    w.target[-1] = 0.0
    w = w._replace(terms=w.terms._replace(most_N=np.full_like(w.terms.most_N, np.inf)))
    for prices, value in ((w.bars.open_N, 100.0), (w.bars.close_N, 100.0), (w.bars.high_N, 100.0), (w.bars.low_N, 100.0)):
        prices[-1] = value
    _, h = lived(w, **how)
    assert not h.quantity_TN[-1].any()
    realised = h.fills.realised_N.sum() + h.forced.realised_N.sum()
    assert h.cash_T[-1] - 10_000 == pytest.approx(realised - h.funding_TN.sum(), abs=CENT)


@settings(max_examples=60, deadline=None)
@given(WORLDS)
def test_no_fill_exceeds_its_order_its_share_of_the_volume_or_the_range_of_the_bar(drawn):
    w, how = world(**drawn)
    _, h = lived(w, **how)
    normal = ~w.bars.delisted_N
    traded = np.where(normal, h.fills.traded_N, 0.0)
    assert (np.abs(traded) <= np.abs(h.order_TN) + 1e-9).all()
    assert (traded * h.order_TN >= 0).all()
    room = drawn["participation"] * w.bars.volume_N / w.bars.open_N
    assert (np.abs(traded) <= np.where(np.isnan(room), 0, room) + 1e-9).all() or drawn["participation"] == np.inf
    at_market = np.where(np.isnan(h.limit_TN), h.fills.reference_N, np.nan)  # a limit may be worse than the bar, not better
    for reference in (np.where(normal, at_market, np.nan), h.forced.reference_N):
        assert not (reference > w.bars.high_N * (1 + 1e-12)).any()
        assert not (reference < w.bars.low_N * (1 - 1e-12)).any()


@settings(max_examples=30, deadline=None)
@given(WORLDS, st.integers(5, 55))
def test_later_bars_change_nothing_before_them(drawn, until):
    w, how = world(**drawn)
    _, whole = lived(w, **how)
    _, head = lived(w, **how, until=until)
    np.testing.assert_array_equal(whole.cash_T[:until], head.cash_T)
    np.testing.assert_array_equal(whole.quantity_TN[:until], head.quantity_TN)


@settings(max_examples=30, deadline=None)
@given(WORLDS)
def test_a_held_account_stays_above_its_margin_at_every_close_or_is_liquidated_at_the_next_open(drawn):
    w, how = world(**{**drawn, "leverage": 5.0})
    _, h = lived(w, **how)
    value = h.quantity_TN * np.nan_to_num(h.price_TN)
    spare = h.cash_T + value.sum(axis=1) - 0.02 * np.abs(value).sum(axis=1)
    has_bar = ~np.isnan(w.bars.close_N)
    is_whole = (has_bar | (h.quantity_TN == 0)).all(axis=1)  # a coin without a bar cannot be closed
    assert (spare[is_whole & (h.quantity_TN != 0).any(axis=1)] > -CENT).all()
