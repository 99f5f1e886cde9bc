"""Intervals against closed forms, brute-force bootstraps, and their own coverage."""

import numpy as np
import pytest
from scipy import stats

from crypto_assets.evaluation import statistics
from crypto_assets.market.errors import SettingsError


def test_blocks_of_days_count_from_the_first_day():
    ts = np.array(["2024-01-03T00", "2024-01-03T23", "2024-01-04T00", "2024-01-08T00"], dtype="datetime64[us]")
    assert list(statistics.day_blocks(ts, 1)) == [0, 0, 1, 5]
    assert list(statistics.day_blocks(ts, 5)) == [0, 0, 0, 1]


def test_with_one_row_a_cluster_the_interval_is_the_one_sample_t():
    x = np.random.default_rng(0).normal(0.1, 1, 200)
    found = statistics.clustered_mean(x, np.arange(200))
    low, high = stats.t.interval(0.95, 199, loc=x.mean(), scale=stats.sem(x))
    # the residuals are about the mean, so G/(G-1) makes the same variance as ddof=1
    assert (found.value, found.low, found.high) == pytest.approx((x.mean(), low, high))
    assert found.p == pytest.approx(stats.ttest_1samp(x, 0).pvalue)


def test_with_equal_clusters_the_interval_is_the_t_of_the_cluster_means():
    x = np.random.default_rng(1).normal(size=(40, 24)) + np.random.default_rng(2).normal(size=(40, 1))
    found = statistics.clustered_mean(x.ravel(), np.repeat(np.arange(40), 24))
    low, high = stats.t.interval(0.95, 39, loc=x.mean(), scale=stats.sem(x.mean(axis=1)))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_error_of_unequal_clusters_is_that_of_a_bootstrap_of_clusters():
    rng = np.random.default_rng(3)
    sizes = rng.integers(5, 60, 120)
    cluster = np.repeat(np.arange(120), sizes)
    x = rng.normal(size=len(cluster)) + rng.normal(size=120)[cluster]
    sums, counts = np.bincount(cluster, x), np.bincount(cluster)
    draws = rng.integers(0, 120, size=(4000, 120))
    bootstrap = (sums[draws].sum(axis=1) / counts[draws].sum(axis=1)).std()
    found = statistics.clustered_mean(x, cluster)
    half = (found.high - found.low) / 2 / stats.t.ppf(0.975, 119)
    assert half == pytest.approx(bootstrap, rel=0.08)


def test_a_naive_interval_would_be_too_narrow():
    rng = np.random.default_rng(4)
    x = np.repeat(rng.normal(size=50), 100)
    found = statistics.clustered_mean(x, np.repeat(np.arange(50), 100))
    assert found.high - found.low > 5 * 2 * 1.96 * stats.sem(x)


def test_one_cluster_or_none_gives_no_interval():
    assert np.isnan(statistics.clustered_mean(np.ones(5), np.zeros(5)).low)
    assert np.isnan(statistics.clustered_mean(np.empty(0), np.empty(0)).value)


def test_equal_losses_differ_by_nothing():
    loss = np.random.default_rng(5).normal(size=100)
    assert statistics.paired_difference(loss, loss, np.arange(100) // 10) == (0.0, 0.0, 0.0, 1.0, 10)


def test_pairing_sees_what_two_intervals_do_not():
    rng = np.random.default_rng(6)
    common = rng.normal(size=1000)
    cluster = np.arange(1000) // 10
    found = statistics.paired_difference(common + 0.01 + 0.01 * rng.normal(size=1000), common, cluster)
    alone = statistics.clustered_mean(common, cluster)
    assert found.p < 1e-6
    assert alone.high - alone.low > 0.1


def test_null_interval_covers_at_the_family_level():
    rng = np.random.default_rng(7)
    base = np.full(60 * 24, np.log(2))
    cluster = np.repeat(np.arange(60), 24)
    above = 0
    for _ in range(300):
        noise = (rng.normal(size=(60, 24)) + rng.normal(size=(60, 1))).ravel() * 0.02
        above += statistics.null_skill_interval(base + noise, base, cluster, 1, level=0.90).low > 0
    assert above / 300 == pytest.approx(0.05, abs=0.035)


def test_null_interval_of_a_bad_model_lies_below_zero_and_widens_with_comparisons():
    rng = np.random.default_rng(8)
    base = np.full(2000, np.log(2))
    loss = base + 0.05 + 0.1 * rng.normal(size=2000)
    one, many = (statistics.null_skill_interval(loss, base, np.arange(2000) // 40, k) for k in (1, 30))
    assert one.high < 0
    assert many.low < one.low
    assert one.high < many.high
    assert one.value == pytest.approx(1 - loss.sum() / base.sum())


def test_comparisons_must_be_positive():
    with pytest.raises(SettingsError, match="models x horizons"):
        statistics.null_skill_interval(np.ones(3), np.ones(3), np.arange(3), 0)


def test_long_run_variance_is_the_bartlett_sum():
    x = np.random.default_rng(9).normal(size=400)
    d = x - x.mean()
    by_hand = sum((1 - abs(k) / 6) * np.mean(np.r_[np.zeros(abs(k)), d[: len(d) - abs(k)]] * d) for k in range(-5, 6))
    assert statistics.long_run_variance(x, 5) == pytest.approx(by_hand)


def test_long_run_variance_of_a_moving_average_is_its_closed_form():
    e = np.random.default_rng(10).normal(size=400_001)
    assert statistics.long_run_variance(e[1:] + 0.5 * e[:-1], 200) == pytest.approx(1.5**2, rel=0.05)


def test_diebold_mariano_is_the_formula_and_has_its_size():
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=(2, 500))
    d = a - b
    statistic = d.mean() / np.sqrt(statistics.long_run_variance(d, 3) / 500)
    assert statistics.diebold_mariano(a, b, 3).p == pytest.approx(2 * stats.t.sf(abs(statistic), 499))
    rejected = 0
    for _ in range(400):
        e = rng.normal(size=1023)
        rejected += statistics.diebold_mariano(np.convolve(e, np.ones(24), "valid"), np.zeros(1000), 119).p < 0.05
    assert 0.02 < rejected / 400 < 0.15


def test_diebold_mariano_finds_the_smaller_loss():
    rng = np.random.default_rng(12)
    found = statistics.diebold_mariano(rng.normal(0.0, 1, 2000), rng.normal(0.2, 1, 2000), 23)
    assert found.value < 0
    assert found.p < 0.001


def test_block_bootstrap_of_the_mean_is_the_closed_form_on_independent_rows():
    x = np.random.default_rng(13).normal(size=500)
    low, high = statistics.block_bootstrap(x, lambda s: s.mean(axis=1), block=1, draws=4000)
    assert (high - low) / 2 == pytest.approx(1.96 * stats.sem(x), rel=0.08)


def test_block_bootstrap_keeps_autocorrelation_and_is_deterministic():
    e = np.random.default_rng(14).normal(size=2010)
    x = np.convolve(e, np.ones(11), "valid")

    def width(block, seed=0):
        low, high = statistics.block_bootstrap(x, lambda s: s.mean(axis=1), block=block, draws=800, seed=seed)
        return high - low

    assert width(100) > 2 * width(1)
    assert width(100) == width(100)
    assert width(100) != width(100, seed=1)


def test_block_bootstrap_takes_several_columns_and_refuses_empty_blocks():
    both = np.random.default_rng(15).normal(size=(300, 2))
    low, high = statistics.block_bootstrap(both, lambda s: (s[..., 0] - s[..., 1]).mean(axis=1), block=5)
    assert low < (both[:, 0] - both[:, 1]).mean() < high
    assert np.isnan(statistics.block_bootstrap(np.empty(0), lambda s: s.mean(axis=1), block=5)[0])
    with pytest.raises(SettingsError, match="block"):
        statistics.block_bootstrap(both, lambda s: s.mean(axis=1), block=0)
