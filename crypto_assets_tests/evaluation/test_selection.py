"""Choosing the best of many: Sharpe ratios, overfitting and splits against skfolio, brute force and closed forms."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from crypto_assets.evaluation import selection
from crypto_assets.evaluation.combinatorial import combinatorial_splits, paths
from crypto_assets.market.errors import SettingsError


def returns(seed: int, T: int, N: int, edge: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.01 * (rng.standard_t(4, size=(T, N)) + edge)


@pytest.mark.parametrize("edge", [-0.2, 0.0, 0.3])
def test_sharpe_probabilities_are_those_of_skfolio(edge):
    from skfolio import measures

    r = returns(1, 400, 7, edge)
    ratios = np.array([selection.period_sharpe(c) for c in r.T])
    ours = selection.probabilistic_sharpe(r[:, 0], 0.05)
    assert ours == pytest.approx(measures.probabilistic_sharpe_ratio(r[:, 0], 0.05), rel=1e-9)
    spread = float(ratios.std(ddof=1))
    best = selection.expected_max_sharpe(7, spread)
    assert best == pytest.approx(measures.expected_max_sharpe_ratio(7, spread), rel=1e-9)
    ours = selection.deflated_sharpe(r[:, 0], 7, spread)
    assert ours == pytest.approx(measures.deflated_sharpe_ratio(r[:, 0], ratios), rel=1e-9)


def test_for_normal_returns_the_probability_is_a_t_test_nearly():
    r = np.random.default_rng(0).normal(0.0005, 0.01, 2000)
    t = selection.period_sharpe(r) * np.sqrt(len(r))
    assert selection.probabilistic_sharpe(r) == pytest.approx(norm.cdf(t), abs=2e-3)


def test_the_best_of_many_without_skill_has_the_expected_sharpe_by_simulation():
    rng = np.random.default_rng(0)
    best = rng.normal(0, 0.1, (20_000, 50)).max(axis=1).mean()
    assert selection.expected_max_sharpe(50, 0.1) == pytest.approx(best, rel=0.02)


def test_more_trials_deflate_more_and_one_trial_not_at_all():
    r = returns(2, 300, 1, 0.2)[:, 0]
    found = [selection.deflated_sharpe(r, n, 0.05) for n in (1, 2, 10, 100, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[0] == selection.probabilistic_sharpe(r)
    with pytest.raises(SettingsError, match="at least 1"):
        selection.expected_max_sharpe(0, 0.1)


@pytest.mark.parametrize("r", [np.zeros(50), np.full(50, 0.1), np.array([0.1, 0.2]), np.empty(0)])
def test_without_variation_or_time_there_is_no_probability(r):
    assert np.isnan(selection.probabilistic_sharpe(r))


def brute(r: np.ndarray, blocks: int) -> tuple[float, list[float]]:
    """The paper's procedure, step by step."""
    parts, logits = np.array_split(np.arange(len(r)), blocks), []
    for chosen in combinations(range(blocks), blocks // 2):
        rows = np.concatenate([parts[b] for b in chosen])
        other = np.concatenate([parts[b] for b in range(blocks) if b not in chosen])
        inside, outside = ([c[k].mean() / c[k].std(ddof=1) for c in r.T] for k in (rows, other))
        rank = rankdata(outside)[np.argmax(inside)] / (r.shape[1] + 1)
        logits.append(float(np.log(rank / (1 - rank))))
    return float(np.mean(np.array(logits) < 0)), logits


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([4, 6, 8]), st.integers(2, 6), st.integers(40, 60))
def test_overfitting_is_the_papers_procedure(seed, blocks, N, T):
    r = returns(seed, T, N)
    found = selection.overfitting(r, blocks)
    pbo, logits = brute(r, blocks)
    assert found.pbo == pytest.approx(pbo)
    assert np.allclose(found.logits, logits)


def test_noise_is_overfitted_half_the_time_and_skill_never():
    found = np.mean([selection.overfitting(returns(seed, 320, 10), 8).pbo for seed in range(400)])
    assert found == pytest.approx(0.5, abs=0.05)
    skilled = returns(0, 320, 10)
    skilled[:, 3] += 0.02
    assert selection.overfitting(skilled).pbo == 0
    assert selection.overfitting(skilled).loss == 0


def test_a_column_that_does_nothing_ranks_as_zero():
    r = returns(0, 64, 2)
    r[:, 0], r[:, 1] = 0.0, np.abs(r[:, 1])
    assert selection.overfitting(r, 4).pbo == 0


@pytest.mark.parametrize(("T", "N", "blocks"), [(100, 1, 8), (100, 4, 7), (6, 4, 8)])
def test_too_little_to_compare_is_refused(T, N, blocks):
    with pytest.raises(SettingsError, match="overfitting needs"):
        selection.overfitting(returns(0, T, N), blocks)


def test_blocks_leave_each_enough_days():
    assert [selection.blocks_for(n) for n in (0, 7, 8, 16, 57, 64, 1000)] == [0, 0, 2, 4, 14, 16, 16]


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 7), st.integers(0, 6), st.integers(0, 4), st.integers(90, 130), st.data())
def test_splits_and_paths_are_those_of_skfolio(folds, purge, embargo, T, data):
    from skfolio.model_selection import CombinatorialPurgedCV

    tested = data.draw(st.integers(2, folds - 1))
    theirs = CombinatorialPurgedCV(n_folds=folds, n_test_folds=tested, purged_size=purge, embargo_size=embargo)
    ours = list(combinatorial_splits(T, folds=folds, tested=tested, purge=purge, embargo=embargo))
    for (train, tests), split in zip(theirs.split(np.zeros((T, 1))), ours, strict=True):
        assert np.array_equal(train, split.train)
        assert len(tests) == len(split.tests)
        assert all(np.array_equal(a, b) for a, b in zip(tests, split.tests, strict=True))
    assert [[split for split, _ in path] for path in paths(folds, tested)] == theirs.recombined_paths.T.tolist()


def test_no_label_of_training_reaches_into_a_test_fold_nor_back():
    horizon = 24
    for split in combinatorial_splits(600, folds=6, tested=2, purge=horizon, embargo=5):
        for test in split.tests:
            apart = (split.train + horizon < test[0]) | (split.train > test[-1] + horizon + 5)
            inside = np.isin(split.train, np.concatenate(split.tests))
            assert apart.all()
            assert not inside.any()


@pytest.mark.parametrize(("folds", "tested", "purge"), [(4, 4, 0), (4, 0, 0), (4, 2, 25), (0, 1, 0), (4, 2, -1)])
def test_impossible_splits_are_refused(folds, tested, purge):
    with pytest.raises(SettingsError, match="cannot test"):
        next(combinatorial_splits(100, folds=folds, tested=tested, purge=purge))


@pytest.mark.parametrize("seed", range(3))
def test_overfitting_is_that_of_purgedcv(seed):
    """A second implementation of CSCV: the same halvings, so the same logits, in any order."""
    import purgedcv

    g = np.random.default_rng(seed)
    returns = 0.01 * g.normal(size=(160, 7)) + 0.002 * g.normal(size=7)
    ours, theirs = selection.overfitting(returns, 8), purgedcv.probability_of_backtest_overfitting(returns.T, 8)
    assert ours.pbo == pytest.approx(theirs.pbo, abs=1e-12)
    np.testing.assert_allclose(np.sort(ours.logits), np.sort(theirs.logits), atol=1e-9)


@pytest.mark.parametrize("benchmark", [0.0, 0.05])
def test_probabilistic_sharpe_is_that_of_purgedcv(benchmark):
    import purgedcv

    r = 0.002 + 0.01 * np.random.default_rng(0).standard_t(5, size=400)
    assert selection.probabilistic_sharpe(r, benchmark) == pytest.approx(
        purgedcv.probabilistic_sharpe_ratio(r, benchmark), abs=2e-3
    )
