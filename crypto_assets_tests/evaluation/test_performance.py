"""Performance statistics against closed forms, scikit-free arithmetic and series whose truth is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.evaluation import performance as pf
from crypto_assets.market.errors import SchemaError
from crypto_assets.trading.backtest import backtest
from crypto_assets.trading.strategy import Direction
from crypto_assets_tests.trading.worlds import candles, forecasts, walk

START = datetime(2024, 1, 1, tzinfo=UTC)


def account(returns, costs=None, turnover=None) -> pl.DataFrame:
    """An equity table with these hourly net returns; `costs` in USD an hour."""
    value = 10_000 * np.cumprod(np.append(1.0, 1 + np.asarray(returns, float)))
    paid = np.zeros(len(value)) if costs is None else np.append(0.0, costs)
    return pl.DataFrame(
        {
            "ts": [START + timedelta(hours=t) for t in range(len(value))],
            "equity_usd": value,
            "gross_equity_usd": value + np.cumsum(paid),
            "turnover_usd": np.zeros(len(value)) if turnover is None else np.append(0.0, turnover),
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))


def test_sharpe_of_a_series_with_known_mean_and_deviation():
    r = np.tile([0.02, 0.0], 500)  # mean 1 %, deviation 1 % (population)
    assert pf.sharpe(r) == pytest.approx(np.sqrt(8760) * np.sqrt(999 / 1000))
    assert np.isnan(pf.sharpe(np.full(10, 0.01) * 0))


def test_the_sharpe_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    ts = np.datetime64("2024-01-01", "h") + np.arange(24 * 200)
    truth = 0.02 * np.sqrt(8760)
    inside = 0
    for _ in range(100):
        low, high = pf.sharpe_interval(rng.normal(0.0002, 0.01, len(ts)), ts, draws=300)
        inside += low < truth < high
    assert 86 <= inside <= 100


def test_the_sharpe_interval_needs_two_blocks_of_days():
    ts = np.datetime64("2024-01-01", "h") + np.arange(24 * 9)
    assert np.isnan(pf.sharpe_interval(np.random.default_rng(0).normal(size=len(ts)), ts)).all()


def test_drawdown_by_hand():
    assert pf.max_drawdown(np.array([100, 120, 90, 130, 117.0])) == pytest.approx(0.25)
    np.testing.assert_allclose(pf.drawdown(np.array([100, 50, 200.0])), [0, 0.5, 0])


@given(st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=60))
def test_drawdown_is_the_worst_loss_between_any_two_moments(returns):
    value = np.cumprod(np.append(1.0, 1 + np.array(returns)))
    brute = max(1 - value[j] / value[i] for i in range(len(value)) for j in range(i, len(value)))
    assert pf.max_drawdown(value) == pytest.approx(brute, abs=1e-12)


def test_a_year_that_doubles_returns_100_percent_a_year():
    value = np.geomspace(1, 2, 8761)
    assert pf.annual_return(value) == pytest.approx(1.0)
    assert np.isnan(pf.calmar(value))
    assert pf.annual_return(np.array([1.0, -0.2])) == -1.0


def test_sortino_counts_losses_alone():
    r = np.tile([0.03, -0.01], 100)
    assert pf.sortino(r) == pytest.approx(0.01 / np.sqrt(0.0001 / 2) * np.sqrt(8760))


def test_tail_losses_by_hand():
    daily = np.arange(-10, 90) / 100  # 100 days, the worst five are -10 % .. -6 %
    assert pf.expected_shortfall(daily) == pytest.approx(0.08)
    assert pf.value_at_risk(daily) == pytest.approx(-np.quantile(daily, 0.05))
    assert pf.expected_shortfall(daily) >= pf.value_at_risk(daily)


def test_information_ratio_against_itself_is_none_and_against_cash_is_the_sharpe():
    r = np.random.default_rng(1).normal(0.001, 0.01, 1000)
    assert np.isnan(pf.information_ratio(r, r))
    assert pf.information_ratio(r, np.zeros(1000)) == pf.sharpe(r)


def test_months_compound_to_the_total():
    equity = account(np.random.default_rng(2).normal(0, 0.01, 24 * 80))
    months = pf.period_returns(equity, "1mo")
    assert months["start"].dt.month().to_list() == [1, 2, 3]
    value = equity["equity_usd"]
    assert np.prod(1 + months["return"].to_numpy()) == pytest.approx(value[-1] / value[0])
    assert len(pf.daily_returns(equity)) == 80


def test_gross_returns_belong_to_the_account_that_paid():
    """1 % a hour before costs, half of it paid away: gross stays 1 % of what the account still holds."""
    n = 200
    value = 10_000 * 1.005 ** np.arange(n + 1)
    equity = account(np.full(n, 0.005), costs=value[:-1] * 0.005)
    np.testing.assert_allclose(pf.hourly_gross_returns(equity), 0.01)
    np.testing.assert_allclose(pf.hourly_returns(equity), 0.005)


def test_turnover_counts_both_sides_by_the_day():
    assert pf.turnover_per_day(account(np.zeros(48), turnover=np.full(48, 10_000 / 24))) == pytest.approx(1.0)


def test_an_account_that_is_ruined_stops_returning():
    equity = account([0.0] * 3).with_columns(equity_usd=pl.Series([100.0, 50.0, -10.0, -10.0]))
    np.testing.assert_allclose(pf.hourly_returns(equity), [-0.5, -1.2, 0.0])


def test_two_accounts_in_one_frame_are_refused():
    equity = account([0.01, 0.02])
    with pytest.raises(SchemaError, match="one account"):
        pf.hourly_returns(pl.concat([equity, equity]))
    with pytest.raises(SchemaError, match="no rows"):
        pf.hourly_returns(equity.clear())


def test_performance_of_a_backtest_has_the_contract_keys_and_is_json():
    p = np.random.default_rng(3).uniform(0.2, 0.8, (599, 3))
    result = backtest(forecasts(p), candles(walk(3, 600, 3)), None, Direction("24h"), model="m")
    found = pf.performance(result)
    contract = {
        "sharpe_gross",
        "sharpe_net",
        "max_drawdown",
        "turnover_per_day",
        "total_return_net",
        "final_value_usd",
        "trades",
    }
    assert contract <= set(found)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["sharpe_gross"] > found["sharpe_net"]
    assert found["sharpe_net_ci95"][0] < found["sharpe_net"] < found["sharpe_net_ci95"][1]
    assert found["final_value_usd"] == pytest.approx(10_000 * (1 + found["total_return_net"]))


def test_an_account_that_never_trades_has_no_ratio_and_loses_nothing():
    result = backtest(forecasts(np.full((199, 3), 0.5)), candles(walk(4, 200, 3)), None, Direction("24h"), model="m")
    found = pf.performance(result)
    assert found["sharpe_net"] is None
    assert found["total_return_net"] == 0.0
    assert found["max_drawdown"] == 0.0
    assert found["win_rate_trades"] is None
