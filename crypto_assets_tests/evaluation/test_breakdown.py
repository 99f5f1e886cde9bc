"""Groups of rows: regimes know the past alone, parts are counted once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.evaluation.alignment import align
from crypto_assets.evaluation.breakdown import LEAST_PAST_DAYS, Groups, by_group, groups, regimes, tercile_of_past
from crypto_assets_tests.evaluation import market

PANEL, _ = market.make()


def board(panel=PANEL):
    return align({"a": market.table(panel, p=0.5)}, panel, market.folds())


@settings(max_examples=30, deadline=None)
@given(st.integers(11, 60), st.integers(0, 100))
def test_a_tercile_depends_on_earlier_values_alone(cut, seed):
    x = np.random.default_rng(seed).random(80)
    other = np.r_[x[:cut], np.random.default_rng(seed + 1).random(80 - cut)]
    found = tercile_of_past(x)
    assert np.array_equal(found[:cut], tercile_of_past(other)[:cut])
    assert (found[:LEAST_PAST_DAYS] == -1).all()
    assert (found[LEAST_PAST_DAYS:] >= 0).all()


def test_terciles_are_filled_evenly_and_unknown_days_have_none():
    x = np.random.default_rng(0).random(3000)
    x[100] = np.nan
    found = tercile_of_past(x)
    assert found[100] == -1
    assert np.allclose(np.bincount(found[found >= 0]) / 3000, 1 / 3, atol=0.03)
    assert tercile_of_past(np.r_[x[:50], 9.0])[-1] == 2


def test_a_regime_is_known_at_midnight_whatever_comes_later():
    plain = board()
    start = len(plain.ts) // 2 // 24 * 24
    spoiled = board()
    rv = spoiled.labels["rv_24h"].reshape(len(plain.ts), -1)
    rv[start - 23 :] *= 100.0  # every label that looks past that midnight
    same = regimes(spoiled)[: start + 1]
    assert np.array_equal(same, regimes(plain)[: start + 1])
    assert (regimes(spoiled)[start + 24 :] != regimes(plain)[start + 24 :]).any()


def test_each_position_has_one_coin_and_one_month():
    found = groups(board())
    assert found["coin"].names == market.SYMBOLS
    assert np.array_equal(found["coin"].code[:5], [0, 1, 2, 3, 0])
    assert found["month"].names == ("2024-03", "2024-04", "2024-05")


def test_means_by_group():
    found = by_group({"k": Groups(("a", "b", "c"), np.array([0, 0, 1, -1]))}, np.array([0, 1, 2, 3]), {"x": np.arange(4.0)})
    assert found == {"k": {"a": {"n": 2, "x": pytest.approx(0.5)}, "b": {"n": 1, "x": 2.0}}}
