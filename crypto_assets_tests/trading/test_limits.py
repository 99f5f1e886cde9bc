"""Limits and venues as a user states them, and strategies of a user's own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.backtest import backtest
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.limits import NO_LEVERAGE, PRUDENT, Limits, is_killed
from crypto_assets.trading.strategies import load_strategy, strategies
from crypto_assets.trading.strategy import Direction, Relative
from crypto_assets.trading.venues import VENUES, Rules, venue
from crypto_assets_tests.trading.worlds import candles, forecasts, walk


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"gross": 0.0}, "gross"), ({"coin": float("nan")}, "coin"), ({"brake_from": 0.3, "brake_at": 0.2}, "brake_at"),
     ({"brake_floor": 2.0}, "brake_floor"), ({"daily_loss": -0.1}, "daily_loss")],
)  # fmt: skip
def test_a_limit_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(SettingsError, match=says):
        Limits(**wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"participation": 0.0}, "participation"), ({"maintenance": 1.0}, "maintenance"), ({"least_usd": -1.0}, "least_usd")],
)
def test_a_rule_that_cannot_be_is_refused(wrong, says):
    with pytest.raises(SettingsError, match=says):
        Rules(**wrong)


def test_the_kill_switch_is_a_setting_or_a_file(tmp_path):
    assert not is_killed(tmp_path)
    assert is_killed(tmp_path, setting=True)
    (tmp_path / "KILL").touch()
    assert is_killed(tmp_path)


def test_a_venue_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(SettingsError, match="binance_usdm"):
        venue("nowhere")
    assert all(v.costs.maker_fee_bps <= v.costs.taker_fee_bps for v in VENUES.values())


def test_a_venues_margin_changes_nothing_without_leverage():
    close, p = walk(3, 200, 4, 0.02), np.random.default_rng(3).uniform(0.2, 0.8, (199, 4))
    runs = [
        backtest(forecasts(p), candles(close), None, Relative(), model="m", rules=rules)
        for rules in (Rules(), Rules(maintenance=0.01))
    ]
    assert runs[0].equity.equals(runs[1].equity)


def test_every_limit_that_bites_leaves_a_line_and_is_counted():
    close, p = walk(4, 200, 4, 0.03), np.random.default_rng(4).uniform(0.1, 0.9, (199, 4))
    strategy = Direction("24h", entry=0.0)
    result = backtest(forecasts(p), candles(close), None, strategy, model="m", limits=PRUDENT, rules=Rules(least_usd=1000.0))
    for words in ("risk per trade", "below the smallest order"):
        lines = result.orders.filter(pl.col("reason").str.contains(words))
        assert len(lines) == result.notes[words] > 0


def test_prudent_limits_lose_less_of_a_fall():
    close = np.vstack([walk(5, 100, 2, 0.01), walk(5, 100, 2, 0.01)[-1] * np.exp(-0.01 * np.arange(1, 101))[:, None]])
    p = np.full((199, 2), 0.9)
    strategy = Direction("24h", entry=0.0)
    last = [
        backtest(forecasts(p), candles(close), None, strategy, Costs(0, 0), model="m", limits=limits).equity["equity_usd"][-1]
        for limits in (NO_LEVERAGE, PRUDENT)
    ]
    assert last[1] > last[0]


MINE = """
from dataclasses import dataclass
import numpy as np
from crypto_assets.trading.strategy import Targets

@dataclass(frozen=True)
class Surest:
    name: str = "surest"
    column: str = "p_up"
    horizon: str = "4h"
    def targets(self, signal, costs):
        p = np.where(signal.listed_TN, signal.p_TN, np.nan)
        weights = np.where(p > 0.6, 0.1, np.where(np.isnan(p), np.nan, 0.0))
        return Targets(weights, np.zeros(len(p)))

STRATEGY = Surest()
"""


def test_a_strategy_of_a_users_own_is_a_small_file(tmp_path):
    file = tmp_path / "surest.py"
    file.write_text(MINE)
    found = strategies([file])["surest"]
    close, p = walk(6, 100, 2), np.random.default_rng(6).uniform(0.3, 0.8, (99, 2))
    result = backtest(forecasts(p, "4h"), candles(close), None, found, model="m")
    assert result.strategy == "surest"
    assert len(result.trades) > 0


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "STRATEGY"), ("STRATEGY = 1", "lacks"), ("1 / 0", "ZeroDivisionError"),
     (MINE.replace('"surest"', '"equity"'), "reserved"), (MINE.replace('"4h"', '"5h"'), "5h")],
)  # fmt: skip
def test_a_file_that_is_no_strategy_is_refused(tmp_path, text, says):
    file = tmp_path / "wrong.py"
    file.write_text(text)
    with pytest.raises(SettingsError, match=says):
        strategies([file])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no strategy file"):
        load_strategy(tmp_path / "none.py")
