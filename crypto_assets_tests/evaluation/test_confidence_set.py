"""The model confidence set against arch, with the same draws, and on models whose order is known."""

import numpy as np
import pytest

from crypto_assets.evaluation.confidence_set import daily_losses, model_confidence_set


def losses(seed: int, edges, T: int = 240) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.7 + 0.05 * rng.normal(size=(T, 1)) + 0.02 * rng.normal(size=(T, len(edges))) + np.array(edges)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_p_values_are_those_of_arch(seed):
    from arch.bootstrap import MCS

    x = losses(seed, [0, 0.001, 0.002, 0.003, 0.02])
    theirs = MCS(x, 0.05, reps=300, block_size=5, method="R", bootstrap="circular", seed=seed)
    theirs.compute()
    ours = model_confidence_set(x, rows=np.array(theirs._bootstrap_indices))
    assert np.allclose(ours, theirs.pvalues["Pvalue"].sort_index().to_numpy())


def test_own_draws_agree_with_arch_within_their_noise():
    from arch.bootstrap import MCS

    x = losses(5, [0, 0.001, 0.002, 0.003])
    theirs = MCS(x, 0.05, reps=1000, block_size=5, method="R", bootstrap="circular", seed=9)
    theirs.compute()
    assert np.allclose(model_confidence_set(x), theirs.pvalues["Pvalue"].sort_index().to_numpy(), atol=0.06)


def test_the_best_stays_and_the_clearly_worse_goes():
    p = model_confidence_set(losses(0, [0, 0.02, 0.02, 0.03]))
    assert p[0] == 1
    assert (p[1:] < 0.05).all()


def test_the_best_of_equals_is_kept_as_often_as_promised():
    kept = np.mean([model_confidence_set(losses(s, [0, 0, 0], 120), draws=200)[0] >= 0.10 for s in range(200)])
    assert 0.85 <= kept <= 0.99


def test_a_copy_stays_with_its_original():
    x = losses(3, [0, 0.03])
    p = model_confidence_set(np.column_stack([x, x[:, 0]]))
    assert p[0] == p[2] == 1
    assert p[1] < 0.05


def test_the_same_rows_give_the_same_values_and_few_days_none():
    x = losses(0, [0, 0.001])
    assert np.array_equal(model_confidence_set(x), model_confidence_set(x))
    assert np.isnan(model_confidence_set(x[:9])).all()


def test_losses_by_day_keep_the_mean_over_rows():
    ts = np.datetime64("2024-01-01", "us") + np.sort(np.random.default_rng(0).integers(0, 24 * 9, 500)) * np.timedelta64(1, "h")
    x = np.random.default_rng(1).random((500, 3))
    days = daily_losses(x, ts)
    assert days.shape == (len(np.unique(ts.astype("datetime64[D]"))), 3)
    assert np.allclose(days.mean(axis=0), x.mean(axis=0))
