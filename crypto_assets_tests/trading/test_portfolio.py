"""Portfolios against closed forms, and against the future."""

from __future__ import annotations

import numpy as np
import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.backtest import backtest
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.portfolio import METHODS, Optimised, optimise
from crypto_assets.trading.strategy import Signal
from crypto_assets_tests.trading.worlds import candles, forecasts, walk

DAYS, N = 120, 4


def returns(seed: int = 0) -> np.ndarray:
    common = np.random.default_rng(seed).normal(0, 0.02, (DAYS, 1))
    return common + np.random.default_rng(seed + 1).normal(0, 1, (DAYS, N)) * np.array([0.01, 0.02, 0.03, 0.04])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_weights_that_one_can_hold(method):
    found = optimise(method, returns(), np.full(N, 0.01), np.zeros(N), cost=0.0007, most=0.6)
    assert (found >= 0).all()
    assert found.sum() <= 1 + 1e-6
    if method not in ("mean_variance", "mean_cvar"):
        assert found.sum() == pytest.approx(1, abs=1e-6)


def test_mean_variance_is_the_closed_form_where_no_bound_binds():
    """max w'm - a w'Sw has w = S^-1 m / 2a."""
    from sklearn.covariance import LedoitWolf

    r = returns()
    mean = np.array([4e-4, 5e-4, 6e-4, 7e-4]) * 2
    sigma = LedoitWolf().fit(r).covariance_
    expected = np.linalg.solve(sigma, mean) / (2 * 5.0)
    assert (expected > 0).all()
    assert expected.sum() < 1
    found = optimise("mean_variance", r, mean, np.zeros(N), cost=0.0, most=1.0)
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=5e-3)


def test_costs_that_no_mean_pays_for_leave_what_is_held():
    held = np.array([0.1, 0.2, 0.1, 0.0])
    found = optimise("mean_variance", returns(), np.full(N, 1e-4), held, cost=0.5)
    np.testing.assert_allclose(found, held, atol=1e-3)


def test_risk_budgets_are_equal():
    from sklearn.covariance import LedoitWolf

    r = returns()
    w = optimise("risk_budget", r, np.zeros(N), np.zeros(N), cost=0.0)
    sigma = LedoitWolf().fit(r).covariance_
    share = w * (sigma @ w) / (w @ sigma @ w)
    np.testing.assert_allclose(share, 1 / N, atol=0.02)


def test_a_portfolio_reads_nothing_later():
    rng = np.random.default_rng(3)
    close, mean = walk(3, 24 * 20, 3), rng.normal(0, 0.01, (24 * 20, 3))
    later = close.copy()
    later[24 * 15 :] *= np.array([3.0, 0.2, 1.0])
    strategy = Optimised("mean_variance", every_hours=24, lookback_days=8)
    whole, other = (
        strategy.targets(Signal(mean, np.full_like(x, 0.01), np.ones_like(x, bool), x), Costs()).weights_TN
        for x in (close, later)
    )
    np.testing.assert_array_equal(whole[: 24 * 15], other[: 24 * 15])
    assert np.isfinite(whole).any()


def test_a_portfolio_is_traded_like_any_strategy():
    close = walk(4, 24 * 16, 3)
    table = forecasts(np.random.default_rng(4).uniform(0.3, 0.7, (24 * 16 - 1, 3)))
    table = table.with_columns(mean=(table["p_up"] - 0.5) / 10)
    result = backtest(table, candles(close), None, Optimised("hrp", every_hours=48, lookback_days=8), model="m")
    assert len(result.trades) >= 3
    assert result.equity["gross_exposure"].max() == pytest.approx(1.0, abs=0.05)


def test_a_method_that_is_not_known_is_refused():
    with pytest.raises(SettingsError, match="hrp"):
        Optimised("magic")
