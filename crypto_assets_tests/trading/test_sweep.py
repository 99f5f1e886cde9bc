"""The sweep against the engine: the same accounts, the same cents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading import account as a
from crypto_assets.trading import engine, sweep_kernel, sweep_plain
from crypto_assets.trading import sweep as sweeps
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.grid import Market
from crypto_assets.trading.sweep import COLUMNS, sweep

HOUR = 3_600_000_000


def market(seed: int, T: int, M: int) -> Market:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (T, M)), axis=0))
    opens = close * np.exp(rng.normal(0, 0.005, (T, M)))
    hole, delisted = rng.random((T, M)) < 0.05, np.zeros((T, M), bool)
    delisted[T // 2 :, 0] = True
    for prices in (opens, close):
        prices[hole | delisted] = np.nan
    rate = np.where(rng.random((T, M)) < 0.2, rng.normal(0, 0.001, (T, M)), 0.0)
    blank = np.full((T, M), np.nan)
    mark = np.where(rng.random((T, M)) < 0.5, 100.0, np.nan)
    ts = (HOUR * (1 + np.arange(T))).astype("datetime64[us]")
    return Market(ts, tuple(f"C{m}" for m in range(M)), opens, blank, blank, close, blank, rate, mark, delisted)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(1, 3), st.floats(0, 20), st.floats(0, 20), st.floats(0, 0.2), st.booleans())
def test_every_account_is_the_engines_account(seed, N, fee, slip, band, is_funding_paid):
    T, M, S = 60, 4, 5
    rng = np.random.default_rng(seed)
    grid, costs = market(seed, T, M), Costs(fee, slip, is_funding_paid=is_funding_paid)
    target = np.where(rng.random((S, T, N)) < 0.3, np.nan, rng.uniform(-1, 1, (S, T, N)))
    coins = np.array([rng.permutation(M)[:N] for _ in range(S)])
    rows = sweep(grid, target, costs, coins_SN=coins, band=band, threads=2)
    rate = grid.rate_TN if is_funding_paid else np.zeros_like(grid.rate_TN)
    for s in range(S):
        own = [
            np.ascontiguousarray(x[:, coins[s]]) for x in (grid.open_TN, grid.close_TN, rate, grid.mark_TN, grid.delisted_TN)
        ]
        blank = np.full((T, N), np.nan)
        bars = a.Bar(grid.ts_T.astype("int64"), own[0], blank, blank, own[1], blank, blank, own[2], own[3], own[4])
        terms = a.terms(N, taker=fee * 1e-4, spread=slip * 1e-4)
        bounds = a.bounds([f"C{n}" for n in range(N)], gross=1.0)
        first, never = a.opened(10_000, np.full(N, np.nan)), np.zeros(T, bool)
        _, h = engine.run(first, bars, target[s], np.full(T, band), False, False, never, terms, bounds)
        value = np.append(10_000, h.cash_T + (h.quantity_TN * np.nan_to_num(h.price_TN)).sum(axis=1))
        r = np.where(value[:-1] > 0, np.diff(value) / np.where(value[:-1] > 0, value[:-1], 1), 0)
        expected = {
            "final_value_usd": value[-1],
            "mean_return": r.mean(),
            "sd_return": r.std(ddof=1),
            "max_drawdown": (1 - value / np.maximum.accumulate(value)).max(),
            "turnover_usd": np.nansum(np.abs(h.fills.traded_N) * h.fills.reference_N),
            "fees_usd": h.fills.fee_N.sum(),
            "slippage_usd": h.fills.slippage_N.sum(),
            "funding_usd": h.funding_TN.sum(),
            "trades": (h.fills.traded_N != 0).sum(),
        }
        assert rows.row(s, named=True) == pytest.approx(expected, abs=1e-6, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(1, 3), st.floats(0, 20), st.floats(0, 3000), st.floats(0, 0.2), st.floats(0.2, 3))
def test_the_pass_in_numpy_gives_the_bits_of_the_compiled_one(seed, N, fee, slip, band, gross):
    """Accounts that are ruined on the way too: slippage may be a third of what is traded."""
    T, M, S = 60, 4, 5
    rng = np.random.default_rng(seed)
    grid = market(seed, T, M)
    target = np.where(rng.random((S, T, N)) < 0.3, np.nan, rng.uniform(-2, 2, (S, T, N)))
    coins = np.array([rng.permutation(M)[:N] for _ in range(S)])
    grids = [np.ascontiguousarray(x.T) for x in (grid.open_TN, grid.close_TN, grid.rate_TN, grid.mark_TN, grid.delisted_TN)]
    found = []
    for accounts in (sweep_plain.accounts, sweep_kernel.accounts):
        out = np.zeros((S, len(COLUMNS)))
        accounts(*grids, target, coins, out, 10_000.0, fee * 1e-4, slip * 1e-4, band, gross)
        found.append(out)
    np.testing.assert_array_equal(*found)


def test_a_small_sweep_and_the_next_one_are_equal(monkeypatch):
    """The first is made in numpy, the second compiled."""
    monkeypatch.setattr(sweeps, "_first", iter([True]))
    used = []
    for name in ("_plain", "_compiled"):
        monkeypatch.setattr(sweeps, name, lambda name=name, plain=getattr(sweeps, name): used.append(name) or plain())
    target = np.random.default_rng(0).uniform(-1, 1, (3, 50, 2))
    first, second = (sweep(market(1, 50, 2), target, Costs()) for _ in range(2))
    assert used == ["_plain", "_compiled"]
    assert first.equals(second)


def test_targets_that_do_not_fit_the_market_are_refused():
    grid = market(0, 20, 2)
    with pytest.raises(SettingsError, match="20 bars"):
        sweep(grid, np.zeros((3, 19, 1)), Costs())
    with pytest.raises(SettingsError, match="below 2"):
        sweep(grid, np.zeros((3, 20, 1)), Costs(), coins_SN=np.full((3, 1), 2))


def test_a_cost_that_the_sweep_does_not_know_is_refused():
    with pytest.raises(SettingsError, match="impact"):
        sweep(market(0, 20, 1), np.zeros((1, 20, 1)), Costs(impact=1.0))
