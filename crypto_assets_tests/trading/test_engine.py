"""The account against plain arithmetic: single bars computed by hand, each rule by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.trading import account as a
from crypto_assets.trading import engine

HOUR = 3_600_000_000
CAPPED = {"gross": 1.0}


def names(n: int) -> list[str]:
    return [f"C{i}" for i in range(n)]


def one(
    account: a.Account,
    opens: Any,
    closes: Any,
    targets: Any,
    *,
    band: float = 0.0,
    ts: int | None = None,
    terms: dict[str, Any] | None = None,
    bounds: dict[str, Any] | None = None,
    how: dict[str, Any] | None = None,
    **bar: Any,
) -> tuple[a.Account, a.Flows]:
    """The step with everything spelt out that a test is about."""
    n = len(opens)
    when = ts if ts is not None else max(account.clock, 0) + HOUR
    return engine.step(
        account,
        a.bar(when, opens, closes, **bar),
        a.targets(targets, band, **(how or {})),
        a.terms(n, **(terms or {})),
        a.bounds(names(n), **(CAPPED if bounds is None else bounds)),
    )


def opened(capital: float = 1000, price: float = 10.0, n: int = 1) -> a.Account:
    return a.opened(capital, np.full(n, price))


def long(coins: float, price: float = 10.0, cash: float = 0.0) -> a.Account:
    """An account that holds `coins` (short when negative), bought at `price`."""
    return opened(price=price)._replace(cash=cash, quantity_N=np.array([float(coins)]), basis_N=np.array([price]))


def said(flows: a.Flows, n: int = 0) -> set[str]:
    return {text for bit, text in a.NOTES.items() if flows.note_N[n] & bit}


# fills at market


def test_a_buy_at_the_next_open_pays_slippage_and_fee():
    after, flows = one(opened(10_000, 100.0), [110.0], [121.0], [0.5], terms={"taker": 5e-4, "spread": 2e-4})
    coins = 0.5 * 10_000 / 100.0  # sized at the last close, not at the fill
    price = 110.0 * 1.0002
    assert flows.fills.traded_N[0] == pytest.approx(coins)
    assert flows.fills.fee_N[0] == pytest.approx(coins * price * 5e-4)
    assert flows.fills.slippage_N[0] == pytest.approx(coins * 110.0 * 2e-4)
    assert engine.equity_of(after) == pytest.approx(10_000 - coins * price * (1 + 5e-4) + coins * 121.0)


def test_impact_grows_with_the_square_root_of_the_share_of_volume():
    terms = {"impact": 0.5, "spread": 1e-4}
    slips = []
    for weight in (0.01, 0.04):
        _, flows = one(opened(10_000, 100.0), [100.0], [100.0], [weight], terms=terms, volume=40_000.0, sigma=0.02)
        slips.append(flows.fills.slippage_N[0] / (weight * 10_000))
    assert slips[0] == pytest.approx(1e-4 + 0.5 * 0.02 * np.sqrt(100 / 40_000))
    assert slips[1] - 1e-4 == pytest.approx(2 * (slips[0] - 1e-4))


@pytest.mark.parametrize(("weight", "sign"), [(1.0, 1), (-1.0, -1)])
def test_longs_pay_a_positive_funding_rate_and_shorts_receive_it(weight, sign):
    held, _ = one(opened(), [10.0], [10.0], [weight])
    after, flows = one(held, [10.0], [10.0], [np.nan], rate=0.001, mark=10.5)
    assert flows.funding_N[0] == pytest.approx(sign * 100 * 10.5 * 0.001)
    assert engine.equity_of(after) == pytest.approx(1000 - sign * 1.05)


def test_funding_at_the_hour_of_the_first_fill_is_not_paid():
    _, flows = one(opened(), [10.0], [10.0], [1.0], rate=0.01)
    assert flows.funding_N[0] == 0


# what the market or the feed may do


def test_a_missing_bar_fills_nothing_and_keeps_the_last_price():
    held, _ = one(opened(), [10.0], [12.0], [1.0], terms={"taker": 5e-4})
    after, flows = one(held, [np.nan], [np.nan], [-1.0], terms={"taker": 5e-4})
    assert said(flows) == {"no bar"}
    assert flows.fills.traded_N[0] == 0
    assert after.price_N[0] == 12.0
    assert engine.equity_of(after) == engine.equity_of(held)


@pytest.mark.parametrize("price", [0.0, -5.0, np.inf])
def test_a_price_that_cannot_be_is_no_bar_and_is_noted(price):
    held, _ = one(opened(), [10.0], [12.0], [0.5])
    after, flows = one(held, [price], [price], [0.0])
    assert {"price not positive", "no bar"} == said(flows)
    assert after.price_N[0] == 12.0
    assert after.quantity_N[0] == held.quantity_N[0]


def test_a_delisted_coin_is_closed_at_its_last_price():
    held, _ = one(opened(), [10.0], [7.0], [1.0])
    after, flows = one(held, [np.nan], [np.nan], [1.0], delisted=True)
    assert after.quantity_N[0] == 0
    assert flows.fills.reference_N[0] == 7.0
    assert said(flows) == {"delisting"}
    assert after.cash == pytest.approx(700)


@pytest.mark.parametrize("back", [0, HOUR])
def test_a_bar_that_is_not_newer_changes_nothing(back):
    held, _ = one(opened(), [10.0], [12.0], [0.5])
    again, flows = one(held, [20.0], [20.0], [0.0], ts=held.clock - back)
    assert said(flows) == {"bar not newer than the account"}
    assert a.dump(again, names(1)) == a.dump(held, names(1))


def test_a_target_for_a_coin_that_never_had_a_price_is_noted_and_not_traded():
    account = a.opened(1000, np.array([10.0, np.nan]))
    after, flows = one(account, [10.0, np.nan], [10.0, np.nan], [0.5, 0.5])
    assert said(flows, 1) == {"coin without a price"}
    assert after.quantity_N.tolist() == [50.0, 0.0]


@pytest.mark.parametrize("target", [np.nan, np.inf])
def test_a_target_that_is_no_number_leaves_the_position_alone(target):
    after, _ = one(long(30, cash=700.0), [10.0], [10.0], [target])
    assert after.quantity_N[0] == 30


def test_an_account_without_equity_closes_and_never_trades_again():
    short, _ = one(opened(), [10.0], [25.0], [-1.0])
    assert engine.equity_of(short) < 0
    closed, flows = one(short, [25.0], [5.0], [-1.0])
    assert closed.quantity_N[0] == 0
    assert said(flows) == {"no equity left"}
    again, flows = one(closed, [5.0], [5.0], [1.0])
    assert flows.fills.traded_N[0] == 0
    assert engine.equity_of(again) == engine.equity_of(closed)


# orders: band, lots, notionals


def test_a_change_inside_the_band_waits_but_getting_out_does_not():
    account = long(50, cash=500.0)
    _, waits = one(account, [10.0], [10.0], [0.52], band=0.05)
    assert waits.order_N[0] == 0
    assert said(waits) == {"inside the no-trade band"}
    assert one(account, [10.0], [10.0], [0.60], band=0.05)[1].order_N[0] == pytest.approx(10.0)
    assert one(account, [10.0], [10.0], [0.0], band=0.9)[1].order_N[0] == -50


def test_quantities_are_whole_lots_and_never_more_than_asked():
    _, flows = one(opened(), [10.0], [10.0], [0.577], terms={"lot": 0.5})
    assert flows.fills.traded_N[0] == 57.5


def test_an_order_below_the_smallest_is_not_sent_unless_it_gets_out():
    account = long(0.3, cash=997.0)
    _, flows = one(account, [10.0], [10.0], [0.005], terms={"least": 5.0})
    assert said(flows) == {"below the smallest order"}
    assert flows.order_N[0] == 0
    assert one(account, [10.0], [10.0], [0.0], terms={"least": 5.0})[1].fills.traded_N[0] == -0.3


def test_an_order_above_the_largest_is_cut():
    _, flows = one(opened(), [10.0], [10.0], [0.5], terms={"most": 200.0})
    assert flows.fills.traded_N[0] == pytest.approx(20.0)
    assert said(flows) == {"above the largest order"}


def test_targets_in_coins_are_traded_to_the_coin():
    after, flows = one(opened(), [10.0], [10.0], [7.0], how={"is_coins": True})
    assert flows.fills.traded_N[0] == 7.0
    assert one(after, [11.0], [11.0], [-3.0], how={"is_coins": True})[1].fills.traded_N[0] == -10.0


# partial fills and resting orders


def test_a_fill_takes_no_more_than_its_share_of_the_volume():
    after, flows = one(opened(), [10.0], [10.0], [1.0], terms={"participation": 0.1}, volume=4000.0)
    assert flows.fills.traded_N[0] == pytest.approx(40.0)
    assert said(flows) == {"share of volume"}
    assert after.rest_N[0] == 0  # cancelled


def test_what_is_left_of_an_order_is_carried_until_a_new_decision():
    rule = {"participation": 0.1, "is_carried": True}
    after, _ = one(opened(), [10.0], [10.0], [1.0], terms=rule, volume=4000.0)
    assert after.rest_N[0] == pytest.approx(60.0)
    later, flows = one(after, [10.0], [10.0], [np.nan], terms=rule, volume=4000.0)
    assert flows.fills.traded_N[0] == pytest.approx(40.0)
    assert later.rest_N[0] == pytest.approx(20.0)
    out, _ = one(later, [10.0], [10.0], [0.0], terms=rule, volume=1e9)
    assert out.quantity_N[0] == 0
    assert out.rest_N[0] == 0


@pytest.mark.parametrize(("weight", "low", "high", "fills"), [
    (0.5, 9.99, 11.0, True), (0.5, 10.0, 11.0, False), (-0.5, 9.0, 10.01, True), (-0.5, 9.0, 10.0, False),
])  # fmt: skip
def test_a_resting_order_fills_at_its_limit_when_the_bar_trades_through_it_and_not_when_it_touches(weight, low, high, fills):
    terms = {"maker": 1e-4, "taker": 5e-4, "spread": 2e-4}
    after, flows = one(opened(), [10.0], [10.0], [weight], terms=terms, how={"is_maker": True}, low=low, high=high)
    assert flows.limit_N[0] == 10.0
    assert bool(flows.fills.traded_N[0]) is fills
    if fills:
        assert flows.fills.fee_N[0] == pytest.approx(500 * 1e-4)
        assert flows.fills.slippage_N[0] == 0
        assert engine.equity_of(after) == pytest.approx(1000 - 500 * 1e-4)
    else:
        assert said(flows) == {"limit not reached"}


def test_a_resting_order_is_never_filled_better_than_its_limit():
    _, flows = one(opened(), [9.0], [9.5], [0.5], how={"is_maker": True}, low=8.0)
    assert flows.fills.reference_N[0] == 10.0


# margin


def test_a_leveraged_long_is_liquidated_at_its_liquidation_price():
    """Equity meets the margin where cash + q p = m q p, so p = -cash / (q (1 - m))."""
    q, m, cash = 500.0, 0.01, -4000.0  # 5x at 10
    expected = 4000.0 / (q * (1 - m))
    after, flows = one(long(q, cash=cash), [10.0], [10.0], [np.nan], low=7.0, terms={"maintenance": m, "liquidation": 0.0125})
    assert flows.forced.reference_N[0] == pytest.approx(expected)
    assert said(flows) == {"liquidation"}
    assert after.quantity_N[0] == 0
    assert after.cash == pytest.approx(cash + q * expected * (1 - 0.0125))


def test_a_leveraged_short_is_liquidated_above():
    q, m, cash = -500.0, 0.01, 6000.0
    expected = 6000.0 / (500.0 * (1 + m))
    _, flows = one(long(q, cash=cash), [10.0], [10.0], [np.nan], high=14.0, terms={"maintenance": m})
    assert flows.forced.reference_N[0] == pytest.approx(expected)


def test_a_bar_that_stays_clear_of_the_liquidation_price_liquidates_nothing():
    _, flows = one(long(500, cash=-4000.0), [10.0], [10.0], [np.nan], low=8.09, terms={"maintenance": 0.01})
    assert flows.forced.traded_N[0] == 0


def test_a_gap_is_liquidated_at_the_open_before_the_orders_and_what_is_missing_is_kept_as_debt():
    after, flows = one(long(500, cash=-4000.0), [7.0], [12.0], [0.0], terms={"maintenance": 0.01})
    assert flows.forced.reference_N[0] == 7.0
    assert flows.order_N[0] == 0
    assert after.cash == pytest.approx(-500.0)


def test_all_coins_meet_their_worst_at_once():
    """Two coins, half of the fall that one alone could bear in each: together they are too much."""
    account = a.opened(0.0, np.array([10.0, 10.0]))._replace(
        cash=-4000.0, quantity_N=np.array([250.0, 250.0]), basis_N=np.array([10.0, 10.0])
    )
    _, both = one(account, [10.0] * 2, [10.0] * 2, [np.nan] * 2, low=[7.0, 7.0], terms={"maintenance": 0.01})
    _, half = one(account, [10.0] * 2, [10.0] * 2, [np.nan] * 2, low=[7.0, 10.0], terms={"maintenance": 0.01})
    assert both.forced.traded_N.tolist() == [-250.0, -250.0]
    assert half.forced.traded_N.tolist() == [0.0, 0.0]


def test_a_coin_without_a_bar_cannot_be_liquidated_until_it_has_one():
    terms = {"maintenance": 0.01}
    account = a.opened(0.0, np.array([10.0, 10.0]))._replace(
        cash=-4000.0, quantity_N=np.array([250.0, 250.0]), basis_N=np.array([10.0, 10.0])
    )
    halted, flows = one(account, [6.0, np.nan], [6.0, np.nan], [np.nan] * 2, terms=terms)
    assert flows.forced.traded_N.tolist() == [-250.0, 0.0]
    after, _ = one(halted, [6.0, 5.0], [6.0, 5.0], [np.nan] * 2, terms=terms)
    assert after.quantity_N.tolist() == [0.0, 0.0]


# limits


def test_more_than_the_gross_limit_is_scaled_and_noted():
    after, flows = one(opened(n=2), [10.0] * 2, [10.0] * 2, [2.0, -2.0])
    assert after.quantity_N.tolist() == [50.0, -50.0]
    assert said(flows) == {"gross exposure"}


def test_more_than_the_net_limit_is_taken_from_the_heavier_side():
    after, flows = one(opened(n=2), [10.0] * 2, [10.0] * 2, [0.6, -0.2], bounds={"net": 0.1})
    assert after.quantity_N == pytest.approx([30.0, -20.0])
    assert said(flows, 0) == {"net exposure"}
    assert said(flows, 1) == set()


def test_no_coin_takes_more_than_its_cap():
    after, flows = one(opened(n=2), [10.0] * 2, [10.0] * 2, [0.5, 0.1], bounds={"coin": 0.25})
    assert after.quantity_N == pytest.approx([25.0, 10.0])
    assert said(flows) == {"coin cap"}


def test_a_sector_takes_no_more_than_its_cap():
    account = opened(n=3)
    _, flows = engine.step(
        account,
        a.bar(HOUR, [10.0] * 3, [10.0] * 3),
        a.targets([0.3, -0.3, 0.3]),
        a.terms(3),
        a.bounds(["ETH", "SOL", "BTC"], sector=0.3),
    )
    assert flows.order_N == pytest.approx([15.0, -15.0, 30.0])
    assert said(flows, 1) == {"sector cap"}
    assert said(flows, 2) == set()


def test_the_risk_of_a_trade_is_two_deviations_of_a_day():
    sigma = 0.01
    after, flows = one(opened(), [10.0], [10.0], [1.0], sigma=sigma, bounds={"trade_risk": 0.02})
    assert after.quantity_N[0] == pytest.approx(100 * 0.02 / (2 * sigma * np.sqrt(24)))
    assert said(flows) == {"risk per trade"}


def test_with_a_risk_limit_nothing_is_opened_whose_volatility_is_unknown():
    assert one(opened(), [10.0], [10.0], [1.0], bounds={"trade_risk": 0.02})[0].quantity_N[0] == 0


def test_portfolio_risk_is_the_sum_over_the_coins():
    sigma = 0.01
    after, flows = one(opened(n=2), [10.0] * 2, [10.0] * 2, [0.5, -0.5], sigma=sigma, bounds={"portfolio_risk": 0.05})
    assert np.abs(after.quantity_N).sum() / 100 * 2 * sigma * np.sqrt(24) == pytest.approx(0.05)
    assert said(flows) == {"portfolio risk"}


def test_what_is_left_alone_takes_up_room_under_a_limit():
    account = opened(n=2)._replace(cash=200.0, quantity_N=np.array([80.0, 0.0]), basis_N=np.array([10.0, 0.0]))
    after, _ = one(account, [10.0] * 2, [10.0] * 2, [np.nan, 0.5])
    assert after.quantity_N == pytest.approx([80.0, 20.0])


def test_the_brake_shrinks_targets_in_a_drawdown():
    account = opened()._replace(peak=1250.0)  # 20 % below
    after, flows = one(account, [10.0], [10.0], [1.0], bounds={"brake_from": 0.1, "brake_at": 0.3, "brake_floor": 0.2})
    assert after.quantity_N[0] == pytest.approx(60.0)
    assert said(flows) == {"drawdown brake"}


def test_the_daily_loss_stop_closes_until_midnight():
    rule = {"daily_loss": 0.05}
    held, _ = one(opened(), [10.0], [9.4], [1.0], bounds=rule, ts=10 * HOUR)
    out, flows = one(held, [9.4], [9.4], [1.0], bounds=rule, ts=11 * HOUR)
    assert out.quantity_N[0] == 0
    assert said(flows) == {"daily loss stop"}
    still, _ = one(out, [9.4], [9.4], [1.0], bounds=rule, ts=23 * HOUR)
    assert still.quantity_N[0] == 0
    assert one(still, [9.4], [9.4], [1.0], bounds=rule, ts=24 * HOUR)[0].quantity_N[0] > 0


def test_the_kill_switch_closes_everything_at_market():
    after, flows = one(long(50, cash=500.0), [10.0], [10.0], [0.5], how={"is_killed": True, "is_maker": True})
    assert after.quantity_N[0] == 0
    assert np.isnan(flows.limit_N[0])
    assert said(flows) == {"kill switch"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.floats(0, 0.3), st.integers(0, 99))
def test_no_position_that_is_opened_breaks_a_limit(weights, band, seed):
    n = len(weights)
    sigma = np.random.default_rng(seed).uniform(0.001, 0.05, n)
    limits = {"gross": 1.0, "net": 0.4, "coin": 0.3, "trade_risk": 0.02, "portfolio_risk": 0.1}
    after, _ = one(opened(n=n), [10.0] * n, [10.0] * n, weights, band=band, sigma=sigma, bounds=limits)
    w = after.quantity_N / 100
    risk = np.abs(w) * 2 * sigma * np.sqrt(24)
    assert np.abs(w).sum() <= 1.0 + 1e-9
    assert abs(w.sum()) <= 0.4 + 1e-9 or band > 0  # a band may leave one side of a pair untraded
    assert np.abs(w).max() <= 0.3 + 1e-9
    assert risk.max() <= 0.02 + 1e-9
    assert risk.sum() <= 0.1 + 1e-9


# the state, and one step as many


def test_a_state_comes_back_to_the_last_bit():
    account = a.opened(1 / 3, np.array([0.1 + 0.2, np.nan]))._replace(clock=2**60 + 1, peak=np.pi)
    text = a.dump(account, ["BTC", "ETH"])
    assert a.dump(a.load(text, ["BTC", "ETH"]), ["BTC", "ETH"]) == text


def test_a_state_is_read_by_symbol_and_a_new_coin_begins_without_a_position():
    account = a.opened(5.0, np.array([1.0, 2.0]))._replace(quantity_N=np.array([3.0, 0.0]))
    found = a.load(a.dump(account, ["BTC", "ETH"]), ["SOL", "BTC"])
    assert found.quantity_N.tolist() == [0.0, 3.0]
    assert np.isnan(found.price_N[0])


def test_a_state_without_the_coin_it_holds_is_refused():
    account = a.opened(5.0, np.array([1.0]))._replace(quantity_N=np.array([3.0]))
    with pytest.raises(SchemaError, match="BTC"):
        a.load(a.dump(account, ["BTC"]), ["ETH"])
    with pytest.raises(SchemaError, match="not the state"):
        a.load("{}", ["ETH"])


def test_terms_below_nothing_are_refused():
    with pytest.raises(SettingsError, match="taker"):
        a.terms(1, taker=-1e-4)


def test_steps_one_by_one_through_dump_and_load_are_the_run():
    """A paper account that is restarted after every bar lives the life of the backtest, to the last bit."""
    rng = np.random.default_rng(5)
    T, N = 40, 3
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, (T, N)), axis=0))
    close[rng.random((T, N)) < 0.1] = np.nan
    terms = a.terms(N, taker=5e-4, spread=1e-4, impact=1.0, participation=0.01, is_carried=True, lot=0.01, maintenance=0.02)
    limits = a.bounds(["BTC", "ETH", "SOL"], gross=3.0, daily_loss=0.1, brake_from=0.1, brake_at=0.5)
    target = np.where(rng.random((T, N)) < 0.3, np.nan, rng.uniform(-2, 2, (T, N)))
    blank, ts = np.full((T, N), np.nan), HOUR * (1 + np.arange(T))
    bars = a.Bar(
        ts, close, blank, blank, close, np.full((T, N), 1e5), np.full((T, N), 0.02), np.zeros((T, N)), blank, blank > 0
    )
    first = a.opened(10_000, np.full(N, 100.0))
    end, _ = engine.run(first, bars, target, np.full(T, 0.01), False, False, np.zeros(T, bool), terms, limits)
    text = a.dump(first, names(N))
    for t in range(T):
        one_bar = a.Bar(int(ts[t]), *(x[t] for x in bars[1:]))
        after, _ = engine.step(a.load(text, names(N)), one_bar, a.targets(target[t], 0.01), terms, limits)
        text = a.dump(after, names(N))
    assert text == a.dump(end, names(N))
