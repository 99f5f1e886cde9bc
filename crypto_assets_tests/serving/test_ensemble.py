"""The ensemble against the functions that made the forecasts of the backtest: the same answers, by other means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation import champion
from crypto_assets.evaluation.open_days import OpenDays
from crypto_assets.models._base import Forecast
from crypto_assets.models.registry import NETS, TRAINED
from crypto_assets.serving.ensemble import Ensemble, Row, Runtime
from crypto_assets.serving.sessions import FORM, PARITY, OnnxSession, TorchSession, apart, open_sessions
from crypto_assets_tests.serving.conftest import AT, FEW, SYMBOLS, World, bundle

pytestmark = pytest.mark.slow
ARRAYS = ("p_up_HTN", "mean_HTN", "log_var_HTN", "p_beats_median_TN", "realised_var_TN")


@pytest.fixture(scope="module")
def panel(world) -> Panel:
    hot = world.hot()
    days = OpenDays(world.lake, hot, SYMBOLS, families=FEW, at_once=1)
    try:
        return days.panel(AT)
    finally:
        hot.close()


@pytest.fixture(scope="module")
def runtime(world: World) -> Runtime:
    every = bundle(world.panel, members=TRAINED)
    return Runtime.open(every, world.lake.root / "cache" / "onnx")


@pytest.fixture
def ensemble(runtime, panel) -> Ensemble:
    return Ensemble(runtime, panel)


def close(a: Forecast, b: Forecast, n: slice | int = slice(None)) -> None:
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(a, name)[..., n], getattr(b, name)[..., n], rtol=PARITY, atol=PARITY, err_msg=name)


def reference(ensemble: Ensemble, panel: Panel, changed: list[Row]) -> dict[str, Forecast]:
    """The batch functions on a panel whose last rows were replaced."""
    x, r = panel.x_TNF.copy(), panel.r_TN.copy()
    for row in changed:
        n = SYMBOLS.index(row.symbol)
        x[-1, n], r[-1, n] = row.x_F, row.r
    return dict(champion.predict(ensemble.bundle, replace(panel, x_TNF=x, r_TN=r), ensemble.window).members)


def row(panel: Panel, symbol: str, add: float = 0.0, r: float = 0.0) -> Row:
    n = SYMBOLS.index(symbol)
    return Row(symbol, panel.x_TNF[-1, n] + np.float32(add), float(panel.r_TN[-1, n]) + r)


def test_the_closed_hour_is_forecast_as_in_the_backtest(ensemble, panel):
    expected = reference(ensemble, panel, [])
    assert set(ensemble.members) == set(expected)
    for name, forecast in expected.items():
        close(ensemble.members[name], forecast)


def test_a_row_that_is_sent_is_forecast_as_if_it_were_there(ensemble, panel):
    rows = [row(panel, "ETH", 0.5), row(panel, "SOL", -0.3)]
    found = ensemble.asked(rows)
    for i, (n, changed) in enumerate(((1, rows[:1]), (2, rows[1:]))):
        for name, forecast in reference(ensemble, panel, changed).items():
            close(found[name].of_coins([i]), forecast.of_coins([n]))
            assert found[name].symbols == ("ETH", "SOL")
    assert not np.allclose(found["logistic"].p_up_HTN[0, 0, 0], ensemble.members["logistic"].p_up_HTN[0, 0, 1])


def test_a_return_that_is_sent_reaches_every_member_that_reads_returns(ensemble, panel):
    changed = [row(panel, "BTC", r=0.02)]
    found, expected = ensemble.asked(changed), reference(ensemble, panel, changed)
    for name, forecast in expected.items():
        close(found[name], forecast, 0)
    assert found["har_x"].realised_var_TN[0, 0] != ensemble.members["har_x"].realised_var_TN[0, 0]


def test_an_answer_does_not_depend_on_who_else_asks(ensemble, panel):
    rows = [row(panel, s, 0.1 * i, r) for i, (s, r) in enumerate([("BTC", 0.0), ("ETH", 0.0), ("ETH", 0.0), ("BTC", 0.03)])]
    batches = ensemble.batches(rows)
    assert sorted(map(tuple, batches)) == [(0, 1), (2,), (3,)]
    for batch in batches:
        together = ensemble.asked([rows[i] for i in batch])
        for place, i in enumerate(batch):
            alone = ensemble.asked([rows[i]])
            for name in alone:
                close(together[name].of_coins([place]), alone[name])


def test_the_panel_is_put_back(ensemble, panel):
    ensemble.asked([row(panel, "ETH", 0.5, 0.1)])
    again = Ensemble(ensemble.runtime, panel)
    for name, forecast in ensemble.asked([row(panel, "SOL")]).items():
        close(forecast, again.members[name].of_coins([2]))


@pytest.mark.parametrize("name", NETS)
def test_a_net_is_exported_and_agrees_with_torch(runtime, name):
    session, checkpoint = runtime.sessions[name], runtime.bundle.members[name]
    assert isinstance(session, OnnxSession)
    assert apart(session, TorchSession(checkpoint), checkpoint, sizes=(1, 3, 16)) <= PARITY
    assert runtime.engines()[name] == "onnxruntime"


def test_a_net_that_cannot_be_exported_runs_in_torch_and_says_why(runtime, tmp_path):
    checkpoint = runtime.bundle.members["transformer"]
    (tmp_path / f"{checkpoint.version}-{FORM}.txt").write_text("no such operator")
    session = open_sessions({"transformer": checkpoint}, tmp_path)["transformer"]
    assert (session.engine, session.reason) == ("torch", "no such operator")
    assert apart(session, runtime.sessions["transformer"], checkpoint) <= PARITY
