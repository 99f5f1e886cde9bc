"""A fused forecast: its parts add up, nothing of the future is in it, alone it is what it is in a batch, it travels on disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.fusion.card import text
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.conformal import COVERAGES
from crypto_assets.fusion.fitting import fit
from crypto_assets.fusion.fused import apply, entropy
from crypto_assets.fusion.tables import FusedForecasts, Weights, fused_rows, weight_rows
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets_tests.fusion.planted import BOTH, DIRECTION, START, VARIANCE, World, days

DAYS, TEST, COST = 90, 60, 0.0014
OUTPUTS = {"a": BOTH, "b": DIRECTION, "c": VARIANCE, "net": BOTH | {"mean", "log_var"}}
VERSIONS = {name: f"v-{name}" for name in OUTPUTS}
BEGIN = START + timedelta(days=TEST)


def cast(world: World):
    net = world.member(0.8, 0.6, 0.3)
    with_mean = replace(
        net,
        mean_HTN=0.2 * np.sqrt(world.v_TN) * np.sign(world.s_HTN),
        log_var_HTN=np.log(world.v_TN) + np.log(np.array([1, 4, 24]) / 24)[:, None, None],
    )
    silent = world.member(0, 1, 0.5)
    nothing = np.full_like(silent.p_up_HTN, np.nan)
    only_variance = replace(silent, p_up_HTN=nothing, p_beats_median_TN=nothing[0])
    return {"a": world.member(0.5, 0.8, 0.2), "b": world.member(1.0, 0.4), "c": only_variance, "net": with_mean}


def fitted(world, members):
    labels = world.cut(world.labels, 0, TEST)
    return fit(days(members, 0, TEST), labels, start=BEGIN, outputs=OUTPUTS, versions=VERSIONS)


def applied(checkpoint, world, members, labels=None, **more):
    labels = world.cut(labels or world.labels, TEST)
    return apply(checkpoint, days(members, TEST), labels, versions=VERSIONS, cost=COST, **more)


@pytest.fixture(scope="module")
def world():
    return World(DAYS)


@pytest.fixture(scope="module")
def members(world):
    return cast(world)


@pytest.fixture(scope="module")
def checkpoint(world, members):
    return fitted(world, members)


@pytest.fixture(scope="module")
def made(world, members, checkpoint):
    return applied(checkpoint, world, members)


def arrays(made) -> dict[str, np.ndarray]:
    found = {k: v for k, v in vars(made).items() if isinstance(v, np.ndarray)}
    return found | {k: v for k, v in vars(made.forecast).items() if isinstance(v, np.ndarray)}


def test_aleatoric_and_epistemic_parts_add_up(made):
    f = made.forecast
    np.testing.assert_allclose(made.aleatoric_HTN + made.epistemic_HTN, entropy(f.p_up_HTN), atol=1e-12)
    np.testing.assert_allclose(made.aleatoric_var_HTN + made.epistemic_var_HTN, np.exp(f.log_var_HTN), rtol=1e-12)
    assert (made.epistemic_HTN >= 0).all()
    assert (made.epistemic_var_HTN > 0).all()


def test_more_rows_leave_less_epistemic_uncertainty(world, members):
    def mean(first):
        labels = world.cut(world.labels, first, TEST)
        c = fit(days(members, first, TEST), labels, start=BEGIN, outputs=OUTPUTS, versions=VERSIONS)
        return applied(c, world, members).epistemic_HTN[0].mean()

    assert mean(0) < mean(50)


def test_confidence_is_the_chance_of_the_likelier_side(made, world):
    p = made.forecast.p_up_HTN[0]
    hit = (p > 0.5) == (world.labels["ret_1h"][TEST * 24 :] > 0)
    np.testing.assert_allclose(made.confidence_HTN[0], np.maximum(p, 1 - p))
    assert made.confidence_HTN[0].mean() == pytest.approx(hit.mean(), abs=0.03)


def test_intervals_cover_and_are_nested(made, world):
    for h, name in enumerate(("ret_1h", "ret_4h", "ret_24h")):
        r = world.labels[name][TEST * 24 :]
        inside = ((r >= made.low_LHTN[:, h]) & (r <= made.high_LHTN[:, h])).mean(axis=(1, 2))
        np.testing.assert_allclose(inside, COVERAGES, atol=0.05)
    rv = world.labels["rv_24h"][TEST * 24 :]
    np.testing.assert_allclose(((rv >= made.rv_low_LTN) & (rv <= made.rv_high_LTN)).mean(axis=(1, 2)), COVERAGES, atol=0.05)
    assert (np.diff(made.low_LHTN, axis=0) < 0).all()
    assert (np.diff(made.high_LHTN, axis=0) > 0).all()


def test_intervals_recover_after_a_shift_that_no_member_forecasts():
    """From day 65 on the variance is four times what everybody says; from day 75 on the intervals cover again."""
    world = World(DAYS + 20, shock_day=65)
    members = cast(world)
    made = applied(fitted(world, members), world, members)
    r, after = world.labels["ret_1h"][75 * 24 :], slice((75 - TEST) * 24, None)
    inside = ((r >= made.low_LHTN[:, 0, after]) & (r <= made.high_LHTN[:, 0, after])).mean(axis=(1, 2))
    np.testing.assert_allclose(inside, COVERAGES, atol=0.06)


def test_a_fit_knows_nothing_that_had_not_closed(world, members, checkpoint):
    g = np.random.default_rng(1)
    spoilt = {name: values.copy() for name, values in world.labels.items()}
    hours = {"ret_1h": 1, "ret_4h": 4, "ret_24h": 24, "above_median_24h": 24, "rv_24h": 24}
    for name, values in spoilt.items():
        values[TEST * 24 - hours[name] :] = g.random(values[TEST * 24 - hours[name] :].shape)
    later = {n: replace(f, p_up_HTN=f.p_up_HTN.copy()) for n, f in members.items()}
    for f in later.values():
        f.p_up_HTN[:, TEST * 24 :] = 0.3
    again = fit(days(later, 0), spoilt, start=BEGIN, outputs=OUTPUTS, versions=VERSIONS)
    assert again.version == checkpoint.version


def test_a_row_knows_no_label_before_it_has_closed_and_nothing_later(world, members, checkpoint, made):
    moment = 75
    spoilt = {name: values.copy() for name, values in world.labels.items()}
    for name, hours in {"ret_1h": 1, "ret_4h": 4, "ret_24h": 24, "above_median_24h": 24, "rv_24h": 24}.items():
        spoilt[name][moment * 24 - hours :] = np.nan
    changed = {n: replace(f, p_up_HTN=f.p_up_HTN.copy()) for n, f in members.items()}
    for f in changed.values():
        f.p_up_HTN[:, moment * 24 :] = 0.3
    found, known = applied(checkpoint, world, changed, spoilt), slice(None, (moment - TEST) * 24)
    for name, values in arrays(made).items():
        axis = {"ts": 0, "p_beats_median_TN": 0, "realised_var_TN": 0}.get(name, values.ndim - 2)
        np.testing.assert_array_equal(
            np.take(arrays(found)[name], range(known.stop), axis), np.take(values, range(known.stop), axis), err_msg=name
        )


def test_one_hour_alone_is_the_hour_of_the_batch(world, members, checkpoint, made):
    since = START + timedelta(days=80, hours=7)
    one = arrays(applied(checkpoint, world, members, since=since))
    at = (80 - TEST) * 24 + 7
    for name, values in arrays(made).items():
        axis = {"ts": 0, "p_beats_median_TN": 0, "realised_var_TN": 0}.get(name, values.ndim - 2)
        np.testing.assert_array_equal(one[name], np.take(values, range(at, values.shape[axis]), axis), err_msg=name)


def test_a_checkpoint_comes_back_from_disk_and_gives_the_same(world, members, checkpoint, made, tmp_path):
    loaded = FusionCheckpoint.load(checkpoint.save(tmp_path))
    assert loaded.version == checkpoint.version
    turned = replace(checkpoint, members=dict(reversed(checkpoint.members.items())))
    assert turned.version == checkpoint.version, "the order in which members were named is nothing that was learned"
    again = applied(loaded, world, members)
    for name, values in arrays(made).items():
        np.testing.assert_array_equal(arrays(again)[name], values, err_msg=name)


def test_other_members_are_refused_by_name(world, members, checkpoint):
    with pytest.raises(CheckpointError, match=r"of another version: \['b'\]"):
        checkpoint.require(VERSIONS | {"b": "newer"})
    with pytest.raises(CheckpointError, match=r"missing here: \['net'\]"):
        checkpoint.require({k: v for k, v in VERSIONS.items() if k != "net"})


def test_a_member_checkpoint_is_no_fusion(tmp_path):
    from crypto_assets.models.checkpoint import Checkpoint

    Checkpoint("logistic", (), (), START, START, {}, {"w": np.zeros(2)}).save(tmp_path)
    with pytest.raises(CheckpointError, match="expected one of fusion"):
        FusionCheckpoint.load(tmp_path)


def test_hours_before_the_start_and_other_hours_are_refused(world, members, checkpoint):
    with pytest.raises(SettingsError, match="combines hours from"):
        apply(checkpoint, days(members, 0), world.labels, versions=VERSIONS, cost=COST)
    odd = days(members, TEST) | {"a": days(members, TEST + 1)["a"]}
    with pytest.raises(SettingsError, match="align them"):
        apply(checkpoint, odd, world.cut(world.labels, TEST), versions=VERSIONS, cost=COST)


def test_the_rows_satisfy_their_tables(made, checkpoint):
    listed = np.ones(made.forecast.realised_var_TN.shape, dtype=bool)
    rows = fused_rows(made, checkpoint.version, BEGIN, listed)
    FusedForecasts.pandera().validate(rows)
    assert rows.height == listed.sum() * 3
    day_only = {"realised_var", "p_beats_median", "price_target_usd", *(c for c in rows.columns if c.startswith("rv_"))}
    assert rows.drop(day_only).null_count().sum_horizontal()[0] == 0
    assert rows.filter(horizon="24h").drop("price_target_usd").null_count().sum_horizontal()[0] == 0
    weights = weight_rows(made, checkpoint.version)
    Weights.pandera().validate(weights)
    share = weights.group_by("ts", "target").agg(pl.col("share").sum())["share"]
    np.testing.assert_allclose(share, 1, atol=1e-9)


def test_the_model_card_tells_members_data_limits_and_use(checkpoint):
    said = text(
        checkpoint, fold="2024-03-01", world="sandbox", symbols=("A", "B"), features_hash="abc", trained={"a": "2023 to 2024"}
    )
    for part in ("## Data", "## Limits", "## Honest use", checkpoint.version, "`abc`", "2023 to 2024", *VERSIONS.values()):
        assert part in said
    assert all(name in said for name in checkpoint.parts)
