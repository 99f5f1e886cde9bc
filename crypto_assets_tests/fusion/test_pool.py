"""The algebra of the log opinion pool."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.fusion.pool import pool
from crypto_assets.market.errors import SettingsError
from crypto_assets.models._base import Forecast

ARRAYS = tuple(f.name for f in fields(Forecast) if f.name not in {"ts", "symbols"})


def forecast(seed: int, gaps: float = 0.3, T: int = 4, N: int = 2) -> Forecast:
    """A forecast of random numbers, a share of them missing."""
    g = np.random.default_rng(seed)

    def some(values: np.ndarray) -> np.ndarray:
        return np.where(g.random(values.shape) < gaps, np.nan, values)

    cube, flat = (3, T, N), (T, N)
    ts = np.datetime64("2024-01-01", "us") + np.arange(T) * np.timedelta64(1, "h")
    p, q = (some(g.uniform(0.01, 0.99, s)) for s in (cube, flat))
    return Forecast(
        ts, ("BTC", "ETH"), p, some(g.normal(size=cube)), some(g.normal(size=cube)), q, some(g.lognormal(size=flat))
    )


def assert_close(one: Forecast, other: Forecast) -> None:
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12, err_msg=name)


SEEDS = st.lists(st.integers(0, 10**6), min_size=1, max_size=4, unique=True)


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_a_pool_of_the_same_is_the_same(seed, copies):
    assert_close(pool([forecast(seed)] * copies), forecast(seed))


@given(SEEDS, st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_of_members_does_not_matter(seeds, random):
    shuffled = random.sample(seeds, len(seeds))
    assert_close(pool([forecast(s) for s in seeds]), pool([forecast(s) for s in shuffled]))


@given(SEEDS, st.floats(0.1, 50))
@settings(max_examples=30, deadline=None)
def test_only_the_ratios_of_weights_matter(seeds, scale):
    members = [forecast(s) for s in seeds]
    weights = np.arange(1, len(seeds) + 1, dtype=float)
    assert_close(pool(members, weights), pool(members, weights * scale))


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_swapping_up_and_down_swaps_the_pool(seeds):
    """External Bayesianity's little sister: the pool has no favourite side."""
    members = [forecast(s) for s in seeds]
    turned = [replace(m, p_up_HTN=1 - m.p_up_HTN) for m in members]
    np.testing.assert_allclose(pool(turned).p_up_HTN, 1 - pool(members).p_up_HTN, rtol=1e-9)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_pool_lies_between_its_members_and_is_silent_where_all_are(seeds):
    members = [forecast(s) for s in seeds]
    for name in ARRAYS:
        stack, found = np.stack([getattr(m, name) for m in members]), getattr(pool(members), name)
        silent = np.isnan(stack).all(axis=0)
        np.testing.assert_array_equal(np.isnan(found), silent)
        low, high = np.where(np.isnan(stack), np.inf, stack).min(axis=0), np.where(np.isnan(stack), -np.inf, stack).max(axis=0)
        assert np.all((found >= low - 1e-9)[~silent] & (found <= high + 1e-9)[~silent])


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_it_is_externally_bayesian(first, second, evidence):
    """Updating every member by the same likelihood ratio, or the pool by it, is the same (Genest 1984)."""

    def updated(f: Forecast) -> Forecast:
        odds = f.p_up_HTN / (1 - f.p_up_HTN) * np.exp(evidence)
        return replace(f, p_up_HTN=odds / (1 + odds))

    members = [forecast(first), forecast(second)]
    np.testing.assert_allclose(
        pool([updated(m) for m in members], [1, 2]).p_up_HTN, updated(pool(members, [1, 2])).p_up_HTN, rtol=1e-7
    )


def test_variances_are_averaged_geometrically():
    one, other = (replace(forecast(0, gaps=0), realised_var_TN=np.full((4, 2), v)) for v in (1e-4, 4e-4))
    np.testing.assert_allclose(pool([one, other]).realised_var_TN, 2e-4)
    np.testing.assert_allclose(pool([one, other], [3, 1]).realised_var_TN, 1e-4 * 4**0.25)


def test_a_certain_member_does_not_silence_the_others():
    sure, unsure = (replace(forecast(0, gaps=0), p_up_HTN=np.full((3, 4, 2), p)) for p in (1.0, 0.3))
    found = pool([sure, unsure]).p_up_HTN
    assert np.all((found > 0.3) & (found < 1))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, np.nan]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(SettingsError, match="weights must be 2 numbers"):
        pool([forecast(1), forecast(2)], weights)


def test_members_about_other_hours_and_no_members_are_refused():
    with pytest.raises(SettingsError, match="align them first"):
        pool([forecast(1), replace(forecast(2), ts=forecast(2).ts + np.timedelta64(1, "h"))])
    with pytest.raises(SettingsError, match="at least one"):
        pool([])
