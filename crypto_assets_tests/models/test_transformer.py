"""The Transformer: causal to the bit, blind to what is not listed, able to learn, the same under a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import Window
from crypto_assets.models._base import OUTPUTS
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.heads import Targets, Weights, counts, losses, total
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


def test_bars_that_are_not_listed_are_read_by_nobody():
    module, batch = random_module(), random_batch()
    garbage = batch.x_BLF + 100 * torch.randn_like(batch.x_BLF) * ~batch.listed_BL[..., None]
    for clean, dirty in zip(module(batch), module(batch._replace(x_BLF=garbage)), strict=True):
        assert torch.equal(clean[batch.listed_BL], dirty[batch.listed_BL])


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


def test_overfits_eight_samples():
    module = random_module(dropout=0.0, feature_dropout=0.0, coin_dropout=0.0).train()
    batch = random_batch(length=1, chunks=4)
    batch = Batch(
        batch.x_BLF.repeat(2, 1, 1) + torch.randn(8, 1, 7), batch.coin_B.repeat(2) % 4, torch.ones(8, 1, dtype=torch.bool)
    )
    y = torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1])[:, None]
    targets = Targets(y[..., None].expand(8, 1, 4), torch.full((8, 1, 3), torch.nan), y)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss = total(losses(module(batch), targets)[0], counts(targets), Weights())
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02


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


def test_fills_all_outputs_of_listed_rows_and_nothing_else(fitted):
    panel, fold, checkpoint = fitted
    listed = panel.listed_TN.copy()
    listed[-40:, 1] = False
    forecast = MODEL.predict(checkpoint, replace(panel, listed_TN=listed), fold.test)
    inside = listed[panel.slice(fold.test)]
    for field in FIELDS:
        assert (np.isfinite(getattr(forecast, field)) == inside).all(), field
    assert MODEL.outputs == frozenset(OUTPUTS)
    assert ((forecast.p_up_HTN[:, inside] > 0) & (forecast.p_up_HTN[:, inside] < 1)).all()
    assert (forecast.realised_var_TN[inside] > 0).all()


def test_a_delisted_coins_garbage_changes_nothing(fitted):
    panel, fold, _ = fitted
    listed = panel.listed_TN.copy()
    listed[300:500, 2] = listed[820:, 2] = False
    clean = replace(panel, listed_TN=listed)
    x, r = panel.x_TNF.copy(), panel.r_TN.copy()
    x[~listed] = 1e6
    r[~listed] = np.inf
    labels = {k: np.where(listed, v, 77.0) for k, v in panel.labels.items()}
    garbage = replace(clean, x_TNF=x, r_TN=r, labels=labels)
    forecasts = []
    for p in (clean, garbage):
        checkpoint = MODEL.fit(p, fold, preset="debug", seed=2, recorder=Silent())
        forecasts.append((checkpoint.version, MODEL.predict(checkpoint, p, fold.test)))
    assert forecasts[0][0] == forecasts[1][0]
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(forecasts[0][1], field), getattr(forecasts[1][1], field))


def test_forecasts_do_not_see_beyond_their_own_bar(fitted):
    panel, fold, checkpoint = fitted
    cut = 40
    window = panel.slice(fold.test)
    x, r, listed = panel.x_TNF.copy(), panel.r_TN.copy(), panel.listed_TN.copy()
    x[window.start + cut + 1 :] = 3.0
    r[window.start + cut + 1 :] = 0.5
    listed[window.start + cut + 1 :, 0] = False
    nothing = {k: np.full_like(v, np.nan) for k, v in panel.labels.items()}
    a = MODEL.predict(checkpoint, panel, fold.test)
    b = MODEL.predict(checkpoint, replace(panel, x_TNF=x, r_TN=r, listed_TN=listed, labels=nothing), fold.test)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(a, field)[..., : cut + 1, :], getattr(b, field)[..., : cut + 1, :])


def test_a_panel_with_just_enough_context_forecasts_the_same(fitted):
    panel, fold, checkpoint = fitted
    short = panel.cut(
        Window(fold.test.start - (MODEL.context_hours(Config.debug()) + 1) * (panel.ts[1] - panel.ts[0]).item(), fold.test.end)
    )
    a, b = MODEL.predict(checkpoint, panel, fold.test), MODEL.predict(checkpoint, short, fold.test)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=1e-5, atol=1e-7)


def test_a_coin_it_has_never_seen_gets_a_forecast(fitted):
    panel, fold, checkpoint = fitted
    forecast = MODEL.predict(checkpoint, replace(panel, symbols=("BTC", "ETH", "XYZ")), fold.test)
    known = MODEL.predict(checkpoint, panel, fold.test)
    np.testing.assert_array_equal(forecast.p_up_HTN[..., :2], known.p_up_HTN[..., :2])
    assert np.isfinite(forecast.p_up_HTN).all()


def test_without_any_label_it_says_the_base_rate(fitted):
    panel, fold, _ = fitted
    nothing = replace(panel, labels={k: np.full_like(v, np.nan) for k, v in panel.labels.items()})
    forecast = MODEL.predict(MODEL.fit(nothing, fold, preset="debug", seed=1, recorder=Silent()), panel, fold.test)
    np.testing.assert_allclose(forecast.p_up_HTN, 0.5)
    assert np.isfinite(forecast.realised_var_TN).all()


def test_missing_features_are_no_obstacle(fitted):
    panel, fold, _ = fitted
    x = panel.x_TNF.copy()
    x[np.random.default_rng(0).random(x.shape) < 0.3] = np.nan
    config = replace(Config.debug(), indicators=True)
    holes = replace(panel, x_TNF=x)
    checkpoint = MODEL.fit(holes, fold, preset="debug", seed=1, recorder=Silent(), config=config)
    assert np.isfinite(MODEL.predict(checkpoint, holes, fold.test).p_up_HTN).all()


def test_bad_input_is_named(fitted):
    panel, fold, _ = fitted
    with pytest.raises(SettingsError, match="debug, small, full"):
        MODEL.fit(panel, fold, preset="tiny", seed=1, recorder=Silent())
    with pytest.raises(SchemaError, match="no listed row in its train window"):
        MODEL.fit(replace(panel, listed_TN=np.zeros_like(panel.listed_TN)), fold, preset="debug", seed=1, recorder=Silent())
