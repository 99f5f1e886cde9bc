"""The contract that every net keeps, one test for all: shapes, gaps, learning, bytes, causality, coins in any order."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from crypto_assets.evaluation.walkforward import CONTEXT
from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models._base import OUTPUTS
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import NETS
from crypto_assets.models.tracking import Silent
from crypto_assets.models.training.heads import Targets, Weights, counts, losses, total
from crypto_assets_tests.models import _nets, _planted
from crypto_assets_tests.models._nets import at

FIELDS = ("p_up_HTN", "mean_HTN", "log_var_HTN", "p_beats_median_TN", "realised_var_TN")
FOLD = _planted.fold()
net = pytest.mark.parametrize("name", NETS)


@cache
def market():
    """The planted market, one coin away for two weeks and again at the end."""
    panel = _planted.panel()
    panel.listed_TN[300:500, 2] = panel.listed_TN[820:, 2] = False
    return panel


def fit(name, panel, seed=1):
    return _nets.model(name).fit(panel, FOLD, preset="debug", seed=seed, recorder=Silent())


@cache
def fitted(name):
    return fit(name, market())


def predict(name, panel, checkpoint=None, window=FOLD.test):
    return _nets.model(name).predict(checkpoint or fitted(name), panel, window)


def same(a, b, **tolerance):
    for field in FIELDS:
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), **tolerance, err_msg=field)


@net
def test_every_bar_it_is_asked_for_is_answered(name):
    module = _nets.module(name)
    batch = _nets.batch(module, answered=9)
    heads, lead = module(batch), batch.x_BLF.shape[:-2]
    assert [h.shape for h in heads] == [(*lead, 9, *last) for last in ((4,), (3,), (3,), (), (4,))]


@net
def test_no_answer_depends_on_a_later_bar(name):
    module = _nets.module(name)
    batch = _nets.batch(module)
    last = module.lead + 21
    later = torch.arange(batch.x_BLF.shape[-2]) > last
    changed = batch._replace(
        x_BLF=torch.where(later[:, None], 9 * torch.randn_like(batch.x_BLF), batch.x_BLF),
        listed_BL=batch.listed_BL ^ later,
        edges_BLNNR=None if batch.edges_BLNNR is None else batch.edges_BLNNR * ~later[:, None, None, None],
    )
    before, after = module(batch), module(changed)
    for a, b in zip(at(before, slice(22)), at(after, slice(22)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    assert not torch.equal(at(before, slice(22, None)).logits_BL4, at(after, slice(22, None)).logits_BL4)


@net
def test_bars_that_are_not_listed_are_read_by_nobody(name):
    module = _nets.module(name)
    batch = _nets.batch(module)
    garbage = batch.x_BLF + 100 * torch.randn_like(batch.x_BLF) * ~batch.listed_BL[..., None]
    asked = batch.listed_BL[..., module.lead :]
    for clean, dirty in zip(module(batch), module(batch._replace(x_BLF=garbage)), strict=True):
        assert torch.equal(clean[asked], dirty[asked])


@net
def test_overfits_eight_samples(name):
    module = _nets.module(name, **_nets.STILL).train()
    batch = _nets.batch(module, answered=1, chunks=8, listed=1.0)
    up = torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1]).view(8, *(1,) * (batch.listed_BL.ndim - 1))
    up = up.expand(*batch.listed_BL.shape[:-1], 1)
    targets = Targets(up[..., None].expand(*up.shape, 4), torch.full((*up.shape, 3), torch.nan), up)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = total(losses(module(batch), targets)[0], counts(targets), Weights())
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@net
def test_fills_all_outputs_of_listed_rows_and_nothing_else(name):
    forecast = predict(name, market())
    inside = market().listed_TN[market().slice(FOLD.test)]
    for field in FIELDS:
        assert (np.isfinite(getattr(forecast, field)) == inside).all(), field
    assert _nets.model(name).outputs == frozenset(OUTPUTS)
    assert ((forecast.p_up_HTN[:, inside] > 0) & (forecast.p_up_HTN[:, inside] < 1)).all()
    assert (forecast.realised_var_TN[inside] > 0).all()


@net
def test_one_seed_gives_one_checkpoint_and_another_seed_another(name):
    assert fit(name, market()).version == fitted(name).version
    assert fit(name, market(), seed=2).version != fitted(name).version


@net
def test_a_saved_checkpoint_forecasts_the_same(name, tmp_path):
    fitted(name).save(tmp_path)
    same(predict(name, market(), Checkpoint.load(tmp_path)), predict(name, market()), rtol=0)


@net
def test_forecasts_do_not_see_beyond_their_own_bar(name):
    panel, cut = market(), 40
    x, r, listed = panel.x_TNF.copy(), panel.r_TN.copy(), panel.listed_TN.copy()
    after = panel.slice(FOLD.test).start + cut + 1
    x[after:], r[after:], listed[after:, 0] = 3.0, 0.5, False
    nothing = {k: np.full_like(v, np.nan) for k, v in panel.labels.items()}
    a, b = predict(name, panel), predict(name, replace(panel, x_TNF=x, r_TN=r, listed_TN=listed, labels=nothing))
    for field in FIELDS:
        early = [getattr(f, field)[..., : cut + 1, :] for f in (a, b)]
        np.testing.assert_allclose(*early, rtol=1e-6, err_msg=field)


@net
def test_a_coin_that_is_away_leaves_nothing_behind(name):
    panel, g = market(), np.random.default_rng(0)
    x, r = panel.x_TNF.copy(), panel.r_TN.copy()
    x[~panel.listed_TN] = 1e6
    r[~panel.listed_TN] = g.normal(size=(~panel.listed_TN).sum())
    labels = {k: np.where(panel.listed_TN, v, 77.0) for k, v in panel.labels.items()}
    garbage = replace(panel, x_TNF=x, r_TN=r, labels=labels)
    checkpoint = fit(name, garbage)
    assert checkpoint.version == fitted(name).version
    same(predict(name, garbage, checkpoint), predict(name, panel), rtol=0)


@net
def test_a_panel_with_just_enough_context_forecasts_the_same(name):
    panel, window = market(), Window(FOLD.test.end - 30 * HOUR, FOLD.test.end)
    hours = _nets.model(name).context_hours(_nets.model(name).config_class.debug())
    short = panel.cut(Window(window.start - (hours + 1) * HOUR, window.end))
    assert len(short.ts) < len(panel.ts)
    same(predict(name, panel, window=window), predict(name, short, window=window), rtol=1e-5, atol=1e-7)


@net
def test_the_same_hours_are_forecast_the_same_whatever_else_is_asked(name):
    panel, window = market(), Window(FOLD.test.start + 31 * HOUR, FOLD.test.start + 50 * HOUR)
    a, b = predict(name, panel), predict(name, panel, window=window)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(a, field)[..., 31:50, :], getattr(b, field), rtol=1e-5, atol=1e-7, err_msg=field)


@net
def test_the_order_of_the_coins_does_not_matter(name):
    panel, order = market(), [2, 0, 1]
    turned = replace(
        panel,
        symbols=tuple(panel.symbols[n] for n in order),
        x_TNF=panel.x_TNF[:, order],
        r_TN=panel.r_TN[:, order],
        listed_TN=panel.listed_TN[:, order],
        labels={k: v[:, order] for k, v in panel.labels.items()},
    )
    a, b = predict(name, panel), predict(name, turned)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(a, field)[..., order], getattr(b, field), rtol=1e-4, atol=1e-7, err_msg=field)


@net
def test_a_coin_it_has_never_seen_gets_a_forecast(name):
    forecast = predict(name, replace(_planted.panel(), symbols=("BTC", "ETH", "XYZ")))
    assert np.isfinite(forecast.p_up_HTN).all()
    known = predict(name, _planted.panel())
    if not _nets.model(name).module_class.together:
        np.testing.assert_array_equal(forecast.p_up_HTN[..., :2], known.p_up_HTN[..., :2])


@net
def test_without_any_label_it_says_the_base_rate(name):
    nothing = replace(market(), labels={k: np.full_like(v, np.nan) for k, v in market().labels.items()})
    forecast = predict(name, _planted.panel(), fit(name, nothing))
    np.testing.assert_allclose(forecast.p_up_HTN, 0.5)
    assert np.isfinite(forecast.realised_var_TN).all()


@net
def test_missing_features_are_no_obstacle(name):
    x = _planted.panel().x_TNF
    x[np.random.default_rng(0).random(x.shape) < 0.3] = np.nan
    holes = replace(_planted.panel(), x_TNF=x)
    config = replace(_nets.model(name).config_class.debug(), indicators=True)
    checkpoint = _nets.model(name).fit(holes, FOLD, preset="debug", seed=1, recorder=Silent(), config=config)
    assert np.isfinite(predict(name, holes, checkpoint).p_up_HTN).all()


@net
def test_bad_input_is_named(name):
    with pytest.raises(SettingsError, match="debug, small, full"):
        _nets.model(name).fit(market(), FOLD, preset="tiny", seed=1, recorder=Silent())
    with pytest.raises(SchemaError, match="no listed row in its train window"):
        fit(name, replace(market(), listed_TN=np.zeros_like(market().listed_TN)))


@net
@pytest.mark.parametrize("preset", ["debug", "small", "full"])
def test_a_forecast_is_given_the_context_it_needs(name, preset):
    assert _nets.model(name).context_hours(_nets.model(name).preset(preset)) * HOUR <= CONTEXT


PARAMETERS = {"transformer": 25_391_000, "bi_lstm": 4_969_000, "cnn_lstm": 1_327_000, "graph": 127_000}
"""Of the full preset with 128 inputs and eight coins, within two percent."""


@net
def test_the_full_preset_has_the_size_that_is_stated(name):
    model = _nets.model(name)
    assert model.parameters(model.preset("full"), 128, 8) == pytest.approx(PARAMETERS[name], rel=0.02)
