"""Distances against scipy and closed forms; alarms at the nominal rate whatever the autocorrelation; planted shifts found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp

from crypto_assets.market.errors import SettingsError
from crypto_assets.monitoring.drift import Comparison, changes, drift, jensen_shannon, kolmogorov_smirnov, psi

REF, CUR = 90 * 24, 14 * 24


def ar(rng, T, rho=0.97, N=1):
    """AR(1) of unit variance, started in its stationary law."""
    shocks = rng.standard_normal((T, N)) * np.sqrt(1 - rho**2)
    shocks[0] /= np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], shocks, axis=0)


def shares(weights):
    return np.asarray(weights) / np.sum(weights)


positive = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(shares)


@given(positive, positive)
@settings(max_examples=50, deadline=None)
def test_psi_is_the_sum_of_both_kullback_leibler_divergences(p, q):
    assert psi(p, q) == pytest.approx(entropy(p, q) + entropy(q, p), abs=1e-12)


@given(positive, positive)
@settings(max_examples=50, deadline=None)
def test_jensen_shannon_is_the_square_of_scipys_distance(p, q):
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2, abs=1e-9)


def test_kolmogorov_smirnov_is_scipys_where_every_value_has_a_bin():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 200), rng.integers(2, 9, 100)
    p, q = (np.bincount(x, minlength=9) / len(x) for x in (a, b))
    assert kolmogorov_smirnov(p, q) == pytest.approx(ks_2samp(a, b).statistic)


def test_binned_kolmogorov_smirnov_of_a_series_is_near_scipys():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal(REF), rng.standard_normal(CUR) + 0.3
    (found,) = drift({"x": a}, {"x": b}).shifts
    assert found.ks == pytest.approx(ks_2samp(a, b).statistic, abs=0.02)


def test_no_distance_leaves_its_bounds_where_everything_moved():
    x = np.random.default_rng(1).standard_normal((REF + CUR, 7))
    (found,) = drift({"x": x[:REF]}, {"x": x[REF:] + 100}).shifts
    assert 0.97 < found.ks <= 1.0
    assert 0 < found.js <= np.log(2)


@pytest.fixture(scope="module")
def alarms():
    """Share of false alarms of KS at 5 % on an AR(1) of 0.97 without drift: ours, and the plain test's."""
    rng, how = np.random.default_rng(5), Comparison(level=0.05, draws=200)
    x = ar(rng, REF + CUR, N=200)
    ours = [drift({"x": s[:REF]}, {"x": s[REF:]}, how).shifts[0] for s in x.T]
    naive = [ks_2samp(s[:REF], s[REF:]).pvalue < 0.05 for s in x.T]
    return np.mean(["ks" in s.causes for s in ours]), np.mean(["psi" in s.causes for s in ours]), np.mean(naive)


def test_autocorrelation_alone_raises_alarms_at_the_nominal_rate(alarms):
    for share in alarms[:2]:
        assert 0.01 <= share <= 0.10  # 5 % of 200 series, 99 % binomial interval


def test_the_plain_test_cries_wolf_on_the_same_series(alarms):
    assert alarms[2] > 0.8


def test_independent_rows_raise_alarms_at_the_nominal_rate_too():
    rng, how = np.random.default_rng(6), Comparison(level=0.05, draws=200)
    x = rng.standard_normal((REF + CUR, 150))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crypto_assets.monitoring.drift.LEAST", dict.fromkeys(("psi", "ks", "js", "missing"), 0.0))
        found = [drift({"x": s[:REF]}, {"x": s[REF:]}, how).shifts[0] for s in x.T]
    assert 0.0 <= np.mean(["ks" in s.causes for s in found]) <= 0.10


@pytest.mark.parametrize("change", [lambda x: x + 1.5, lambda x: 3 * x, lambda x: np.where(x > 0, x + 3, x)])
def test_a_shift_is_found(change):
    x = ar(np.random.default_rng(2), REF + CUR, 0.9, N=4)
    (found,) = drift({"x": x[:REF]}, {"x": change(x[REF:])}).shifts
    assert {"psi", "ks", "js"} <= set(found.causes)


def test_missing_values_are_drift_of_their_own():
    x = np.random.default_rng(3).standard_normal((REF + CUR, 4))
    now = x[REF:].copy()
    now[:, 0] = np.nan
    (found,) = drift({"x": x[:REF]}, {"x": now}).shifts
    assert found.causes == ("missing",)
    assert found.missing == pytest.approx(0.25)


def test_a_series_that_is_missing_altogether_is_only_that():
    x = np.random.default_rng(3).standard_normal(REF + CUR)
    gone = np.full(CUR, np.nan)
    (found,) = drift({"x": x[:REF]}, {"x": gone}).shifts
    assert found.causes == ("missing",)
    (never,) = drift({"x": np.full(REF, np.nan)}, {"x": gone}).shifts
    assert never.causes == ()


def test_a_constant_that_stays_is_no_drift_and_one_that_moves_is():
    still, moved = (drift({"x": np.ones(REF)}, {"x": np.full(CUR, v)}).shifts[0] for v in (1.0, 2.0))
    assert still.causes == ()
    assert "ks" in moved.causes


def test_many_features_drift_together_only_when_more_do_than_chance_gives():
    rng = np.random.default_rng(4)
    x = {f"f{k}": ar(rng, REF + CUR, 0.95, N=2) for k in range(30)}
    ref, cur = ({k: v[s] for k, v in x.items()} for s in (slice(REF), slice(REF, None)))
    quiet = drift(ref, cur)
    assert not quiet.is_drift
    moved = drift(ref, {k: v + 2 if int(k[1:]) < 20 else v for k, v in cur.items()})
    assert moved.is_drift
    assert moved.share >= 2 / 3


def test_the_same_input_gives_the_same_answer():
    x = np.random.default_rng(7).standard_normal(REF + CUR)
    assert drift({"x": x[:REF]}, {"x": x[REF:]}) == drift({"x": x[:REF]}, {"x": x[REF:]})


def test_bad_input_says_what_was_expected():
    x = np.zeros(REF)
    with pytest.raises(SettingsError, match="at least twice"):
        drift({"x": x}, {"x": x})
    with pytest.raises(SettingsError, match="y: shape"):
        drift({"x": x, "y": x[1:]}, {"x": x[:CUR], "y": x[:CUR]})
    with pytest.raises(SettingsError, match="level"):
        Comparison(level=2)


def test_adwin_finds_where_the_mean_of_a_loss_changed():
    rng = np.random.default_rng(8)
    loss = np.r_[0.68 + 0.05 * rng.standard_normal(1500), 0.71 + 0.05 * rng.standard_normal(700)]
    found = next(iter(changes(loss, centre=0.68, spread=0.05)))
    assert 1500 <= found.at <= 1900
    assert found.since == pytest.approx(1500, abs=100)
    assert found.after > found.before


def test_adwin_stays_quiet_while_the_mean_stays():
    rng = np.random.default_rng(9)
    quiet = [list(changes(0.68 + 0.05 * rng.standard_normal(60 * 24), centre=0.68, spread=0.05)) for _ in range(20)]
    assert sum(map(len, quiet)) == 0
