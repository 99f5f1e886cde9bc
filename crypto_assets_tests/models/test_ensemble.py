"""Several seeds as one model: averages, reproducible, saved and loaded as one checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training.ensemble import average, total_log_variance
from crypto_assets.models.training.heads import Heads
from crypto_assets.models.transformer import MODEL, Config
from crypto_assets_tests.models import _planted

HOURS = 500


def fit(members: int, seed: int = 1) -> Checkpoint:
    training = replace(Config.debug().training, min_steps=8, max_steps=8, members=members)
    config = replace(Config.debug(), training=training)
    panel, fold = _planted.panel(HOURS), _planted.fold(HOURS)
    return MODEL.fit(panel, fold, preset="debug", seed=seed, recorder=Silent(), config=config)


def test_the_mixture_has_the_variance_of_its_draws():
    g = np.random.default_rng(0)
    mean, sd = np.array([-1.0, 0.5, 2.0]), np.array([0.5, 1.0, 2.0])
    draws = (mean + sd * g.normal(size=(400_000, 3))).ravel()
    found = total_log_variance(torch.tensor(mean), torch.tensor(2 * np.log(sd)))
    assert abs(np.exp(found.item()) / draws.var() - 1) < 0.01


def test_directions_are_averaged_in_logits():
    heads = [Heads(*(torch.full(s, v) for s in ((1, 2, 4), (1, 2, 3), (1, 2, 3), (1, 2), (1, 2, 4)))) for v in (1.0, 3.0)]
    assert (average(heads).logits_BL4 == 2.0).all()
    assert average(heads[:1]) is heads[0]


def test_a_member_is_the_net_of_its_own_seed_and_the_whole_is_reproducible(tmp_path):
    together, alone = fit(2), fit(1, seed=2)
    second = {k.removeprefix("net.members.1."): v for k, v in together.tensors.items() if k.startswith("net.members.1.")}
    for name, value in second.items():
        np.testing.assert_array_equal(value, alone.tensors[f"net.{name}"])
    assert fit(2).version == together.version
    panel, fold = _planted.panel(HOURS), _planted.fold(HOURS)
    loaded = Checkpoint.load(together.save(tmp_path))
    a, b = (MODEL.predict(c, panel, fold.test) for c in (together, loaded))
    np.testing.assert_array_equal(a.p_up_HTN, b.p_up_HTN)
    assert np.isfinite(a.p_up_HTN).all()
