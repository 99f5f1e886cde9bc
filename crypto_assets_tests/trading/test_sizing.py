"""Sizes of positions against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading import sizing
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.strategy import Signal, Sized


@given(st.floats(0.05, 0.95), st.floats(0.2, 5.0))
def test_full_kelly_is_the_bet_that_grows_fastest(p, ratio):
    bets = np.linspace(0, 0.999, 2000)
    growth = p * np.log1p(bets * ratio) + (1 - p) * np.log1p(-bets)
    found = float(sizing.kelly(np.array(p), np.array(ratio), fraction=1.0, cap=1.0))
    assert found == pytest.approx(bets[growth.argmax()], abs=1e-3)


def test_kelly_is_a_fraction_and_never_above_the_cap():
    assert sizing.kelly(np.array(0.6), np.array(1.0)) == pytest.approx(0.5 * 0.2)
    assert sizing.kelly(np.array(0.99), np.array(1.0)) == sizing.KELLY_CAP
    assert sizing.kelly(np.array([np.nan, 0.4]), np.array(1.0)).tolist() == [0.0, 0.0]
    with pytest.raises(SettingsError, match="cap"):
        sizing.kelly(np.array(0.6), np.array(1.0), cap=2.0)


def test_a_win_that_does_not_pay_the_costs_is_not_bet_on():
    ratio = sizing.payoff(np.array([0.001, 0.01]), 1.0, 0.0014)
    assert ratio[0] < 0 < ratio[1]
    assert sizing.kelly(np.array([0.9, 0.9]), ratio)[0] == 0


def test_the_risk_based_size_loses_its_risk_on_two_deviations():
    size = sizing.risk_based(np.array(0.01), 24.0)
    assert size * 2 * 0.01 * np.sqrt(24) == pytest.approx(sizing.RISK_PER_TRADE)
    assert sizing.risk_based(np.array([0.0, np.nan]), 24.0).tolist() == [0.0, 0.0]


@given(st.floats(0.01, 0.99), st.floats(0.001, 0.05))
def test_the_smallest_of_the_three_is_taken_on_the_likelier_side(p, sigma):
    found = float(sizing.smallest(np.array(p), np.array(sigma), 24.0, 0.0014))
    win = np.maximum(p, 1 - p)
    ratio = sizing.payoff(np.array(sigma), 24.0, 0.0014)
    each = [sizing.kelly(win, ratio), sizing.risk_based(np.array(sigma), 24.0), sizing.confidence_based(np.array(win))]
    assert abs(found) == pytest.approx(float(min(each)))
    assert found * (p - 0.5) >= 0


def test_a_volatility_target_is_met_on_average():
    rng = np.random.default_rng(0)
    T, N = 3000, 3
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (T, N)), axis=0))
    weights = sizing.at_volatility(np.full((T, N), 1 / 3), close, 0.20, most=5.0)
    r = (weights[:-1] * np.diff(close, axis=0) / close[:-1]).sum(axis=1)[500:]
    assert r.std() * np.sqrt(24 * 365) == pytest.approx(0.20, rel=0.1)
    assert not weights[:100].any()


def test_a_volatility_target_reads_no_later_close():
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (400, 2)), axis=0))
    later = close.copy()
    later[300:] *= 3
    weights = np.full((400, 2), 0.5)
    whole, other = (sizing.at_volatility(weights, x, 0.1) for x in (close, later))
    np.testing.assert_array_equal(whole[:300], other[:300])


def test_a_sized_position_expires_with_its_horizon():
    p = np.full((10, 1), np.nan)
    p[2] = 0.9
    signal = Signal(p, np.full((10, 1), 0.02), np.ones((10, 1), bool))
    weights = Sized("4h").targets(signal, Costs()).weights_TN[:, 0]
    assert np.flatnonzero(weights).tolist() == [2, 3, 4, 5]
