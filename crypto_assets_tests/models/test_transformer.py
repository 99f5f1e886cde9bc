"""The Transformer: causal to the bit, blind to what is not listed, able to learn, the same under a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crypto_assets.models.tracking import Silent
from crypto_assets.models.training.device import Batch
from crypto_assets.models.transformer import MODEL, Config, Module, band_mask
from crypto_assets_tests.models import _planted

FIELDS = ("p_up_HTN", "mean_HTN", "log_var_HTN", "p_beats_median_TN", "realised_var_TN")


@pytest.fixture(scope="module")
def fitted():
    panel, fold = _planted.panel(), _planted.fold()
    return panel, fold, MODEL.fit(panel, fold, preset="debug", seed=1, recorder=Silent())


def random_module(seed: int = 0, **changes) -> Module:
    """A net with weights everywhere, the readout's too, so that nothing is zero by construction."""
    torch.manual_seed(seed)
    module = Module(replace(Config.debug(), **changes), inputs=7, coins=3).eval()
    for p in module.readout.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return module


def random_batch(length: int = 60, chunks: int = 4) -> Batch:
    g = torch.Generator().manual_seed(5)
    listed = torch.rand(chunks, length, generator=g) > 0.2
    return Batch(torch.randn(chunks, length, 7, generator=g), torch.arange(chunks), listed)


def test_no_answer_depends_on_a_later_bar_to_the_last_bit():
    module, batch = random_module(), random_batch()
    at = 31
    changed = batch._replace(
        x_BLF=torch.cat([batch.x_BLF[:, : at + 1], torch.randn_like(batch.x_BLF[:, at + 1 :]) * 9], dim=1),
        listed_BL=torch.cat([batch.listed_BL[:, : at + 1], ~batch.listed_BL[:, at + 1 :]], dim=1),
    )
    for before, after in zip(module(batch), module(changed), strict=True):
        assert torch.equal(before[:, : at + 1], after[:, : at + 1])
        assert not torch.equal(before[:, at + 1 :], after[:, at + 1 :])


def test_context_is_exactly_what_the_module_says():
    module, batch = random_module(), random_batch()
    batch = batch._replace(listed_BL=torch.ones_like(batch.listed_BL))
    at = 50

    def answer(changed: int) -> torch.Tensor:
        x = batch.x_BLF.clone()
        x[:, changed] += 5.0
        return module(batch._replace(x_BLF=x)).logits_BL4[:, at]

    base = module(batch).logits_BL4[:, at]
    assert torch.equal(answer(at - module.context - 1), base)
    assert not torch.equal(answer(at - module.context), base)


def test_a_chunk_and_a_window_agree_at_the_same_bar():
    module, batch = random_module(), random_batch()
    window = Batch(batch.x_BLF[:, 20 : 20 + module.context + 1], batch.coin_B, batch.listed_BL[:, 20 : 20 + module.context + 1])
    torch.testing.assert_close(
        module(window).logits_BL4[:, -1], module(batch).logits_BL4[:, 20 + module.context], atol=1e-5, rtol=0
    )


def test_the_band_mask_matches_its_definition():
    window, length = 4, 12
    listed = torch.rand(2, length, generator=torch.Generator().manual_seed(1)) > 0.4
    mask = band_mask(listed, window)
    for b in range(2):
        for t in range(length):
            for k in range(2 * window):
                s = (t // window - 1) * window + k
                may = s == t or (s >= 0 and 0 <= t - s < window and bool(listed[b, s]))
                assert mask[b * 3 + t // window, 0, t % window, k] == may


def test_attention_is_readable_and_is_what_the_model_uses():
    module, batch = random_module(), random_batch(length=50)
    weights = module.attention(batch)
    config = module.config
    assert weights.shape == (config.layers, 4, config.heads, 50, config.window)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    listed, W = batch.listed_BL, config.window
    for t in (0, 5, 30, 49):
        for back in range(1, W):
            if t - back < 0:
                assert (weights[..., t, W - 1 - back] == 0).all()
            else:
                assert (weights[:, ~listed[:, t - back], :, t, W - 1 - back] == 0).all()
    block = module.blocks[0]
    h, turn, mask = module.enter(batch)
    v = block.attention.qkv(block.norm_read(h)).unflatten(-1, (3, config.heads, -1))[:, -50:, 2]
    padded = torch.nn.functional.pad(v, (0, 0, 0, 0, W - 1, 0)).unfold(1, W, 1)
    read = torch.einsum("bhlw,blhkw->blhk", weights[0], padded).flatten(2)
    used = block.attention(block.norm_read(h), turn, mask)[:, -50:]
    torch.testing.assert_close(block.attention.out(read), used, atol=1e-5, rtol=1e-4)


def test_recomputing_blocks_changes_no_gradient():
    gradients = []
    for recompute in (False, True):
        module = random_module(recompute=recompute, dropout=0.0, feature_dropout=0.0, coin_dropout=0.0).train()
        module(random_batch()).logits_BL4.square().mean().backward()
        gradients.append([p.grad for p in module.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_parameter_count_is_the_sum_of_the_parts():
    c = Config.debug()
    d, f = c.width, 7
    block = 3 * d * d + d * d + 2 * d * c.hidden + c.hidden * d + 2 * d
    expected = (f + 1) * d + (3 + 1) * d + c.layers * block + d + (d + 1) * 11 + f * 11
    assert sum(p.numel() for p in Module(c, inputs=f, coins=3).parameters()) == expected


def test_learns_the_planted_skill(fitted):
    panel, fold, checkpoint = fitted
    config = replace(Config.debug(), training=replace(Config.debug().training, passes=40, max_steps=250, min_steps=250))
    checkpoint = MODEL.fit(panel, fold, preset="debug", seed=1, recorder=Silent(), config=config)
    forecast = MODEL.predict(checkpoint, panel, fold.test)
    up = panel.cut(fold.test).up("1h")
    known = np.isfinite(up)
    p = forecast.p_up_HTN[0][known]
    loss = -(up[known] * np.log(p) + (1 - up[known]) * np.log(1 - p)).mean()
    assert loss < 0.66  # the planted optimum is near 0.59
