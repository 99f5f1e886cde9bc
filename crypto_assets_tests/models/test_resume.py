"""Killed at any step, a fit goes on from its last state and ends in the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from crypto_assets.models import registry
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training import state
from crypto_assets.models.transformer import MODEL, Config
from crypto_assets_tests.models import _planted

HOURS = 500
SCRIPT = """
import os, signal, sys
from pathlib import Path
from crypto_assets.models.training import state
from crypto_assets_tests.models import test_resume

state.SECONDS = 0.0
kill_at, save = int(sys.argv[1]), state.Keeper.save

def then_die(self, run, *, now=False):
    save(self, run, now=now)
    if run.step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

state.Keeper.save = then_die
print(test_resume.fit(state=Path(sys.argv[2])).version)
"""


def config():
    training = replace(Config.debug().training, min_steps=12, max_steps=12, evaluations=3, patience=3)
    return replace(Config.debug(), training=training)


def fit(model=MODEL, **options):
    options = {"config": config(), "recorder": Silent(), "threads": 1, **options}
    return model.fit(_planted.panel(HOURS), _planted.fold(HOURS), preset="debug", seed=1, **options)


class Curves(Silent):
    """Remembers the curves."""

    def __init__(self) -> None:
        self.points: list = []

    def curve(self, name, step, value) -> None:
        self.points.append((name, step, value))


@pytest.fixture(scope="module")
def undisturbed():
    recorder = Curves()
    return fit(recorder=recorder), recorder.points


def interrupted(monkeypatch, folder, at: int, **options) -> None:
    """Fit until the state after step `at` is kept, then stop as if killed."""

    class Killed(BaseException):
        pass

    keep = state.Keeper.save

    def save(self, run, *, now=False):
        keep(self, run, now=now)
        if run.step == at:
            raise Killed

    monkeypatch.setattr(state, "SECONDS", 0.0)
    monkeypatch.setattr(state.Keeper, "save", save)
    with pytest.raises(Killed):
        fit(state=folder, **options)
    monkeypatch.undo()


@pytest.mark.parametrize("at", [0, 3, 4, 11])
def test_goes_on_from_any_step_to_the_same_bits(undisturbed, tmp_path, monkeypatch, at):
    interrupted(monkeypatch, tmp_path, at)
    recorder = Curves()
    with pytest.warns(match=f"goes on after step {at} of 12"):
        resumed = fit(state=tmp_path, recorder=recorder)
    assert resumed.version == undisturbed[0].version
    assert recorder.points == undisturbed[1]


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_too(undisturbed, tmp_path):
    command = [sys.executable, "-c", SCRIPT]
    killed = subprocess.run([*command, "5", str(tmp_path)], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = subprocess.run([*command, "-1", str(tmp_path)], capture_output=True, text=True, check=True)
    assert "goes on after step 5" in resumed.stderr
    assert resumed.stdout.strip() == undisturbed[0].version


@pytest.mark.slow
@pytest.mark.parametrize("net", registry.NETS)
def test_every_net_goes_on_to_the_same_bits(tmp_path, monkeypatch, net):
    model = registry.load(net)
    small = model.preset("debug")  # type: ignore[attr-defined]
    training = replace(small.training, passes=0.1, min_steps=4, max_steps=4, evaluations=2, patience=3)
    options = {"config": replace(small, training=training), "model": model}
    interrupted(monkeypatch, tmp_path, 2, **options)
    with pytest.warns(match="goes on after step 2 of 4"):
        resumed = fit(state=tmp_path, **options)
    assert resumed.version == fit(**options).version


def test_members_that_were_finished_are_not_trained_again(tmp_path):
    two = replace(config(), training=replace(config().training, members=2))
    seen: list = []
    first = fit(config=two, state=tmp_path, progress=lambda p: seen.append(p.step))
    again = fit(config=two, state=tmp_path, progress=lambda p: seen.append(-p.step))
    assert first.version == again.version
    assert len(seen) == 8
    assert min(seen) >= 0


def test_a_state_of_another_configuration_or_other_data_is_left_aside(undisturbed, tmp_path, monkeypatch):
    other = replace(config(), training=replace(config().training, lr=1e-3))
    interrupted(monkeypatch, tmp_path, 5, config=other)
    with pytest.warns(match="is of another configuration or other data: starting again"):
        assert fit(state=tmp_path).version == undisturbed[0].version
    data = _data()
    assert state.fingerprint(data, 1) == state.fingerprint(data, 1)
    data.x_NTF[0, 100, 0] += 1
    assert state.fingerprint(data, 1) != state.fingerprint(_data(), 1)


def test_a_damaged_state_is_left_aside(undisturbed, tmp_path):
    (tmp_path / "seed-1.safetensors").write_bytes(b"half a file")
    with pytest.warns(match="is damaged"):
        assert fit(state=tmp_path).version == undisturbed[0].version


def test_the_state_is_tensors_and_json(tmp_path):
    fit(state=tmp_path)
    with safe_open(tmp_path / "seed-1.safetensors", "pt") as file:
        assert set(file.metadata()) == {"facts"}
        assert {"random", "batches.generator"} <= set(file.keys())


def _data():
    from crypto_assets.models.training.device import DevicePanel
    from crypto_assets.models.training.inputs import Inputs

    panel = _planted.panel(HOURS)
    inputs = Inputs.fit(panel, lags=4, indicators=False)
    return DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu"))
