"""The backtest as a whole: when it fills, what it refuses, what the future may not change."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.market.errors import CryptoAssetsError, SchemaError
from crypto_assets.trading.backtest import backtest, cost_sensitivity
from crypto_assets.trading.costs import PERPETUAL, Costs
from crypto_assets.trading.strategy import STRATEGIES, Direction, Relative
from crypto_assets_tests.trading.worlds import HOUR, START, candles, forecasts, funding, walk

FREE = Costs(0, 0, is_funding_paid=False)
ALWAYS = Direction("24h", entry=0.0)


def test_a_decision_fills_at_the_open_of_the_bar_that_begins_then():
    close = walk(0, 60, 1)
    opens = close * 1.003
    p = np.full((20, 1), 0.5)
    p[5:] = 0.9
    decided = START + 31 * HOUR
    result = backtest(forecasts(p, start=START + 26 * HOUR), candles(close, opens), None, ALWAYS, FREE, model="m")
    first = result.trades.row(0, named=True)
    assert first["ts"] == decided
    assert first["price"] == pytest.approx(opens[31, 0])
    assert result.equity["ts"][0] == START + 26 * HOUR
    assert result.equity["equity_usd"][0] == 10_000


def test_a_forecast_that_knows_the_next_hour_earns_the_sum_of_absolute_moves():
    """Without costs, one coin, a perfect sign: equity is the product of 1 + |r|, computed apart from the engine."""
    close = walk(1, 200, 1)
    opens = np.vstack([close[:1], close[:-1]])
    r = close[1:, 0] / close[:-1, 0] - 1
    p = np.where(r > 0, 0.99, 0.01)[:, None]  # decided at the close of bar t, about bar t + 1
    strategy = Direction("1h", entry=0.0, drift=0.0)
    result = backtest(forecasts(p, "1h"), candles(close, opens), None, strategy, FREE, model="m")
    known = slice(24, None)  # volatility needs a day
    np.testing.assert_allclose(result.equity["equity_usd"][-1], 10_000 * np.prod(1 + np.abs(r[known])), rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.sampled_from(sorted(STRATEGIES)), st.integers(60, 110))
def test_the_future_changes_nothing_before_it(seed, name, until):
    rng = np.random.default_rng(seed)
    close = walk(seed, 120, 4, 0.02)
    close[rng.random(close.shape) < 0.05] = np.nan
    p = rng.uniform(0.2, 0.8, (119, 4))
    strategy = STRATEGIES[name]
    horizon = strategy.horizon
    rates = funding(0.0001, ("C0", "C1", "C2", "C3"), 120)
    whole = backtest(forecasts(p, horizon), candles(close), rates, strategy, model="m").equity
    cut = START + until * HOUR
    head = backtest(
        forecasts(p, horizon).filter(pl.col("ts") < cut), candles(close).filter(pl.col("ts") < cut), rates, strategy, model="m"
    ).equity
    same = whole.join(head, on="ts", how="inner", suffix="_head")
    assert len(same) > 20
    np.testing.assert_allclose(same["equity_usd"], same["equity_usd_head"], atol=0.01)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 500), st.sampled_from(sorted(STRATEGIES)))
def test_net_is_gross_less_the_costs_and_cash_plus_positions_is_equity(seed, name):
    rng = np.random.default_rng(seed)
    close = walk(seed, 100, 3, 0.03)
    p = rng.uniform(0, 1, (99, 3))
    strategy = STRATEGIES[name]
    result = backtest(forecasts(p, strategy.horizon), candles(close), funding(0.0005, ("C0", "C1"), 100), strategy, model="m")
    e = result.equity
    costs = (e["fees_usd"] + e["slippage_usd"] + e["funding_usd"]).cum_sum()
    assert (e["gross_equity_usd"] - costs - e["equity_usd"]).abs().max() < 0.01
    held = result.positions.group_by("ts").agg(value=(pl.col("quantity") * pl.col("price")).sum())
    balance = e.join(held, on="ts", how="left").with_columns(pl.col("value").fill_null(0.0))
    assert (balance["cash_usd"] + balance["value"] - balance["equity_usd"]).abs().max() < 0.01
    assert result.trades["fee_usd"].sum() == pytest.approx(e["fees_usd"].sum(), abs=0.01)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_position_is_the_sum_of_the_fills_before_its_close(name):
    rng = np.random.default_rng(5)
    strategy = STRATEGIES[name]
    said = forecasts(rng.uniform(0, 1, (99, 3)), strategy.horizon)
    result = backtest(said, candles(walk(5, 100, 3, 0.03)), None, strategy, model="m")
    signed = pl.when(pl.col("side") == "buy").then("quantity").otherwise(-pl.col("quantity"))
    fills = result.trades.select("symbol", ts=pl.col("ts") + HOUR, change=signed)
    hours = result.equity.select("ts").join(pl.DataFrame({"symbol": ["C0", "C1", "C2"]}), how="cross")
    book = hours.join(fills, on=["symbol", "ts"], how="left").join(
        result.positions.select("symbol", "ts", "quantity"), on=["symbol", "ts"], how="left"
    )
    held = book.sort("ts").with_columns(pl.col("change", "quantity").fill_null(0.0))
    off = held.select((pl.col("change").cum_sum().over("symbol") - pl.col("quantity")).abs().max()).item()
    assert result.positions.height > 20
    assert off < 1e-9


def test_more_costs_never_help_the_same_decisions():
    close, p = walk(3, 300, 4), np.random.default_rng(3).uniform(0.2, 0.8, (299, 4))
    curves = cost_sensitivity(forecasts(p), candles(close), None, Relative(), model="m")
    final = [curve["equity_usd"][-1] for curve in curves.values()]
    assert list(curves) == [0.0, 1.0, 2.0, 4.0]
    assert final == sorted(final, reverse=True)


def test_references_hold_every_coin_and_pay_to_get_in():
    close = walk(4, 100, 3)
    opens = np.vstack([close[:1], close[:-1]])
    result = backtest(forecasts(np.full((74, 3), 0.6), start=START + 26 * HOUR), candles(close, opens), None, ALWAYS, model="m")
    entry, last = close[25], close[99]
    expected = 10_000 * (np.mean(last / entry) * (1 / 1.0007) + (1 - 1 / 1.0007)) - 10_000 / 1.0007 * 7e-4
    assert result.buy_and_hold["equity_usd"][-1] == pytest.approx(expected, rel=1e-5)
    assert result.buy_and_hold["cash_usd"].abs().max() < 10_001
    assert result.equal_weight["turnover_usd"].sum() > result.buy_and_hold["turnover_usd"].sum()
    assert result.buy_and_hold["ts"].equals(result.equity["ts"])


def test_a_delisted_coin_is_settled_and_its_later_forecasts_are_counted():
    close = walk(5, 150, 2)
    close[80:, 1] = np.nan
    p = np.full((149, 2), 0.9)
    result = backtest(forecasts(p), candles(close), None, ALWAYS, model="m")
    settled = result.trades.filter(pl.col("reason") == "delisting")
    assert settled["symbol"].to_list() == ["C1"]
    assert settled["ts"][0] == START + 80 * HOUR
    assert settled["price"][0] == pytest.approx(close[79, 1] * (1 - 2e-4))
    assert result.counts["ignored"] == 149 - 80
    assert result.positions.filter((pl.col("symbol") == "C1") & (pl.col("ts") > START + 80 * HOUR)).is_empty()


def test_a_forecast_of_an_unknown_coin_is_ignored_and_counted():
    close = walk(6, 100, 2)
    p = np.full((99, 3), 0.9)
    result = backtest(forecasts(p), candles(close), None, ALWAYS, model="m")
    assert result.counts["ignored"] == 99
    assert set(result.trades["symbol"]) == {"C0", "C1"}


def test_null_and_nan_forecasts_open_nothing():
    close = walk(7, 100, 2)
    p = np.full((99, 2), 0.9)
    p[:, 1] = np.nan
    table = forecasts(p).with_columns(
        pl.when(pl.col("ts") < START + 40 * HOUR).then(None).otherwise(pl.col("p_up")).alias("p_up")
    )
    result = backtest(table, candles(close), None, ALWAYS, model="m")
    assert set(result.trades["symbol"]) == {"C0"}
    assert result.trades["ts"].min() >= START + 40 * HOUR


def test_a_hole_in_the_data_holds_the_position_at_its_last_price():
    close = walk(8, 100, 1)
    close[60:70] = np.nan
    result = backtest(forecasts(np.full((99, 1), 0.9)), candles(close), None, ALWAYS, FREE, model="m")
    inside = result.equity.filter(pl.col("ts").is_between(START + 61 * HOUR, START + 70 * HOUR))
    assert inside["equity_usd"].n_unique() == 1
    assert not result.trades.filter(pl.col("ts").is_between(START + 60 * HOUR, START + 69 * HOUR)).height


def bad_candles():
    good = candles(walk(9, 60, 2))
    at = (pl.col("symbol") == "C0") & (pl.col("ts") == START + 30 * HOUR)
    price = lambda value: good.with_columns(open=pl.when(at).then(value).otherwise(pl.col("open")))  # noqa: E731
    yield "zero price", price(0.0), "above 0"
    yield "negative price", price(-5.0), "above 0"
    yield "null price", price(None), "above 0"
    yield "infinite price", price(float("inf")), "finite"
    yield "duplicate row", pl.concat([good, good.filter(at)]).sort("symbol", "ts"), "duplicate"
    yield "clock backwards", good.sort("ts", descending=True), "backwards"
    yield "no rows", good.clear(), "no rows"
    yield "missing column", good.drop("open"), "lack the columns"
    yield "naive clock", good.with_columns(pl.col("ts").dt.replace_time_zone(None)), "UTC"
    yield "off the hour", good.with_columns(pl.col("ts") + timedelta(minutes=5)), "on the hour"


@pytest.mark.parametrize(("frame", "says"), [pytest.param(f, s, id=n) for n, f, s in bad_candles()])
def test_candles_that_cannot_be_traded_are_refused(frame, says):
    with pytest.raises(SchemaError, match=says):
        backtest(forecasts(np.full((59, 2), 0.6)), frame, None, ALWAYS, model="m")


def test_forecasts_that_cannot_be_traded_are_refused():
    table, prices = forecasts(np.full((59, 2), 0.6)), candles(walk(9, 60, 2))
    for frame in (
        pl.concat([table, table.head(1)]),
        table.reverse(),
        table.with_columns(p_up=pl.lit(1.2)),
        table.drop("p_up"),
        table.with_columns(horizon=pl.lit("4h")),
        table.with_columns(p_up=pl.lit(None, pl.Float64)),
    ):
        with pytest.raises(CryptoAssetsError):
            backtest(frame, prices, None, ALWAYS, model="m")


def test_funding_with_two_versions_of_a_settlement_is_refused():
    rates = funding(0.0001, ("C0",), 60)
    with pytest.raises(SchemaError, match="duplicate"):
        backtest(
            forecasts(np.full((59, 1), 0.6)), candles(walk(9, 60, 1)), pl.concat([rates, rates]).sort("ts"), ALWAYS, model="m"
        )


def test_a_capital_that_is_no_capital_is_refused():
    with pytest.raises(CryptoAssetsError, match="initial_capital_usd"):
        backtest(forecasts(np.full((59, 1), 0.6)), candles(walk(9, 60, 1)), None, ALWAYS, model="m", initial_capital_usd=0.0)


def test_a_settlement_told_twice_counts_as_first_published():
    close, p = walk(10, 60, 1), np.full((59, 1), 0.9)
    first = funding(0.001, ("C0",), 60).with_columns(available_at=pl.col("ts"))
    later = first.with_columns(
        ts=pl.col("ts") + timedelta(milliseconds=3),
        funding_rate=-pl.col("funding_rate"),
        available_at=pl.col("ts") + timedelta(days=1),
    )
    both = pl.concat([first, later]).sort("ts")
    results = [backtest(forecasts(p), candles(close), rates, ALWAYS, PERPETUAL, model="m") for rates in (first, both)]
    assert results[0].equity.equals(results[1].equity)


def test_funding_milliseconds_late_still_settles_on_its_hour():
    close, p = walk(10, 60, 1), np.full((59, 1), 0.9)
    exact = funding(0.001, ("C0",), 60)
    late = exact.with_columns(pl.col("ts") + timedelta(milliseconds=7))
    results = [backtest(forecasts(p), candles(close), rates, ALWAYS, PERPETUAL, model="m") for rates in (exact, late)]
    assert results[0].equity.equals(results[1].equity)
    assert results[0].counts["settlements"] > 0


def test_the_same_input_gives_the_same_tables():
    close, p = walk(11, 100, 3), np.random.default_rng(11).uniform(0.2, 0.8, (99, 3))
    one, two = (backtest(forecasts(p), candles(close), None, Relative(), model="m") for _ in range(2))
    assert one.equity.equals(two.equity)
    assert one.trades.equals(two.trades)
