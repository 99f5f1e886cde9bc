"""An advanced fusion says of the last hour what the fusion says of it with all the hours before."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import numpy as np
import pytest

from crypto_assets.fusion.advance import advanced
from crypto_assets.fusion.fitting import LABELS, fit
from crypto_assets.fusion.fused import Fused, apply
from crypto_assets.models._base import Forecast
from crypto_assets_tests.fusion.planted import BOTH, START, World, days

FITTED, LAST = 24, 34
OUTPUTS = {"good": BOTH, "bad": BOTH}
VERSIONS = {"good": "1", "bad": "2"}


@pytest.fixture(scope="module")
def made():
    """A market, what two members say of it, and their fusion from day FITTED on."""
    world = World(LAST, coins=3, seed=1)
    members = {"good": world.member(0.3, variance_noise=0.2), "bad": world.member(2.0, variance_noise=0.6)}
    known = world.cut(world.labels, 0, FITTED)
    start = START + timedelta(days=FITTED)
    return world, members, fit(days(members, 0, FITTED), known, start=start, outputs=OUTPUTS, versions=VERSIONS, seed=0)


@pytest.mark.parametrize("hour", [0, 13, 23])
def test_one_hour_of_a_day_as_with_the_days_before(made, hour):
    world, members, fitted = made
    end = (LAST - 1) * 24 + hour + 1
    since = {name: _hours(f, FITTED * 24, end) for name, f in members.items()}
    labels = {name: v[FITTED * 24 : end] for name, v in world.labels.items()}
    whole = apply(fitted, since, labels, versions=VERSIONS, cost=0.001)
    moved = advanced(fitted, since, labels, VERSIONS)
    now = {name: _hours(f, end - 1, end) for name, f in members.items()}
    alone = apply(moved, now, dict.fromkeys(LABELS, np.full((1, 3), np.nan)), versions=VERSIONS, cost=0.001)
    assert any(len(day) for state in moved.intervals.values() for day in state.scores)
    for name, values in _arrays(whole).items():
        np.testing.assert_allclose(_arrays(alone)[name][..., -1, :], values[..., -1, :], rtol=1e-9, err_msg=name)
    for target, (_, weight, share) in whole.weights.items():
        np.testing.assert_allclose(alone.weights[target][1][:, -1], weight[:, -1], rtol=1e-9)
        np.testing.assert_allclose(alone.weights[target][2][:, -1], share[:, -1], rtol=1e-9)


def _arrays(fused: Fused) -> dict[str, np.ndarray]:
    own = {f.name: getattr(fused, f.name) for f in fields(fused) if f.name not in ("forecast", "weights", "action_HTN")}
    return own | {f.name: getattr(fused.forecast, f.name) for f in fields(fused.forecast) if f.name.endswith("TN")}


def _hours(f: Forecast, first: int, last: int) -> Forecast:
    s = slice(first, last)
    cubes = (f.p_up_HTN[:, s], f.mean_HTN[:, s], f.log_var_HTN[:, s])
    return Forecast(f.ts[s], f.symbols, *cubes, f.p_beats_median_TN[s], f.realised_var_TN[s])
