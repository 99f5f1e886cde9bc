"""Actions by expected log utility: against brute force, and against a simulated holder of a lognormal coin."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from crypto_assets.fusion.decision import action, with_price_targets


@pytest.mark.parametrize("mean", [-0.01, -0.003, 0.0, 0.003, 0.01])
def test_the_action_is_the_one_with_the_largest_expected_log_wealth(mean):
    """Log wealth of all-in long, all-in short, and nothing, over a lognormal return of 3 % a period."""
    sd, cost = 0.03, 0.0014
    r = mean + sd * np.random.default_rng(0).normal(size=400_000)
    r = r - r.mean() + mean
    worth = {"BUY": r.mean() - cost, "SELL": np.log(np.maximum(2 - np.exp(r), 1e-9)).mean() - cost, "HOLD": 0.0}
    assert action(np.array([mean]), np.array([sd**2]), cost)[0] == max(worth, key=worth.get)


def test_it_abstains_inside_the_costs_and_where_nothing_is_known():
    np.testing.assert_array_equal(action(np.array([0.001, -0.001, np.nan]), np.array([1e-4, 1e-4, np.nan]), 0.0014), "HOLD")


def test_dearer_trades_are_fewer():
    g = np.random.default_rng(0)
    mean, variance = g.normal(size=1000) * 0.005, np.full(1000, 1e-4)
    trades = [int(np.sum(action(mean, variance, cost) != "HOLD")) for cost in (0.0, 0.001, 0.003, 0.01)]
    assert trades == sorted(trades, reverse=True)
    assert trades[0] > trades[-1]


def test_the_price_target_is_the_close_moved_by_the_mean():
    ts = datetime(2024, 1, 1, 5, tzinfo=UTC)
    rows = pl.DataFrame({"symbol": ["A", "B"], "ts": [ts, ts], "mean": [0.1, 0.1], "price_target_usd": [None, None]})
    candles = pl.DataFrame({"symbol": ["A"], "ts": [ts.replace(hour=4)], "close": [50.0]})
    found = with_price_targets(rows, candles)
    assert found["price_target_usd"].to_list() == [pytest.approx(50 * np.exp(0.1)), None]
