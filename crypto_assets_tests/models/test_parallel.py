"""Two processes train as one: the loss of one process at the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crypto_assets.market.errors import SettingsError
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training import engine, parallel, steps
from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.inputs import Inputs
from crypto_assets.models.transformer import Config, Module
from crypto_assets_tests.models import _planted

SCRIPT = """
import json, sys
from pathlib import Path
from crypto_assets.models.training import parallel
from crypto_assets_tests.models import test_parallel

with parallel.joined() as group:
    Path(sys.argv[1], f"{group.rank}.json").write_text(json.dumps(test_parallel.losses()))
"""


def losses() -> list[list[float]]:
    """Train and validation losses of a short fit without dropout, and a sum over the weights it ends with."""
    panel = _planted.panel(500)
    data = DevicePanel.build(
        panel, Inputs.fit(panel, lags=4, indicators=False).apply(panel), panel.symbols, torch.device("cpu")
    )
    training = replace(Config.debug().training, batch=6, accumulate=2, min_steps=10, max_steps=10, evaluations=5, patience=9)
    config = replace(Config.debug(), dropout=0.0, feature_dropout=0.0, coin_dropout=0.0, training=training)
    with engine.reproducible(1 + parallel.current().rank, 1):  # others begin elsewhere and are told the first one's weights
        module = Module(config, data.x_NTF.shape[-1], 3)
    with engine.reproducible(1, 1):
        fitted = engine.train(module, data, (0, 300), (324, 480), training, seed=1, recorder=Silent())
    weights = sum(float(w.double().abs().sum()) for w in fitted.weights.values())
    return [[p.train_loss, p.valid_log_loss] for p in fitted.history[1:]] + [[weights, 0.0]]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "127.0.0.1:0",
    ]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}  # a script's own folder is on its path
    command = [sys.executable, *launch, str(script), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    both = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert both[0] == both[1]
    torch.testing.assert_close(torch.tensor(both[0]), torch.tensor(losses()), atol=1e-5, rtol=1e-5)


def test_shares_of_a_batch_make_the_whole():
    chunks = torch.arange(7), torch.arange(7) * 10
    shares = [parallel.Group(rank, 3).share(chunks) for rank in range(3)]
    assert sorted(torch.cat([s[0] for s in shares]).tolist()) == list(range(7))
    assert all((s[1] == 10 * s[0]).all() for s in shares)


def test_alone_nothing_is_sent():
    t = torch.ones(3)
    group = parallel.current()
    group.sum_([t])
    group.first_([t])
    assert t.tolist() == [1, 1, 1]
    assert group.decide(0.25) == 0.25


def test_more_processes_than_chunks_is_refused(monkeypatch):
    monkeypatch.setattr(steps, "current", lambda: parallel.Group(0, 9))
    module = Module(Config.debug(), 5, 3)
    with pytest.raises(SettingsError, match="8 chunks for 9 processes"):
        steps.Learner.of(module, torch.optim.SGD(module.parameters(), lr=0.1), (0, 9), Config.debug().training)
