"""The graph of the market: what was planted is found, nothing later is known, absent coins have no edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.models.training.edges import DAY, EdgeRule, Edges, heard, inverted

HOURS, COINS = 4000, 5
RULE = EdgeRule(hours=336)
TS = np.datetime64("2024-01-01", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
ALL = slice(0, HOURS)
PLANTED = {(1, 0): 0.3, (3, 2): -0.25}


@pytest.fixture(scope="module")
def returns() -> np.ndarray:
    """A common factor in all, coin 4 apart from it; coin 1 follows coin 0, coin 3 runs against coin 2."""
    g = np.random.default_rng(2)
    u = g.normal(size=(HOURS, COINS))
    u[:, :4] = np.sqrt(0.5) * (u[:, :4] + g.normal(size=(HOURS, 1)))
    for t in range(1, HOURS):
        for (to, origin), weight in PLANTED.items():
            u[t, to] += weight * u[t - 1, origin]
    return u


@pytest.fixture(scope="module")
def known() -> np.ndarray:
    known = np.ones((HOURS, COINS), dtype=bool)
    known[1000:1400, 3] = False
    return known


@pytest.fixture(scope="module")
def fitted(returns, known):
    return Edges.fit(RULE, returns, known, TS, ALL)


def test_planted_lead_lag_edges_are_found_with_sign_and_size_and_no_others(fitted):
    edges, _ = fitted
    found = {(int(i), int(j)): edges.lead_NN[i, j] for i, j in np.argwhere(edges.lead_NN)}
    assert found == pytest.approx(PLANTED, abs=0.06)


def test_correlations_are_those_of_the_trailing_hours_above_the_threshold(fitted, returns):
    _, drawn = fitted
    day = HOURS // DAY
    at = int(np.flatnonzero(drawn.at_T == day)[0]) if (drawn.at_T == day).any() else HOURS - 1
    g = drawn.at_T[at]
    midnight = int(np.flatnonzero(drawn.at_T == g)[0])
    part = returns[midnight + 1 - RULE.hours : midnight + 1]
    oracle = (part.T @ part) / np.sqrt(np.outer((part**2).sum(0), (part**2).sum(0)))
    oracle[np.abs(oracle) < RULE.threshold] = 0.0
    np.fill_diagonal(oracle, 0.0)
    np.testing.assert_allclose(drawn.edges_GNNR[g, ..., 0], oracle, atol=1e-6)
    assert (drawn.edges_GNNR[g, 4, :, 0] == 0).all()


def test_a_graph_is_made_of_bars_closed_by_its_midnight(fitted, returns, known):
    _, drawn = fitted
    cut = 2000
    later = returns.copy()
    later[cut:] = np.random.default_rng(0).normal(size=later[cut:].shape)
    _, changed = Edges.fit(RULE, later, known, TS, ALL)
    midnights = np.array([int(np.flatnonzero(drawn.at_T == g)[0]) for g in range(len(drawn.edges_GNNR))])
    before = midnights < cut
    np.testing.assert_array_equal(drawn.edges_GNNR[before], changed.edges_GNNR[before])
    assert not np.array_equal(drawn.edges_GNNR[~before], changed.edges_GNNR[~before])
    assert (midnights[1:] % DAY == 0).all()


def test_a_short_panel_draws_the_same_correlations(fitted, returns, known):
    edges, drawn = fitted
    first = HOURS - RULE.reach - 30
    names = tuple("ABCDE")
    short = edges.snapshots(returns[first:], known[first:], TS[first:], names, names)
    np.testing.assert_array_equal(short.edges_GNNR[short.at_T[-1], ..., 0], drawn.edges_GNNR[drawn.at_T[-1], ..., 0])
    np.testing.assert_allclose(short.edges_GNNR[0, ..., 1], edges.lead_NN, rtol=1e-6)


def test_coins_in_another_order_keep_their_edges_and_a_new_coin_has_none(fitted, returns, known):
    edges, _ = fitted
    wanted = ("D", "X", "A", "C", "B")
    drawn = edges.snapshots(returns, known, TS, tuple("ABCDE"), wanted)
    lead = drawn.edges_GNNR[0, ..., 1]
    assert lead[4, 2] == pytest.approx(edges.lead_NN[1, 0])
    assert lead[0, 3] == pytest.approx(edges.lead_NN[3, 2])
    assert (lead != 0).sum() == 2


def test_a_coin_that_was_away_too_long_has_no_correlation(fitted):
    _, drawn = fitted
    away = drawn.at_T[1400]
    assert (drawn.edges_GNNR[away, 3, :, 0] == 0).all()
    assert (drawn.edges_GNNR[away, 0, 1, 0]) > 0.3


def test_what_is_heard_is_the_sum_along_the_edges(fitted, returns, known):
    _, drawn = fitted
    u = np.where(known, returns, 0.0)
    said = heard(drawn, u)
    t = 3500
    graph = drawn.edges_GNNR[drawn.at_T[t]].astype(float)
    np.testing.assert_allclose(said[:, t, 1], graph[..., 1] @ u[t])
    weights = graph[0, :, 0] / np.abs(graph[0, :, 0]).sum()
    assert said[0, t, 0] == pytest.approx(weights @ u[t])


def test_noise_has_no_lead_lag():
    g = np.random.default_rng(8)
    false = 0
    for _ in range(10):
        u = g.normal(size=(1500, COINS)) + g.normal(size=(1500, 1))
        edges, _ = Edges.fit(RULE, u, np.ones_like(u, dtype=bool), TS[:1500], slice(0, 1500))
        false += int((edges.lead_NN != 0).any())
    assert false <= 3  # each of ten with probability 0.05


def test_more_than_fifty_coins_are_refused():
    u = np.zeros((400, 51))
    with pytest.raises(SettingsError, match="50 is the most"):
        Edges.fit(replace(RULE), u, np.ones_like(u, dtype=bool), TS[:400], slice(0, 400))


@pytest.mark.filterwarnings("error")
def test_coins_that_come_and_go_leave_a_covariance_that_can_be_inverted():
    """Over few hours, and those not the same for all pairs, products of returns in common are not a covariance."""
    g = np.random.default_rng(0)
    for _ in range(40):
        u = g.normal(size=(220, 1)) + 0.2 * g.normal(size=(220, 16))
        known = g.random(u.shape) < 0.9
        known[:40, :8] = False
        fitted, _ = Edges.fit(RULE, np.where(known, u, 0.0), known, TS[:220], slice(0, 220))
        assert np.isfinite(fitted.lead_NN).all()


def test_the_inverse_of_a_covariance_is_its_inverse():
    a = np.random.default_rng(1).normal(size=(9, 4))
    covariance = a.T @ a / 9
    np.testing.assert_allclose(inverted(covariance, 0.1), np.linalg.inv(covariance + 0.1 * np.eye(4)), rtol=1e-9)
