"""Each formula against scikit-learn, scipy, a closed form or a constructed case."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr
from sklearn import metrics as sk

from crypto_assets.evaluation import metrics

RNG = np.random.default_rng(1)
P = np.round(RNG.uniform(0, 1, 3000), 2)  # rounded, so that ties are met
Y = (RNG.uniform(0, 1, 3000) < P).astype(float)


def test_auc_is_that_of_scikit_learn():
    assert metrics.auc(P, Y) == pytest.approx(sk.roc_auc_score(Y, P), abs=1e-12)


def test_log_loss_is_that_of_scikit_learn_with_sure_forecasts():
    p = np.r_[P[:-2], 0.0, 1.0]
    y = np.r_[Y[:-2], 1.0, 0.0]
    assert metrics.log_losses(p, y).mean() == pytest.approx(sk.log_loss(y, p), rel=1e-12)


def test_brier_is_that_of_scikit_learn():
    assert metrics.brier(P, Y) == pytest.approx(sk.brier_score_loss(Y, P), rel=1e-12)


def test_hits_are_those_of_scikit_learn_away_from_one_half():
    sure = P != 0.5
    assert metrics.hits(P, Y)[sure].mean() == pytest.approx(sk.accuracy_score(Y[sure], P[sure] > 0.5))


def test_one_half_takes_no_side():
    assert list(metrics.hits(np.array([0.5, 0.5, 0.6]), np.array([1.0, 0.0, 0.0]))) == [0.5, 0.5, 0.0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=60))
def test_ranks_within_are_those_of_scipy_group_by_group(rows):
    x, group = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = np.empty(len(x))
    for g in np.unique(group):
        expected[group == g] = rankdata(x[group == g])
    np.testing.assert_array_equal(metrics.ranks_within(x, group), expected)


def test_information_coefficient_is_the_spearman_of_each_time():
    time = np.repeat(np.arange(50), 7)
    p, r = np.round(RNG.normal(size=350), 1), RNG.normal(size=350)
    ranks = [metrics.ranks_within(v, time) for v in (p, r)]
    times, ic = metrics.information_coefficients(*ranks, time)
    expected = [spearmanr(p[time == t], r[time == t]).statistic for t in range(50)]
    np.testing.assert_allclose(ic, expected, atol=1e-12)
    assert list(times) == list(range(50))


def test_a_time_where_nothing_is_ranked_counts_as_zero_and_small_cross_sections_not_at_all():
    time = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    p = np.array([1.0, 2, 3, 5, 5, 5, 1, 2])
    ranks = [metrics.ranks_within(v, time) for v in (p, np.arange(8.0))]
    times, ic = metrics.information_coefficients(*ranks, time)
    assert list(times) == [0, 1]
    np.testing.assert_allclose(ic, [1.0, 0.0])


def test_rank_ic_is_over_times_and_its_ratio_over_days():
    ic, day = np.array([0.2, 0.4, 0.0]), np.array([0, 0, 1])
    mean, ratio = metrics.rank_ic(np.arange(3), ic, day)
    assert mean == pytest.approx(0.2)
    assert ratio == pytest.approx(0.15 / np.std([0.3, 0.0], ddof=1))


def test_a_constant_ranks_nothing():
    assert all(np.isnan(v) for v in metrics.rank_ic(np.arange(3), np.zeros(3), np.arange(3)))


def test_ece_of_calibrated_bins_is_zero():
    p = np.repeat(np.arange(1, 16) / 20, 200)
    y = np.concatenate([np.r_[np.ones(10 * k), np.zeros(200 - 10 * k)] for k in range(1, 16)])
    assert metrics.expected_calibration_error(p, y) == pytest.approx(0.0, abs=1e-12)


def test_ece_of_a_constant_is_its_bias_whatever_the_order():
    y = np.r_[np.ones(300), np.zeros(700)]
    for shuffled in (y, RNG.permutation(y)):
        assert metrics.expected_calibration_error(np.full(1000, 0.35), shuffled) == pytest.approx(0.05)


def test_ece_without_ties_is_the_textbook_sum_over_equal_bins():
    p = RNG.permutation(1500) / 1500
    y = (RNG.uniform(size=1500) < p**2).astype(float)
    bins = np.argsort(p).reshape(15, 100)
    expected = np.mean([abs(p[b].mean() - y[b].mean()) for b in bins])
    assert metrics.expected_calibration_error(p, y) == pytest.approx(expected)


def share_of(p, values, share):
    return metrics.at_coverage(metrics.means_of_most_confident(p, values)[0], share)


def test_most_confident_share_is_the_mean_of_the_sorted_head():
    p = 0.5 + RNG.choice([-1, 1], 1000) * (1 + RNG.permutation(1000)) / 2001
    hit = RNG.integers(0, 2, 1000).astype(float)
    head = np.argsort(-np.abs(p - 0.5))[:50]
    assert share_of(p, hit, 0.05) == pytest.approx(hit[head].mean())


@settings(max_examples=30, deadline=None)
@given(st.permutations(list(range(40))))
def test_most_confident_share_does_not_depend_on_the_order_of_tied_rows(order):
    p, hit = np.repeat([0.5, 0.6, 0.7, 0.4], 10), np.tile([1.0, 0.0, 0.0, 1.0, 1.0], 8)
    order = np.array(order)
    for share in (0.1, 0.3, 0.6):
        assert share_of(p[order], hit[order], share) == pytest.approx(share_of(p, hit, share))


def test_qlike_is_least_at_the_mean_and_zero_when_exact():
    rv = RNG.chisquare(12, 20_000) / 12
    assert metrics.qlike_losses(rv, rv) == pytest.approx(0.0)
    losses = [metrics.qlike_losses(np.full(len(rv), f), rv).mean() for f in (0.9, 1.0, 1.1)]
    assert min(losses) == losses[1]


def test_qlike_of_the_true_variance_is_its_closed_form():
    from scipy.special import digamma

    rv = np.random.default_rng(5).chisquare(12, 400_000) / 12
    floor = np.log(12 / 2) - digamma(12 / 2)
    assert metrics.qlike_losses(np.ones(len(rv)), rv).mean() == pytest.approx(floor, abs=1e-3)


def test_r2_of_the_log_is_that_of_scikit_learn_and_of_the_correlation():
    rv = np.exp(RNG.normal(size=500))
    f = np.exp(0.5 * np.log(rv) + 0.3 * RNG.normal(size=500))
    straight, line = metrics.r2_log(f, rv)
    assert straight == pytest.approx(sk.r2_score(np.log(rv), np.log(f)))
    assert line == pytest.approx(np.corrcoef(np.log(f), np.log(rv))[0, 1] ** 2)


def test_kappa_is_one_for_the_optimum_zero_for_one_half_and_null_without_anything_to_find():
    optimum = RNG.uniform(0.4, 0.6, 1000)
    assert metrics.captured_share(optimum, optimum) == pytest.approx(1.0)
    assert metrics.captured_share(np.full(1000, 0.5), optimum) == pytest.approx(0.0, abs=1e-12)
    assert metrics.captured_share(1 - optimum, optimum) < 0
    assert np.isnan(metrics.captured_share(optimum, np.full(1000, 0.5)))
    assert np.isnan(metrics.captured_share(optimum, np.full(1000, 0.501)))


def test_kappa_is_what_labels_drawn_from_the_optimum_tend_to():
    rng = np.random.default_rng(3)
    optimum = rng.uniform(0.2, 0.8, 400_000)
    p = 0.5 + 0.6 * (optimum - 0.5)
    y = (rng.uniform(size=len(p)) < optimum).astype(float)
    sampled = (np.log(2) - metrics.log_losses(p, y).mean()) / (np.log(2) - metrics.log_losses(optimum, y).mean())
    assert metrics.captured_share(p, optimum) == pytest.approx(sampled, abs=0.01)


@pytest.mark.parametrize(
    "value",
    [
        metrics.auc(np.array([0.4]), np.array([1.0])),
        metrics.auc(np.empty(0), np.empty(0)),
        metrics.brier(np.empty(0), np.empty(0)),
        metrics.expected_calibration_error(np.empty(0), np.empty(0)),
        metrics.at_coverage(np.empty(0), 0.1),
        metrics.captured_share(np.empty(0), np.empty(0)),
        *metrics.r2_log(np.ones(5), np.ones(5)),
    ],
)
def test_what_is_not_defined_is_nan(value):
    assert np.isnan(value)


def test_precision_recall_and_f1_are_those_of_scikit_learn():
    p = np.where(RNG.random(3000) < 0.05, 0.5, RNG.random(3000))
    y = (RNG.random(3000) < p).astype(float)
    ours = metrics.precision_recall_f1(p, y)
    assert np.allclose(ours, sk.precision_recall_fscore_support(y, p > 0.5, average="binary")[:3])
    assert np.isnan(metrics.precision_recall_f1(np.full(4, 0.4), np.ones(4))[0])
    assert np.isnan(metrics.precision_recall_f1(np.full(4, 0.6), np.zeros(4))[1])


def test_the_risk_coverage_curve_is_the_mean_of_each_head():
    p, error = RNG.random(300), RNG.integers(0, 2, 300).astype(float)
    head = np.argsort(-np.abs(p - 0.5))
    (curve,) = metrics.means_of_most_confident(p, error)
    assert np.allclose(curve, [error[head[: k + 1]].mean() for k in range(300)])
    assert curve[-1] == pytest.approx(error.mean())


def test_calibrated_confidence_lowers_the_risk_as_its_law_says():
    """p uniform and right as often as it says: the risk at coverage c is 1/2 - (1 - c/2)/2 = c/4, the area 1/8."""
    n = 200_000
    p = np.random.default_rng(0).random(n)
    error = 1 - metrics.hits(p, (np.random.default_rng(1).random(n) < p).astype(float))
    (curve,) = metrics.means_of_most_confident(p, error)
    assert np.allclose(curve[n // 10 :: n // 10], (np.arange(n // 10, n, n // 10) + 1) / n / 4, atol=5e-3)
    assert curve.mean() == pytest.approx(1 / 8, abs=2e-3)


def test_intervals_of_a_normal_cover_what_they_say_and_no_others_score_better():
    from scipy.stats import norm

    x = np.random.default_rng(0).normal(size=100_000)

    def of(reach):
        low, high = np.full(len(x), -reach), np.full(len(x), reach)
        return low, high

    right = norm.ppf(0.95)
    assert metrics.interval_coverage(*of(right), x) == pytest.approx(0.9, abs=3e-3)
    assert metrics.interval_width(*of(right)) == pytest.approx(2 * right)
    scores = [metrics.interval_scores(*of(reach), x, 0.9).mean() for reach in (0.8 * right, right, 1.2 * right)]
    assert scores[1] == min(scores)
    expected = 2 * right + 20 * 2 * (norm.pdf(right) - 0.05 * right)
    assert scores[1] == pytest.approx(expected, rel=0.01)
