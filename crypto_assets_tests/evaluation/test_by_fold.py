"""The rows of an account by fold against its equity, by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.dataset.folds import Fold
from crypto_assets.evaluation.by_fold import by_fold, summary
from crypto_assets.market.time import Window
from crypto_assets.trading.backtest import Backtest, backtest
from crypto_assets.trading.strategy import Direction
from crypto_assets.trading.tables import BacktestsSummary, fold_table
from crypto_assets_tests.trading.worlds import HOUR, START, candles, forecasts, walk


@pytest.fixture(scope="module")
def account() -> Backtest:
    close, p = walk(1, 24 * 12, 3, 0.02), np.random.default_rng(1).uniform(0.2, 0.8, (24 * 12 - 1, 3))
    return backtest(forecasts(p), candles(close), None, Direction("24h", entry=0.0), model="m")


def fold(first: int, days: int) -> Fold:
    start = START + timedelta(days=first)
    before = Window(START, START + HOUR)
    return Fold(f"{start:%Y-%m-%d}", before, before, Window(start, start + timedelta(days=days)))


def test_the_returns_of_the_folds_are_the_return_of_the_account(account):
    folds = [fold(0, 4), fold(4, 4), fold(8, 4)]
    rows = by_fold(account, folds)
    assert rows["fold"].to_list() == [f.name for f in folds]
    whole = account.equity["equity_usd"][-1] / account.equity["equity_usd"][0]
    assert float(np.prod(1 + rows["return_net"].to_numpy())) == pytest.approx(whole)
    assert rows["trades"].sum() == len(account.trades)


def test_a_fold_the_account_did_not_see_has_no_row(account):
    assert by_fold(account, [fold(400, 4)]).height == 0


def test_the_rows_are_those_of_the_tables(account):
    assert BacktestsSummary.shape(summary([account])).height == 1
    assert fold_table("mine").shape(by_fold(account, [fold(2, 5)])).height == 1


def test_an_account_that_never_traded_stands_beside_one_that_did(account):
    close = walk(1, 24 * 12, 3, 0.02)
    idle = backtest(forecasts(np.full((24 * 12 - 1, 3), 0.5)), candles(close), None, Direction("24h"), model="idle")
    rows = pl.concat([by_fold(a, [fold(2, 5)]) for a in (idle, account)])
    assert rows["sharpe_net"].is_null().to_list() == [True, False]
