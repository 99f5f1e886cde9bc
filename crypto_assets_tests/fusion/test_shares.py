"""Odds of the combination and of each member alone: their closed form, what they know, and the bound they buy."""

from __future__ import annotations

import numpy as np
import pytest

from crypto_assets.fusion.context import closing_days
from crypto_assets.fusion.families import FAMILIES, expit
from crypto_assets.fusion.stacking import Problem, learn, shares
from crypto_assets_tests.fusion.planted import World
from crypto_assets_tests.fusion.test_members import fused, log_loss

DAYS, COINS, MEMBERS, WORTH = 30, 3, 2, 0.2
COMBINED_D = WORTH * 24 * COINS * np.linspace(0.68, 0.71, DAYS)
"""Tempered loss of the combination by day."""


@pytest.fixture(scope="module")
def problem() -> Problem:
    g = np.random.default_rng(5)
    shape = (DAYS * 24, COINS)
    y = (g.random(shape) < 0.5).astype(float)
    y[:7] = np.nan
    return Problem("bernoulli", 0.3 * g.normal(size=(MEMBERS, *shape)), y, {}, np.repeat(np.arange(DAYS), 24), 1)


def odds(problem: Problem, combined_D: np.ndarray, day: int) -> np.ndarray:
    return shares(problem, np.isfinite(problem.y_TN), WORTH, combined_D, day)


def test_the_odds_are_the_likelihoods_of_the_rows_that_had_closed(problem):
    day = 20
    last = day - closing_days(1) + 1
    closed = slice(0, 24 * last)
    y = problem.y_TN[closed]
    lost = [COMBINED_D[:last].sum(), *(WORTH * np.nansum(FAMILIES["bernoulli"].loss(z[closed], y)) for z in problem.z_MTN)]
    likelihood = np.exp(-np.array(lost) + min(lost))
    np.testing.assert_allclose(odds(problem, COMBINED_D, day)[-1], likelihood / likelihood.sum(), rtol=1e-9)


def test_they_begin_equal_and_move_with_the_weights_of_the_walk(problem):
    found = odds(problem, COMBINED_D, DAYS)
    np.testing.assert_allclose(found[0], 1 / (1 + MEMBERS))
    changes = np.flatnonzero(np.abs(np.diff(found[:-1], axis=0)).max(axis=1) > 0) + 1
    assert set(changes) <= {7, 14, 21, 28}


def test_what_closes_later_changes_no_earlier_odds(problem):
    spoiled = Problem("bernoulli", problem.z_MTN, problem.y_TN.copy(), {}, problem.day_T, 1)
    spoiled.y_TN[24 * 19 :] = 1 - spoiled.y_TN[24 * 19 :]
    before, after = (odds(p, COMBINED_D, 20)[-1] for p in (problem, spoiled))
    np.testing.assert_array_equal(before, after)


def test_draws_are_as_many_of_each_answer_as_the_odds_say(problem):
    stack, _ = learn(problem, DAYS)
    draws = stack.draws(200, np.random.default_rng(0))
    assert len(draws) == 200
    alone = [int((draws == [0, *row]).all(axis=1).sum()) for row in np.eye(MEMBERS)]
    np.testing.assert_allclose(alone, 200 * stack.shares[1:], atol=1.01)


@pytest.mark.parametrize("start", [14, 45, 90])
def test_weak_members_in_number_cost_no_more_than_the_bound(start):
    """Five weak members of one kind and a good one: the loss over the best is at most ln(M + 1), in rows' worth."""
    world = World(120, coins=8, seed=3)
    weak = 2.0 * world.g.normal(size=world.s_HTN.shape)
    noise = 0.2 * world.g.normal(size=(5, *weak.shape))
    members = {f"weak{i}": world.of(expit(0.04 * (world.s_HTN + weak + noise[i]))) for i in range(5)}
    members["good"] = world.member(0.5, 0.39)
    checkpoint, made = fused(world, members, start)
    y = world.labels["ret_1h"][start * 24 :]
    over = log_loss(made.forecast.p_up_HTN[0], y) - log_loss(members["good"].p_up_HTN[0, start * 24 :], y)
    assert over * start * 24 * 8 * checkpoint.parts["1h"].facts["temper"] < np.log(len(members) + 1)
