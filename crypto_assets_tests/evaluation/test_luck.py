"""Deflated Sharpe ratios count the ledger's trials; overfitting compares the accounts of one run."""

import json

import numpy as np
import pytest

from crypto_assets.evaluation import performance as pf
from crypto_assets.evaluation.ledger import Ledger
from crypto_assets.evaluation.luck import luck
from crypto_assets.evaluation.selection import overfitting
from crypto_assets.trading.backtest import backtest
from crypto_assets.trading.strategy import Direction
from crypto_assets_tests.trading.worlds import candles, forecasts, walk

HOURS, COINS = 24 * 40, 3


@pytest.fixture(scope="module")
def accounts() -> dict:
    close = walk(0, HOURS, COINS)
    knows = np.where(np.roll(close, -24, axis=0) > close, 0.8, 0.2)[: HOURS - 1]
    noise = [np.random.default_rng(k).uniform(0.2, 0.8, knows.shape) for k in range(3)]
    return {
        f"m{k}": backtest(forecasts(p), candles(close), None, Direction("24h"), model=f"m{k}")
        for k, p in enumerate([knows, *noise])
    }


def filled(folder, ratios) -> Ledger:
    ledger = Ledger(folder)
    for k, ratio in enumerate(ratios):
        ledger.record({"model": str(k), "folds": []}, {"backtest": {"sharpe_net": ratio}})
    return ledger


def test_trials_of_the_ledger_deflate_the_sharpe_ratio_as_skfolio_does(accounts, tmp_path):
    from skfolio.measures import deflated_sharpe_ratio

    ratios = [0.5, -1.0, 2.0, 1.5]
    found = luck(accounts, filled(tmp_path, ratios))
    assert (found["trials"], found["traded"]) == (4, 4)
    assert found["sharpe_spread"] == pytest.approx(np.std(ratios, ddof=1))
    for model, account in accounts.items():
        daily = pf.daily_returns(account.equity)
        assert found["deflated_sharpe"][model] == pytest.approx(deflated_sharpe_ratio(daily, np.array(ratios) / np.sqrt(365)))
        assert found["deflated_sharpe"][model] < pf.performance(account)["probabilistic_sharpe"]


def test_trials_that_were_not_traded_count_too(accounts, tmp_path):
    few = luck(accounts, filled(tmp_path / "a", [0.5, -1.0]))
    more = luck(accounts, filled(tmp_path / "b", [0.5, -1.0, *[None] * 20]))
    assert (more["trials"], more["traded"]) == (22, 2)
    assert more["deflated_sharpe"]["m1"] < few["deflated_sharpe"]["m1"]


def test_overfitting_is_over_the_days_of_all_accounts(accounts, tmp_path):
    found = luck(accounts, filled(tmp_path, []))
    returns = np.column_stack([pf.daily_returns(a.equity) for a in accounts.values()])
    assert (found["days"], found["accounts"], found["pbo_blocks"]) == (*returns.shape, 10)
    assert found["pbo"] == overfitting(returns, 10).pbo == 0
    assert set(found["deflated_sharpe"].values()) == {None}
    json.dumps(found, allow_nan=False)


def test_one_account_or_none_cannot_be_chosen_wrongly(accounts, tmp_path):
    assert luck({"m0": accounts["m0"]}, filled(tmp_path, []))["pbo"] is None
    assert luck({}, filled(tmp_path, []))["pbo"] is None
