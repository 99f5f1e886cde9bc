"""What the weights say of members whose nature is known: good, noise, a copy, a leak into the training period."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from crypto_assets.fusion.families import expit
from crypto_assets.fusion.fitting import fit
from crypto_assets.fusion.fused import apply
from crypto_assets.fusion.pool import pool
from crypto_assets.fusion.predictors import market_variance
from crypto_assets_tests.fusion.planted import BOTH, DIRECTION, START, World, days

DAYS, TEST = 130, 100


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    return float(-np.mean(np.where(y > 0, np.log(p), np.log1p(-p))))


def fused(world, members, start: int, outputs=None):
    """(checkpoint fitted on the days before `start`, what it makes of those after)."""
    outputs = outputs or dict.fromkeys(members, DIRECTION)
    versions = {name: name for name in members}
    history = days(members, 0, start) if start else {}
    labels = world.cut(world.labels, 0, start)
    checkpoint = fit(history, labels, start=START + timedelta(days=start), outputs=outputs, versions=versions)
    return checkpoint, apply(checkpoint, days(members, start), world.cut(world.labels, start), versions=versions, cost=0.0014)


def weights(made, target="1h") -> dict[str, float]:
    members, weight_MT, _ = made.weights[target]
    return dict(zip(members, weight_MT.mean(axis=1), strict=True))


def shares(made, target="1h") -> dict[str, float]:
    members, _, share_MT = made.weights[target]
    return dict(zip(members, share_MT.mean(axis=1), strict=True))


@pytest.fixture(scope="module")
def world() -> World:
    return World(DAYS, coins=8)


@pytest.fixture(scope="module")
def cast(world):
    """A good member, a copy of it, one that knows nothing, a mediocre one."""
    g = np.random.default_rng(9)
    good = world.member(0.5, 0.39)  # calibrated: 0.4^2 / (0.4^2 + 0.5^2)
    noise = world.of(expit(0.4 * g.normal(size=world.s_HTN.shape)))
    return {"good": good, "copy": good, "noise": noise, "fair": world.member(1.0, 0.14)}


def test_noise_gets_a_weight_near_zero(world, cast):
    made = fused(world, {k: cast[k] for k in ("good", "noise", "fair")}, TEST)[1]
    assert weights(made)["noise"] < 0.08
    assert shares(made)["noise"] < 0.1
    assert shares(made)["good"] > 0.7


def test_a_copy_shares_the_weight_of_the_original_and_adds_none(world, cast):
    alone = fused(world, {k: cast[k] for k in ("good", "fair")}, TEST)[1]
    both = fused(world, {k: cast[k] for k in ("good", "copy", "fair")}, TEST)[1]
    found = weights(both)
    assert found["good"] == pytest.approx(found["copy"], abs=0.05)
    assert found["good"] + found["copy"] == pytest.approx(weights(alone)["good"], abs=0.12)
    np.testing.assert_allclose(both.forecast.p_up_HTN[0], alone.forecast.p_up_HTN[0], atol=0.03)


def test_a_member_that_leaks_into_its_training_period_is_judged_by_its_later_forecasts(world, cast):
    """Its forecasts of the hours it learned from are near perfect; the fusion does not see those, and later ones are noise."""
    up = np.stack([world.labels[name] > 0 for name in ("ret_1h", "ret_4h", "ret_24h")])
    g, trained = np.random.default_rng(4), 30
    learned = np.arange(DAYS * 24)[None, :, None] < trained * 24
    p = np.where(learned, np.where(up, 0.95, 0.05), expit(0.5 * g.normal(size=up.shape)))
    members = {"good": cast["good"], "leak": world.of(p)}
    seen = world.labels["ret_1h"][: trained * 24]
    assert log_loss(p[0, : trained * 24], seen) < 0.1, "in sample it looks like a miracle"
    versions = {name: name for name in members}
    history, labels = days(members, trained, TEST), world.cut(world.labels, trained, TEST)
    start = START + timedelta(days=TEST)
    checkpoint = fit(history, labels, start=start, outputs=dict.fromkeys(members, DIRECTION), versions=versions)
    made = apply(checkpoint, days(members, TEST), world.cut(world.labels, TEST), versions=versions, cost=0.0)
    assert weights(made)["leak"] < 0.1
    assert weights(made)["good"] > 0.6


@pytest.mark.parametrize("names", [("good", "noise"), ("good", "fair", "noise"), ("good", "copy", "fair")])
@pytest.mark.parametrize("start", [0, 7, TEST])
def test_fused_is_never_much_worse_than_the_pool_and_comes_to_the_best_member(world, cast, names, start):
    members = {name: cast[name] for name in names}
    made, y = fused(world, members, start)[1], world.labels["ret_1h"][start * 24 :]
    later = days(members, start)
    loss = log_loss(made.forecast.p_up_HTN[0], y)
    assert loss < log_loss(pool(list(later.values())).p_up_HTN[0], y) + 2e-4
    if start == TEST:
        assert loss < min(log_loss(f.p_up_HTN[0], y) for f in later.values()) + 5e-4


def test_before_any_out_of_fold_row_it_is_the_pool(world, cast):
    members = {k: cast[k] for k in ("good", "fair")}
    made = fused(world, members, 0)[1]
    np.testing.assert_allclose(made.forecast.p_up_HTN, pool(list(members.values())).p_up_HTN, atol=0.01)


def test_a_context_is_kept_only_where_it_helps():
    """In storms one member knows everything and the other nothing; in calm it is the other way round."""
    world = World(110, coins=8, edge=0.8)
    storm = world.v_TN > np.median(world.v_TN)
    g = np.random.default_rng(2)
    noise = 0.8 * g.normal(size=(2, *world.s_HTN.shape))
    in_storms = world.of(expit(np.where(storm, world.s_HTN, noise[0])), 0.05)
    in_calm = world.of(expit(np.where(storm, noise[1], world.s_HTN)), 0.05)
    members = {"storms": in_storms, "calm": in_calm}
    checkpoint, made = fused(world, members, 70, dict.fromkeys(members, BOTH))
    assert checkpoint.parts["1h"].context in ("volatility", "skill")
    assert fused(world, {"one": world.member(0.5), "other": world.member(0.7)}, 70)[0].parts["1h"].context == "none"
    rank = checkpoint.market.of(np.log(world.v_TN[70 * 24 :]).mean(axis=1))
    weight = made.weights["1h"][1][0]
    assert weight[np.argmax(rank)] > weight[np.argmin(rank)] + 0.05


def test_some_coins_alone_are_told_what_the_whole_market_is():
    """Weights that move with the market's volatility must not move with who is asked about."""
    world = World(80, coins=8)
    members = {"one": world.member(0.5, 0.5, 0.2), "other": world.member(0.9, 0.5, 0.3)}
    checkpoint, _ = fused(world, members, 60, dict.fromkeys(members, BOTH))
    part = checkpoint.parts["1h"]
    moving = np.zeros((1, 2 * len(members) + 1))
    moving[0, 1:] = 0.2, 0.8, 1.0, -0.6
    parts = {"1h": replace(part, context="volatility", draws_SD=moving)}
    checkpoint = replace(checkpoint, parts={**checkpoint.parts, **parts})
    hour = {n: hour_of(f, 61 * 24) for n, f in members.items()}
    wild = [2, 5]

    def p_up(forecasts, **more):
        labels = {k: np.full((1, len(next(iter(forecasts.values())).symbols)), np.nan) for k in world.labels}
        made = apply(checkpoint, forecasts, labels, versions={n: n for n in members}, cost=0.0014, **more)
        return made.forecast.p_up_HTN[0, 0]

    some = {n: f.of_coins(wild) for n, f in hour.items()}
    everyone = p_up(hour)[wild]
    market_T = market_variance(hour, checkpoint.outputs)
    np.testing.assert_allclose(p_up(some, market_T=market_T), everyone, rtol=1e-12)
    assert not np.allclose(p_up(some), everyone, rtol=1e-6)


def hour_of(forecast, t: int):
    """One hour of a forecast."""
    s = slice(t, t + 1)
    cube = {k: getattr(forecast, k)[:, s] for k in ("p_up_HTN", "mean_HTN", "log_var_HTN")}
    flat = {k: getattr(forecast, k)[s] for k in ("p_beats_median_TN", "realised_var_TN")}
    return replace(forecast, ts=forecast.ts[s], **cube, **flat)
