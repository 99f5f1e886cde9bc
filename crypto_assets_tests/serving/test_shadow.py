"""What the gate compares is what the server would have said: the challenger's members in the fusion it would be served with."""

from __future__ import annotations

import numpy as np
import pytest

from crypto_assets.evaluation import champion
from crypto_assets.evaluation.fusing import fit_fusion
from crypto_assets.evaluation.model_registry import ModelRegistry
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.models._base import Forecast, forecast_table
from crypto_assets.monitoring.challenger import shadow
from crypto_assets.serving.fusing import fusion_now
from crypto_assets_tests.serving.conftest import MIDNIGHT, World, bundle

pytestmark = pytest.mark.slow
SHADOW = Window(MIDNIGHT - 4 * DAY, MIDNIGHT - 2 * DAY)


def keep(own: World, made: champion.Bundle, said: dict[str, Forecast], window: Window) -> None:
    """What the daily run writes of members' forecasts."""
    listed = own.panel.listed_TN[own.panel.slice(window)]
    for name, forecast in said.items():
        fit = made.members[name]
        own.lake.write(forecast_table(name), forecast.table(name, fit.version, fit.trained_until, listed), window)


def test_the_shadow_is_combined_hour_by_hour_as_the_server_would(own):
    first, challenger = ModelRegistry(own.settings).load(), bundle(own.panel, seed=1)
    past = Window(MIDNIGHT - 14 * DAY, SHADOW.start)
    before = dict(champion.predict(first, own.panel, past).members)
    keep(own, first, before, past)
    start = MIDNIGHT - 7 * DAY
    fusion = fit_fusion(own.panel, start, first.versions, {n: [f] for n, f in before.items()}, seed=0)
    fusion.save(own.lake.root / "models" / "fusion" / f"fold={start.date()}")
    said = champion.predict_served(own.lake, challenger, own.panel, SHADOW)
    pooled = champion.predict(challenger, own.panel, SHADOW)
    assert np.abs(said.p_up_HTN - pooled.combined.p_up_HTN).max() > 1e-3
    keep(own, challenger, dict(champion.predict(challenger, own.panel, SHADOW).members), SHADOW)
    for at in (SHADOW.start, SHADOW.start + 7 * HOUR, SHADOW.start + 30 * HOUR):
        members = champion.predict(challenger, own.panel, Window(at, at + HOUR)).members
        now = fusion_now(own.lake, challenger, at, members)
        assert now is not None
        t = int((at - SHADOW.start) / HOUR)
        np.testing.assert_allclose(said.p_up_HTN[:, t], now.of(members).forecast.p_up_HTN[:, 0], rtol=1e-6)


def test_the_gate_is_given_what_it_is_told_to_compare(own):
    first = ModelRegistry(own.settings).load()
    whole = Window(SHADOW.start, MIDNIGHT)

    def half(made, panel, window) -> Forecast:
        found = champion.predict(made, panel, window).combined
        found.p_up_HTN[:] = 0.5
        return found

    days = shadow(first, first, own.panel, whole, half).filter(target="1h")
    assert days["champion"].to_list() == pytest.approx([np.log(2)] * days.height)
    assert days.height
