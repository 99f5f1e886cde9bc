"""The benchmark for GPUs runs where there is none, at debug size; the full presets fit a card of 16 GB by estimate."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crypto_assets.models import registry
from crypto_assets.models.training import engine, memory, steps
from crypto_assets.models.training.device import DeviceGraph, DevicePanel
from crypto_assets.models.transformer import Config, Module

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
CARD = 16 * 2**30
RESERVED = 0.9
"""Share of a card that a process gets: the display and the runtime take the rest."""


def random_panel(hours: int, coins: int, inputs: int) -> DevicePanel:
    """Random numbers in the shape of a panel."""
    return DevicePanel(
        x_NTF=torch.randn(coins, hours, inputs),
        listed_NT=torch.ones(coins, hours, dtype=torch.bool),
        coin_N=torch.arange(1, coins + 1),
        direction_NT4=torch.randint(0, 2, (coins, hours, 4)).float(),
        returns_NT3=torch.randn(coins, hours, 3),
        log_rv_NT=torch.randn(coins, hours),
        graph=DeviceGraph(torch.randn(hours // 24 + 1, coins, coins, 2), torch.arange(hours) // 24),
    )


@pytest.mark.slow
def test_the_benchmark_checks_itself_and_measures_every_net_on_a_cpu():
    command = [sys.executable, str(SCRIPT), "--print-only", "--seconds", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert set(found["nets"]) == {f"{net} debug" for net in registry.NETS}
    assert found["is_accelerated"] is False
    for row in found["nets"].values():
        assert row["train"]["off"]["windows_per_second"] > 0
        assert row["infer"]["buffered"]["windows_per_second"] > 0
    assert found["nets"]["transformer debug"]["share_of_matmul"]["off"] > 0
    assert found["ensemble"]["debug"]["stacked_over_in_turn"] > 0


def losses_of(mode: str, data: DevicePanel) -> list[float]:
    """Of four steps without dropout."""
    config = replace(Config.debug(), layers=1, dropout=0.0, feature_dropout=0.0, coin_dropout=0.0)
    with engine.reproducible(1, 1):
        module = Module(config, data.x_NTF.shape[-1], len(data.coin_N))
        training = replace(config.training, compile=mode)
        learner = steps.Learner.of(module, engine.adamw(module, training), (0, 200), training)
        batches = steps.Batches(data, (0, 200), training, seed=0)
        return [float(steps.step(learner, data, next(batches))) for _ in range(4)]


@pytest.mark.slow
def test_captured_steps_have_the_losses_of_plain_ones(monkeypatch):
    torch.manual_seed(0)
    data, compile_ = random_panel(200, 3, 12), torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, mode: compile_(module, backend="aot_eager"))  # no C++ compiler
    assert losses_of("on", data) == pytest.approx(losses_of("off", data), abs=1e-4)


@pytest.mark.long
def test_compiled_steps_have_the_losses_of_plain_ones():
    torch.manual_seed(0)
    data = random_panel(200, 3, 12)
    assert losses_of("on", data) == pytest.approx(losses_of("off", data), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("net", registry.NETS)
def test_the_full_preset_fits_a_16_gb_card_by_estimate(net):
    model = registry.load(net)
    config = model.preset("full")  # type: ignore[attr-defined]
    coins, inputs = 16, 128
    data = random_panel(config.training.chunk + 400, coins, inputs)
    with engine.reproducible(0, 1):
        module = model.module_class(config, inputs, coins)  # type: ignore[attr-defined]
        found = memory.estimate(module, data, replace(config.training, precision="bf16"))
    years = replace(found, panel=round(found.panel * 4 * 8760 / data.listed_NT.shape[1]))
    parts = years.parts(config.training.batch, round(RESERVED * CARD))
    assert parts <= max(config.training.accumulate, config.training.batch // 2), f"{years} needs {parts} parts"
