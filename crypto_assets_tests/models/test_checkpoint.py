"""Checkpoints: what is loaded forecasts what was saved, and nothing else is let in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from crypto_assets.market.errors import CheckpointError
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Silent
from crypto_assets.models.transformer import MODEL
from crypto_assets_tests.models import _planted


@pytest.fixture(scope="module")
def fitted():
    panel, fold = _planted.panel(), _planted.fold()
    return panel, fold, MODEL.fit(panel, fold, preset="debug", seed=1, recorder=Silent())


def test_a_saved_checkpoint_forecasts_the_same_bytes(fitted, tmp_path):
    panel, fold, checkpoint = fitted
    loaded = Checkpoint.load(checkpoint.save(tmp_path / "fold"))
    assert loaded.version == checkpoint.version
    before, after = (MODEL.predict(c, panel, fold.test) for c in (checkpoint, loaded))
    for field in ("p_up_HTN", "mean_HTN", "log_var_HTN", "p_beats_median_TN", "realised_var_TN"):
        np.testing.assert_array_equal(getattr(before, field), getattr(after, field))


def test_it_says_what_it_was_trained_on(fitted):
    panel, fold, checkpoint = fitted
    assert checkpoint.columns == panel.columns
    assert checkpoint.dropped == ("f.empty",)
    assert (checkpoint.trained_from, checkpoint.trained_until) == (fold.train.start, fold.valid.end)
    counted = {k: v.size for k, v in checkpoint.tensors.items() if k.startswith("net.")}
    constants = counted["net.readout.base_4"] + counted["net.readout.coin"]  # counted from the labels, not trained
    assert checkpoint.config["parameters"] == sum(counted.values()) - constants
    assert json.loads(json.dumps(checkpoint.config)) == checkpoint.config


def test_other_columns_are_refused_by_name(fitted):
    panel, fold, checkpoint = fitted
    other = replace(panel, columns=("f.level", "f.a", "f.b", "f.noise", "f.new"))
    with pytest.raises(CheckpointError, match=r"missing here: \['f.empty'\]; unknown to it: \['f.new'\]"):
        MODEL.predict(checkpoint, other, fold.test)
    with pytest.raises(CheckpointError, match="another order"):
        MODEL.predict(checkpoint, replace(panel, columns=panel.columns[::-1]), fold.test)


def test_a_checkpoint_of_another_model_is_refused(fitted):
    panel, fold, checkpoint = fitted
    with pytest.raises(CheckpointError, match="checkpoint of logistic"):
        MODEL.predict(replace(checkpoint, model="logistic"), panel, fold.test)


@pytest.mark.parametrize("what", ["weight", "config"])
def test_a_tampered_checkpoint_is_refused(fitted, tmp_path, what):
    folder = fitted[2].save(tmp_path / "fold")
    if what == "weight":
        path = folder / "weights.safetensors"
        tensors = load(path.read_bytes())
        tensors["net.readout.wide.weight"] = tensors["net.readout.wide.weight"] + np.float32(1e-3)
        path.write_bytes(save(tensors))
    else:
        path = folder / "config.json"
        path.write_text(path.read_text().replace('"lags": 4', '"lags": 5'))
    with pytest.raises(CheckpointError, match="hashes to"):
        Checkpoint.load(folder)


def test_damaged_or_absent_checkpoints_say_what_to_do(fitted, tmp_path):
    with pytest.raises(CheckpointError, match="train the model for this fold first"):
        Checkpoint.load(tmp_path / "nowhere")
    folder = fitted[2].save(tmp_path / "fold")
    whole = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="train it again"):
        Checkpoint.load(folder)
