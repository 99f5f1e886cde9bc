"""Each baseline against a closed form, a plain loop, or another library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.models import _calibration as calibration
from crypto_assets.models import _har, _realised, _ridge_logistic, _rows, registry
from crypto_assets.models._har import moments
from crypto_assets.models.coin_prior import OVERLAP, shrunk_rates
from crypto_assets.models.ewma import HOURLY_DECAY, recursion
from crypto_assets.models.linear_lags import scaled_returns
from crypto_assets.models.tracking import Silent
from crypto_assets_tests.models import _planted
from crypto_assets_tests.models.test_baselines import FOLD, fit, market, predict

TARGETS = ("1h", "4h", "24h", "24h_relative")


def seen(name: str) -> np.ndarray:
    """Labels of the rows of training and validation, `[T, N]` flattened, known ones."""
    panel = market()
    parts = [np.where(panel.cut(w).listed_TN, panel.cut(w).target(name), np.nan).ravel() for w in (FOLD.train, FOLD.valid)]
    return np.concatenate(parts)


@pytest.mark.parametrize(("k", "name"), enumerate(TARGETS))
def test_the_base_rate_is_the_share_of_ones(k, name):
    y = seen(name)
    y = y[np.isfinite(y)]
    forecast = predict("base_rate", fit("base_rate", market()), market())
    p = forecast.p_up_HTN[k] if k < 3 else forecast.p_beats_median_TN
    np.testing.assert_allclose(p[np.isfinite(p)], (y.sum() + 0.5) / (len(y) + 1), rtol=1e-12)


def test_reversal_is_the_share_of_ones_after_each_sign():
    panel = market()
    forecast = predict("reversal", fit("reversal", panel), panel).p_up_HTN[0]
    sign = np.nan_to_num(np.sign(panel.cut(FOLD.test).r_TN))
    for state in (-1, 0, 1):
        ones = known = 0
        for window in (FOLD.train, FOLD.valid):
            cut = panel.cut(window)
            y = np.where(cut.listed_TN & (np.nan_to_num(np.sign(cut.r_TN)) == state), cut.up("1h"), np.nan)
            ones, known = ones + np.nansum(y), known + np.isfinite(y).sum()
        there = (sign == state) & np.isfinite(forecast)
        np.testing.assert_allclose(forecast[there], (ones + 0.5) / (known + 1), rtol=1e-12)


def test_coins_that_differ_by_chance_alone_get_the_base_rate():
    g = np.random.default_rng(0)
    known = np.full(400, 500.0)
    p = shrunk_rates(g.binomial(500, 0.52, 400).astype(float), known, 0.52)
    assert np.abs(p - 0.52).max() < 0.02
    assert np.std(p) < 0.2 * np.sqrt(0.25 / 500)


def test_the_strength_of_a_beta_prior_is_recovered():
    """Rates drawn from Beta(m b, m (1 - b)): the posterior mean shrinks by n / (n + m)."""
    g = np.random.default_rng(1)
    strength, base, n = 300.0, 0.5, 1000
    ones = g.binomial(n, g.beta(strength * base, strength * (1 - base), 4000)).astype(float)
    p = shrunk_rates(ones, np.full(4000, float(n)), base)
    slope = np.polyfit(ones / n - base, p - base, 1)[0]
    assert slope == pytest.approx(n / (n + strength), rel=0.05)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=12), st.floats(0.1, 0.9))
@settings(max_examples=100, deadline=None)
def test_a_shrunk_rate_lies_between_the_coins_rate_and_the_base(counts, base):
    known = np.array([float(max(a, b)) for a, b in counts])
    ones = np.array([float(min(a, b)) for a, b in counts])
    p = shrunk_rates(ones, known, base)
    rate = np.where(known > 0, ones / np.maximum(known, 1), base)
    assert np.all((p >= np.minimum(rate, base) - 1e-9) & (p <= np.maximum(rate, base) + 1e-9))


def test_the_coin_prior_counts_overlapping_labels_once():
    panel = market()
    p = fit("coin_prior", panel).tensors["p_NK"]
    rows = _rows.Rows.of(panel, FOLD)
    y = rows.targets(panel)[:, 3]
    known = np.isfinite(y)
    ones = np.bincount(rows.n[known], weights=y[known]) / OVERLAP[3]
    base = calibration.base_rate(y[:, None])[0]
    np.testing.assert_allclose(p[:, 3], shrunk_rates(ones, np.bincount(rows.n[known]) / OVERLAP[3], base))


def test_the_ewma_is_its_recursion():
    g = np.random.default_rng(2)
    r = g.normal(size=(60, 2)) * 0.01
    r[5:9, 1] = np.nan
    start = np.array([1e-4, 2e-4])
    found = recursion(r, start, HOURLY_DECAY)
    for n in range(2):
        v = start[n]
        for t in range(60):
            if np.isfinite(r[t, n]):
                v = HOURLY_DECAY * v + (1 - HOURLY_DECAY) * r[t, n] ** 2
            assert found[t, n] == pytest.approx(v, rel=1e-12)


def test_the_hourly_decay_is_riskmetrics_daily_one():
    assert pytest.approx(0.94) == HOURLY_DECAY**24


def test_last_rv_is_the_sum_of_24_squares():
    panel = _planted.panel(hours=900)
    forecast = predict_last(panel)
    s = panel.slice(_planted.fold().test)
    expected = [(panel.r_TN[t - 23 : t + 1] ** 2).sum(axis=0) for t in range(s.start, s.stop)]
    np.testing.assert_allclose(forecast, expected, rtol=1e-9)


def test_last_rv_scales_up_for_missing_hours():
    panel = _planted.panel(hours=900)
    s = panel.slice(_planted.fold().test)
    panel.r_TN[s.start - 4 : s.start, 0] = np.nan
    expected = 24 / 20 * np.nansum(panel.r_TN[s.start - 23 : s.start + 1, 0] ** 2)
    assert predict_last(panel)[0, 0] == pytest.approx(expected)


def predict_last(panel):
    model, fold = registry.load("last_rv"), _planted.fold()
    return model.predict(model.fit(panel, fold, preset="debug", seed=0, recorder=Silent()), panel, fold.test).realised_var_TN


def test_har_is_least_squares_with_a_factor_of_least_qlike():
    panel, fold = _planted.panel(hours=1500), _planted.fold(1500)
    model = registry.load("har")
    checkpoint = model.fit(panel, fold, preset="debug", seed=0, recorder=Silent())
    t = np.concatenate([np.arange(*panel.slice(w).indices(1500)[:2]) for w in (fold.train, fold.valid)])
    squares = [np.stack([(panel.r_TN[max(0, i - h + 1) : i + 1] ** 2).mean(axis=0) for i in range(1500)]) for h in (24, 168)]
    late = t[t >= 200]  # before a full week the longest term is the training mean
    assert np.isfinite(panel.labels["rv_24h"][t]).all()
    terms = _har.terms(panel.r_TN, checkpoint.tensors["mean_N"], (1, 24, 168))
    np.testing.assert_allclose(np.exp(terms[late, :, 2]), squares[1][late], rtol=1e-9)
    np.testing.assert_allclose(np.exp(terms[late, :, 1]), squares[0][late], rtol=1e-9)
    x = np.concatenate([terms[t].reshape(-1, 3), np.tile(np.eye(3), (len(t), 1))], axis=1)
    rv = panel.labels["rv_24h"][t].ravel()
    expected = np.linalg.lstsq(x, np.log(rv), rcond=None)[0]
    np.testing.assert_allclose(checkpoint.tensors["weights_F"], expected, rtol=1e-6, atol=1e-8)
    c = float(checkpoint.tensors["factor"])
    loss = [np.mean(_realised.qlike(rv, f * c * np.exp(x @ expected))) for f in (0.99, 1.0, 1.01)]
    assert loss[1] < min(loss[0], loss[2])


def test_an_hour_without_a_move_has_a_floor():
    r = np.random.default_rng(0).normal(size=(300, 1)) * 0.01
    r[299] = 0.0
    one, day = np.exp(_har.terms(r, np.array([1e-4]), (1, 24)))[299, 0]
    assert one == pytest.approx(_har.FLOOR * day)


def test_a_term_with_too_few_hours_takes_the_next_longer_one():
    r = np.random.default_rng(0).normal(size=(400, 1)) * 0.01
    r[380:] = np.nan
    one, day, week = np.exp(_har.terms(r, np.array([1e-4]), (1, 24, 168)))[399, 0]
    assert one == day == week == pytest.approx(np.nanmean(r[232:] ** 2))
    assert np.exp(_har.terms(np.full((5, 1), np.nan), np.array([3e-4]), (1, 24)))[4, 0] == pytest.approx([3e-4, 3e-4])


def test_moments_leave_unknown_targets_out():
    g = np.random.default_rng(0)
    x, y = g.normal(size=(100, 4)), g.normal(size=100)
    y[::7] = np.nan
    gram, cross, count = moments(x, y)
    k = np.isfinite(y)
    np.testing.assert_allclose(gram, x[k].T @ x[k])
    np.testing.assert_allclose(cross, x[k].T @ y[k])
    assert count == k.sum()


def test_the_ridge_logistic_is_sklearns():
    from sklearn.linear_model import LogisticRegression

    g = np.random.default_rng(4)
    x = np.concatenate([np.ones((3000, 1)), g.normal(size=(3000, 6))], axis=1).astype(np.float32)
    x[:, 3] += 0.8 * x[:, 2]
    y = (g.random((3000, 2)) < calibration.sigmoid(x @ g.normal(size=(7, 2)) * 0.7)).astype(np.float32)
    y[::5, 1] = np.nan
    penalties = np.array([1e-3, 1e-1])
    found = _ridge_logistic.fit_path(x, y, penalties, _ridge_logistic.gram(x))
    for k in range(2):
        known = np.isfinite(y[:, k])
        for m, penalty in enumerate(penalties):
            other = LogisticRegression(C=1 / (penalty * known.sum()), tol=1e-8, max_iter=1000)
            other.fit(x[known, 1:].astype(float), y[known, k])
            np.testing.assert_allclose(found[:, m, k], [*other.intercept_, *other.coef_[0]], atol=2e-3)


def test_a_target_without_labels_says_the_base_rate():
    x = np.ones((50, 2), dtype=np.float32)
    y = np.full((50, 1), np.nan, dtype=np.float32)
    assert not _ridge_logistic.fit_path(x, y, np.array([0.1]), _ridge_logistic.gram(x)).any()
    assert calibration.base_rate(y)[0] == 0.5


@given(st.floats(-1.5, 2.5), st.floats(-0.5, 0.5), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_shrunk_model_never_loses_to_the_base_rate_where_it_was_shrunk(true_slope, base, seed):
    g = np.random.default_rng(seed)
    z = base + 0.5 * g.normal(size=600)
    y = (g.random(600) < calibration.sigmoid(base + true_slope * (z - base))).astype(float)
    y[::11] = np.nan
    slope = calibration.shrinkage(z, base, y, np.arange(600) // 24)
    assert 0 <= slope <= calibration.CEILING
    shrunk = calibration.log_loss(base + slope * (z - base), y)
    assert shrunk <= calibration.log_loss(np.full(600, base), y) + 1e-12


def test_a_good_slope_is_kept_and_noise_is_switched_off():
    g = np.random.default_rng(5)
    z = 0.4 * g.normal(size=40_000)
    y = (g.random(40_000) < calibration.sigmoid(0.8 * z)).astype(float)
    block = np.arange(40_000) // 100
    assert calibration.shrinkage(z, 0.0, y, block) == pytest.approx(0.8, abs=0.06)
    kept = [
        calibration.shrinkage(g.normal(size=2000) * 0.4, 0.0, g.integers(0, 2, 2000).astype(float), np.arange(2000) // 50)
        for _ in range(40)
    ]
    assert np.mean(np.array(kept) == 0) > 0.6


def test_slopes_are_shrunk_by_blocks_when_blocks_move_together():
    """The same labels 50 times over are no more evidence than once."""
    g = np.random.default_rng(6)
    z, y = 0.5 * g.normal(size=400), g.integers(0, 2, 400).astype(float)
    y[z > 0.4] = 1.0
    once = calibration.shrinkage(z, 0.0, y, np.arange(400))
    assert calibration.shrinkage(np.repeat(z, 50), 0.0, np.repeat(y, 50), np.repeat(np.arange(400), 50)) == pytest.approx(once)


def test_lags_are_in_units_of_their_own_week():
    r = np.random.default_rng(7).normal(size=(400, 2)) * np.array([0.01, 0.2])
    z = scaled_returns(r)
    t = 350
    expected = r[t] / np.sqrt((r[t - 167 : t + 1] ** 2).mean(axis=0))
    np.testing.assert_allclose(z[t], expected, rtol=1e-5)
    np.testing.assert_array_equal(scaled_returns(np.where(np.arange(400)[:, None] == 200, np.nan, r))[200], 0)
