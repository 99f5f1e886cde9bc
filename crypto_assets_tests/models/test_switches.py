"""The training switches against their closed forms, and each of them in a whole fit."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.market.errors import SettingsError
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training import adversarial, curriculum, steps
from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch, DevicePanel
from crypto_assets.models.training.inputs import Inputs
from crypto_assets.models.training.schedule import one_cycle
from crypto_assets.models.training.switches import (
    Switches,
    direction_loss,
    dropout_rates,
    dropout_share,
    set_dropout,
)
from crypto_assets.models.transformer import MODEL, Config, Module
from crypto_assets_tests.models import _planted

cross_entropy = partial(torch.nn.functional.binary_cross_entropy_with_logits, reduction="none")


@given(st.floats(-30, 30), st.sampled_from([0.0, 1.0]), st.floats(0, 1), st.floats(0, 5))
def test_direction_loss_is_the_smoothed_cross_entropy_times_the_focal_factor(z, up, smoothing, gamma):
    y = up * (1 - smoothing) + 0.5 * smoothing
    log_p, log_q = -math.log1p(math.exp(-z)), -math.log1p(math.exp(z))
    missed = math.exp(log_q if up else log_p)
    found = direction_loss(*(torch.tensor([v], dtype=torch.float64) for v in (z, up)), smoothing, gamma)
    assert found.item() == pytest.approx(-(y * log_p + (1 - y) * log_q) * missed**gamma, rel=1e-9, abs=1e-12)


def test_without_smoothing_and_gamma_it_is_cross_entropy_to_the_bit():
    z, up = torch.randn(50), torch.randint(0, 2, (50,)).float()
    assert torch.equal(direction_loss(z, up), cross_entropy(z, up))


def test_the_smoothed_loss_is_least_at_the_smoothed_rate():
    z = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    best = z[direction_loss(z, torch.ones_like(z), smoothing=0.2).argmin()]
    assert torch.sigmoid(best).item() == pytest.approx(0.9, abs=1e-3)


def test_one_cycle_is_torchs():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=60, pct_start=0.1)
    for step in range(60):
        factor, moment = one_cycle(step, 60, warmup=0.1)
        assert factor == pytest.approx(oracle.get_last_lr()[0], rel=1e-6, abs=1e-9)
        assert moment == pytest.approx(optimizer.param_groups[0]["betas"][0], rel=1e-6)
        optimizer.step()
        if step < 59:
            oracle.step()


def test_dropout_rises_from_nothing_to_its_rate_and_ends_there():
    shares = [dropout_share(s, 100) for s in range(101)]
    assert shares[0] == 0
    assert (np.diff(shares) > 0).all()
    assert shares[50] == pytest.approx(1 - math.exp(-5))
    module = Module(Config.debug(), 5, 3)
    rates = dropout_rates(module)
    assert set(rates.values()) == {Config.debug().dropout}
    set_dropout(module, rates, 0.5)
    assert set(dropout_rates(module).values()) == {Config.debug().dropout / 2}


def linear_loss(weight):
    """A loss whose gradient by the inputs is `weight`."""
    return lambda batch: (batch.x_BLF * weight).sum()


def batch(seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    listed = torch.ones(2, 5, dtype=torch.bool)
    listed[1, :2] = False
    return Batch(torch.randn(2, 5, 3, generator=g), torch.tensor([0, 1]), listed)


@pytest.mark.parametrize("attack", [adversarial.fgsm, adversarial.pgd])
def test_an_attack_on_a_linear_loss_goes_to_the_corner_uphill(attack):
    weight, before = torch.randn(2, 5, 3), batch()
    after = attack(linear_loss(weight), before, 0.07)
    expected = before.x_BLF + 0.07 * weight.sign() * before.listed_BL[..., None]
    torch.testing.assert_close(after.x_BLF, expected)
    assert torch.equal(after.listed_BL, before.listed_BL)


def test_pgd_stays_within_epsilon_and_finds_more_than_fgsm_where_the_loss_bends():
    def bent(b):
        return -((b.x_BLF - 0.02) ** 2).sum()  # best inside the cube around 0, where one long step overshoots

    before = Batch(torch.zeros(1, 4, 2), torch.tensor([0]), torch.ones(1, 4, dtype=torch.bool))
    near, far = (attack(bent, before, 0.1) for attack in (adversarial.pgd, adversarial.fgsm))
    assert (near.x_BLF.abs() <= 0.1 + 1e-7).all()
    assert bent(near) > bent(far)


def test_an_attack_leaves_the_gradients_of_the_parameters_alone():
    layer = torch.nn.Linear(3, 1)
    adversarial.fgsm(lambda b: layer(b.x_BLF).square().sum(), batch(), 0.1)
    assert layer.weight.grad is None


def test_the_attacked_half_of_the_loss_is_at_least_the_clean_one_for_a_linear_net():
    data, inputs = device_panel()
    chunks = torch.tensor([0, 1]), torch.tensor([20, 90])
    found = []
    for switches in (Switches(), Switches(attack="fgsm", epsilon=0.2)):
        torch.manual_seed(0)
        config = replace(Config.debug(), dropout=0.0, feature_dropout=0.0, coin_dropout=0.0)
        module = Module(config, inputs.width, 3)
        torch.nn.init.normal_(module.readout.wide.weight, std=0.3)
        training = replace(config.training, switches=switches)
        learner = steps.Learner.of(module, torch.optim.SGD(module.parameters(), lr=0.0), (0, 400), training)
        found.append(steps.step(learner, data, chunks).item())
    assert found[1] > found[0]


def test_the_curriculum_has_four_stages_by_the_training_slice_alone():
    shares = [curriculum.calm_share(s, 100) for s in (1, 20, 21, 50, 51, 75, 76, 100)]
    assert shares == [0.3, 0.3, 0.6, 0.6, 1.0, 1.0, 1.0, 1.0]
    data, _ = device_panel()
    T = data.listed_NT.shape[1]
    log_variance = torch.arange(3 * T).reshape(3, T).float()
    found = curriculum.thresholds(log_variance, data.listed_NT, (0, 300))
    oracle = np.concatenate([np.arange(300) + n * T for n in range(3)])
    assert found == {0.3: pytest.approx(np.quantile(oracle, 0.3)), 0.6: pytest.approx(np.quantile(oracle, 0.6)), 1.0: math.inf}
    log_variance[:, 300:] = 1e9
    assert curriculum.thresholds(log_variance, data.listed_NT, (0, 300)) == found


def test_an_early_stage_has_no_truth_at_volatile_bars_and_all_inputs():
    data, _ = device_panel()
    log_variance = torch.randn(data.listed_NT.shape)
    lessons = curriculum.Lessons(data, (0, 300), log_variance)
    early = lessons.at(1, 100)
    ceiling = curriculum.thresholds(log_variance, data.listed_NT, (0, 300))[0.3]
    assert torch.isnan(early.log_rv_NT[log_variance > ceiling]).all()
    calm = log_variance <= ceiling
    torch.testing.assert_close(early.direction_NT4[calm], data.direction_NT4[calm], equal_nan=True)
    assert early.x_NTF is data.x_NTF
    assert lessons.at(60, 100) is data
    assert curriculum.Lessons(data, (0, 300), None).at(1, 100) is data


@pytest.mark.parametrize(
    "switches",
    [
        Switches(schedule="one_cycle"),
        Switches(label_smoothing=0.1, focal_gamma=2.0),
        Switches(dropout_ramp=True, curriculum=True),
        Switches(attack="fgsm"),
        Switches(attack="pgd"),
    ],
    ids=str,
)
def test_every_switch_trains_and_comes_back_from_its_checkpoint(switches):
    panel, fold = _planted.panel(500), _planted.fold(500)
    config = replace(Config.debug(), training=replace(Config.debug().training, min_steps=8, max_steps=8, switches=switches))
    checkpoint = MODEL.fit(panel, fold, preset="debug", seed=1, recorder=Silent(), config=config)
    assert MODEL.read_config(checkpoint.config) == config
    assert np.isfinite(MODEL.predict(checkpoint, panel, fold.test).p_up_HTN).all()


def test_wrong_values_are_named():
    with pytest.raises(SettingsError, match=r"label_smoothing is 1.5: choose a number from 0.0 to 1.0"):
        Switches(label_smoothing=1.5)
    with pytest.raises(SettingsError, match="choose one of none, fgsm, pgd"):
        Switches(attack="noise")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="switch one of them off"):
        steps.compiled(Module(Config.debug(), 5, 3), Training(compile="on", switches=Switches(dropout_ramp=True)))


def device_panel() -> tuple[DevicePanel, Inputs]:
    panel = _planted.panel(500)
    inputs = Inputs.fit(panel, lags=4, indicators=False)
    return DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu")), inputs
