"""Targets from forecasts: the no-trade band, expiry, ties, and independence from the hour at which one starts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.strategy import STRATEGIES, Direction, Relative, Signal, rank_weights

COSTS = Costs(5, 2)


def signal(p, sigma=0.01) -> Signal:
    p = np.asarray(p, float)
    p = p[:, None] if p.ndim == 1 else p
    return Signal(p, np.full_like(p, sigma), np.ones_like(p, bool))


def test_a_position_opens_beyond_the_cost_and_closes_when_the_forecast_changes_sides():
    gain_per_p = 2 * 0.01 * np.sqrt(24) * np.sqrt(2 / np.pi)
    edge = COSTS.round_trip / gain_per_p
    p = 0.5 + np.array([0.5 * edge, 1.1 * edge, 0.2 * edge, 0.01 * edge, -0.1 * edge, 0.5 * edge, -1.2 * edge, -0.1 * edge])
    weights = Direction("24h").targets(signal(p), COSTS).weights_TN[:, 0]
    np.testing.assert_array_equal(weights, [0, 1, 1, 1, 0, 0, -1, -1])


def test_without_costs_every_lean_is_a_position():
    weights = Direction("1h").targets(signal([0.51, 0.49, 0.501]), Costs(0, 0)).weights_TN[:, 0]
    np.testing.assert_array_equal(weights, [1, -1, 1])


def test_nan_never_opens_and_a_held_position_expires_with_the_horizon():
    p = np.full(40, np.nan)
    p[3] = 0.9
    weights = Direction("4h").targets(signal(p), COSTS).weights_TN[:, 0]
    np.testing.assert_array_equal(np.flatnonzero(weights), [3, 4, 5, 6])


def test_an_expired_position_is_not_revived_by_a_weak_forecast():
    p = np.full(20, np.nan)
    p[0], p[10] = 0.9, 0.501
    weights = Direction("4h").targets(signal(p), COSTS).weights_TN[:, 0]
    assert not weights[4:].any()


def test_unknown_volatility_opens_nothing():
    assert not Direction("24h").targets(signal([0.9, 0.9], sigma=np.nan), COSTS).weights_TN.any()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(sorted(STRATEGIES)))
def test_targets_stay_under_the_cap_and_know_only_the_past(seed, name):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.3, 0.7, (80, 5))
    p[rng.random(p.shape) < 0.1] = np.nan
    whole = STRATEGIES[name].targets(signal(p), COSTS)
    assert np.abs(whole.weights_TN).sum(axis=1).max() <= 1 + 1e-9
    cut = STRATEGIES[name].targets(signal(p[:50]), COSTS)
    np.testing.assert_array_equal(cut.weights_TN, whole.weights_TN[:50])
    np.testing.assert_array_equal(cut.band_T, whole.band_T[:50])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 23))
def test_relative_does_not_depend_on_the_hour_it_starts(seed, offset):
    p = np.random.default_rng(seed).uniform(0.3, 0.7, (100, 4))
    whole = Relative().targets(signal(p), COSTS).weights_TN
    later = Relative().targets(signal(p[offset:]), COSTS).weights_TN
    np.testing.assert_allclose(later[23:], whole[offset + 23 :], atol=1e-12)


@given(st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=9))
def test_rank_weights_are_neutral_and_ordered(values):
    p = np.array([values])
    w = rank_weights(p)[0]
    assert w.sum() == pytest.approx(0, abs=1e-12)
    known = ~np.isnan(p[0])
    assert not w[~known].any()
    distinct = len(set(p[0][known])) > 1
    assert np.abs(w).sum() == pytest.approx(1.0 if distinct else 0.0)
    order = np.argsort(p[0][known], kind="stable")
    assert (np.diff(w[known][order]) >= -1e-12).all()


def test_a_constant_forecast_trades_nothing():
    assert not Relative().targets(signal(np.full((50, 6), 0.5)), COSTS).weights_TN.any()


@pytest.mark.parametrize("make", [lambda: Direction("2h"), lambda: Direction("1h", entry=0.5, exit=1.0), lambda: Relative(0)])
def test_settings_that_make_no_sense_are_refused(make):
    with pytest.raises(SettingsError):
        make()


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_costs_refuse_what_is_not_a_cost(bad):
    with pytest.raises(SettingsError, match="slippage_bps"):
        Costs(slippage_bps=bad)
