"""Adaptive conformal intervals: the paper's rule (MAPIE), coverage through a shift and in storms, no label early."""

from __future__ import annotations

import numpy as np
import pytest

from crypto_assets.fusion.conformal import COVERAGES, Intervals, adapt, bins_of, run


def days(T: int) -> np.ndarray:
    return np.arange(T) // 24


def covered(bounds: np.ndarray, score: np.ndarray, rows: np.ndarray) -> list[float]:
    inside = (score >= bounds[0]) & (score <= bounds[1])
    return [float(inside[k][rows].mean()) for k in range(len(COVERAGES))]


def test_the_level_moves_as_in_mapie():
    from mapie.regression import TimeSeriesRegressor
    from sklearn.dummy import DummyRegressor

    g = np.random.default_rng(0)
    y = g.normal(size=300)
    x = np.zeros((300, 1))
    theirs = TimeSeriesRegressor(DummyRegressor(), method="aci", cv=2)
    theirs.fit(x[:200], y[:200])
    alpha, gamma = 0.2, 0.05
    ours = alpha
    for t in range(200, 220):
        _, interval = theirs.predict(x[t : t + 1], confidence_level=1 - ours)
        missed = float(not interval[0, 0, 0] <= y[t] <= interval[0, 1, 0])
        theirs.adapt_conformal_inference(x[t : t + 1], y[t : t + 1], gamma=gamma, confidence_level=1 - alpha)
        ours = adapt(ours, alpha, missed, gamma)
        kept = next(iter(theirs.current_alpha.values()))
        assert ours == pytest.approx(kept, abs=1e-9)


@pytest.fixture(scope="module")
def shifted():
    """Scores that widen threefold half way, and stormy hours whose scores are half again as wide."""
    g = np.random.default_rng(1)
    T, N = 24 * 240, 24
    rank = g.random((T, N))
    score = g.standard_t(5, size=(T, N)) * np.where(rank > 0.9, 1.5, 1.0)
    score[T // 2 :] *= 3
    return run(Intervals(), score, rank, days(T), 24)[0], score, rank


def test_coverage_is_held_over_all_hours_and_after_the_shift(shifted):
    bounds, score, _ = shifted
    T = len(score)
    since = np.arange(T)[:, None] >= T // 2 + 24 * 10
    assert np.allclose(covered(bounds, score, np.ones_like(score, bool)), COVERAGES, atol=0.04)
    assert np.allclose(covered(bounds, score, np.broadcast_to(since, score.shape)), COVERAGES, atol=0.05)


def test_the_stormiest_decile_is_covered_like_the_rest(shifted):
    bounds, score, rank = shifted
    T = len(score)
    late = (rank > 0.9) & (np.arange(T)[:, None] >= 24 * 20) & (np.arange(T)[:, None] < T // 2)
    assert np.allclose(covered(bounds, score, late), COVERAGES, atol=0.02)


def test_before_any_outcome_the_intervals_are_normal():
    bounds, _ = run(Intervals(), np.full((24, 1), np.nan), np.full((24, 1), 0.5), days(24), 1)
    np.testing.assert_allclose(bounds[1, :, 0, 0], [0.674490, 1.281552, 1.644854], atol=1e-6)


def test_an_outcome_counts_from_the_day_it_is_known_to_have_closed():
    g = np.random.default_rng(0)
    score = g.normal(size=(24 * 10, 4))
    spoilt = score.copy()
    spoilt[24 * 5 :] = 99
    rank = np.full(score.shape, 0.2)
    plain, changed = (run(Intervals(), s, rank, days(len(score)), 1)[0] for s in (score, spoilt))
    np.testing.assert_array_equal(plain[:, :, : 24 * 7], changed[:, :, : 24 * 7])
    assert not np.array_equal(plain[:, :, 24 * 7 : 24 * 8], changed[:, :, 24 * 7 : 24 * 8])


def test_going_on_from_a_state_is_going_on():
    g = np.random.default_rng(0)
    score, rank = g.normal(size=(24 * 20, 4)), g.random((24 * 20, 4))
    _, state = run(Intervals(), score[: 24 * 10], rank[: 24 * 10], days(24 * 10), 1)
    kept = state.level_LB.copy()
    run(state, score[24 * 10 :], rank[24 * 10 :], days(24 * 20)[24 * 10 :], 1)
    np.testing.assert_array_equal(state.level_LB, kept), "a state is not changed by going on from it"


def test_bins():
    np.testing.assert_array_equal(bins_of(np.array([0.0, 0.49, 0.5, 0.89, 0.9, 1.0])), [0, 0, 1, 1, 2, 2])
