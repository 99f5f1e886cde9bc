"""The contract that every baseline keeps, one test for all: shapes, gaps, bytes, causality, no look at the test labels."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from crypto_assets.dataset.panel import Panel
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models import registry
from crypto_assets.models._base import OUTPUTS, Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Silent
from crypto_assets_tests.models import _planted

BASELINES = sorted(set(registry.MODELS) - {*registry.NETS})
PROBABILITIES = ("p_up", "p_beats_median")


@cache
def market() -> Panel:
    """The planted market with what real ones have: a coin listed late, missing hours, features now and then missing."""
    g = np.random.default_rng(11)
    panel = _planted.panel(hours=1200)
    panel.listed_TN[:500, 2] = False
    panel.listed_TN[g.integers(30, 1200, 25), g.integers(0, 3, 25)] = False
    panel.x_TNF[g.random(panel.x_TNF.shape) < 0.02] = np.nan
    panel.x_TNF[~panel.listed_TN] = np.nan
    panel.r_TN[~panel.listed_TN | (g.random(panel.r_TN.shape) < 0.01)] = np.nan
    for name, label in panel.labels.items():
        label[~panel.listed_TN] = np.nan
        if name.startswith("ret"):
            label[g.random(label.shape) < 0.01] = 0.0
    return panel


FOLD = _planted.fold(1200)


def fit(name: str, panel: Panel, seed: int = 5) -> Checkpoint:
    return registry.load(name).fit(panel, FOLD, preset="debug", seed=seed, recorder=Silent())


@cache
def fitted(name: str) -> Checkpoint:
    return fit(name, market())


def predict(name: str, checkpoint: Checkpoint, panel: Panel, window: Window = FOLD.test) -> Forecast:
    return registry.load(name).predict(checkpoint, panel, window)


def fields(forecast: Forecast) -> dict[str, np.ndarray]:
    return {
        "p_up": forecast.p_up_HTN,
        "mean": forecast.mean_HTN,
        "log_var": forecast.log_var_HTN,
        "p_beats_median": forecast.p_beats_median_TN,
        "realised_var": forecast.realised_var_TN,
    }


def assert_same(one: Forecast, other: Forecast) -> None:
    for name, value in fields(one).items():
        np.testing.assert_array_equal(value, fields(other)[name], err_msg=name)


@pytest.mark.parametrize("name", BASELINES)
def test_it_forecasts_what_it_declares_on_listed_rows_and_nothing_else(name):
    panel, model = market(), registry.load(name)
    forecast = predict(name, fitted(name), panel)
    listed = panel.cut(FOLD.test).listed_TN
    assert model.name == name
    assert model.outputs <= set(OUTPUTS)
    assert not listed.all()
    np.testing.assert_array_equal(forecast.ts, panel.cut(FOLD.test).ts)
    for output, value in fields(forecast).items():
        assert value.shape[-2:] == listed.shape
        said = np.isfinite(value)
        expected = np.broadcast_to(listed, value.shape) if output in model.outputs else np.zeros_like(said)
        np.testing.assert_array_equal(said, expected, err_msg=output)
        if output in PROBABILITIES:
            assert ((value[said] > 0) & (value[said] < 1)).all()
        if output == "realised_var":
            assert (value[said] > 0).all()
    forecast.table(name, "v", fitted(name).trained_until, listed)


@pytest.mark.parametrize("name", BASELINES)
def test_saved_and_loaded_it_forecasts_the_same_bytes(name, tmp_path):
    loaded = Checkpoint.load(fitted(name).save(tmp_path / name))
    assert loaded.version == fitted(name).version
    assert_same(predict(name, fitted(name), market()), predict(name, loaded, market()))


@pytest.mark.parametrize("name", BASELINES)
def test_the_same_seed_gives_the_same_bytes(name):
    assert fit(name, market()).version == fitted(name).version


@pytest.mark.parametrize("name", BASELINES)
def test_only_training_and_validation_are_learned_from(name):
    """What lies after validation, and in the purge before it, may be anything."""
    panel = market()
    g = np.random.default_rng(0)
    valid, train = panel.slice(FOLD.valid), panel.slice(FOLD.train)
    labels = {k: v.copy() for k, v in panel.labels.items()}
    for label in labels.values():
        label[valid.stop :] = g.choice([np.nan, 1e6, -1e6], size=label[valid.stop :].shape)
        label[train.stop : valid.start] = g.choice([np.nan, 1e6, -1e6], size=label[train.stop : valid.start].shape)
    x, r = panel.x_TNF.copy(), panel.r_TN.copy()
    x[valid.stop :], r[valid.stop :] = 1e6, 1e3
    assert fit(name, replace(panel, labels=labels, x_TNF=x, r_TN=r)).version == fitted(name).version


@pytest.mark.parametrize("name", BASELINES)
def test_the_future_does_not_move_a_forecast(name):
    panel, test = market(), FOLD.test
    cut = Window(test.start, test.start + 40 * HOUR)
    stop = panel.slice(cut).stop
    x, r = panel.x_TNF.copy(), panel.r_TN.copy()
    x[stop:], r[stop:] = 7.0, 0.5
    late = replace(panel, x_TNF=x, r_TN=r, labels={k: np.full_like(v, np.nan) for k, v in panel.labels.items()})
    assert_same(predict(name, fitted(name), panel, cut), predict(name, fitted(name), late, cut))
    assert_same(
        predict(name, fitted(name), panel, cut), predict(name, fitted(name), panel.cut(Window(FOLD.train.start, cut.end)), cut)
    )


@pytest.mark.parametrize("name", [b for b in BASELINES if b != "ewma"])
def test_one_hour_alone_is_forecast_like_the_same_hour_among_others(name):
    panel, test = market(), FOLD.test
    hour = Window(test.start + 30 * HOUR, test.start + 31 * HOUR)
    whole, alone = predict(name, fitted(name), panel), predict(name, fitted(name), panel, hour)
    for output, value in fields(whole).items():
        np.testing.assert_allclose(value[..., 30:31, :], fields(alone)[output], rtol=2e-5, err_msg=output)


@pytest.mark.parametrize("name", BASELINES)
def test_other_columns_coins_and_models_are_refused(name):
    panel, checkpoint = market(), fitted(name)
    with pytest.raises(CheckpointError, match=r"unknown to it: \['f.other'\]"):
        predict(name, checkpoint, replace(panel, columns=(*panel.columns[:-1], "f.other")))
    with pytest.raises(CheckpointError, match="coins"):
        predict(name, checkpoint, replace(panel, symbols=("BTC", "ETH", "ADA")))
    with pytest.raises(CheckpointError, match="checkpoint of another"):
        predict(name, replace(checkpoint, model="another"), panel)


@pytest.mark.parametrize("name", BASELINES)
def test_a_fold_without_listed_rows_is_an_error_that_says_so(name):
    empty = replace(market(), listed_TN=np.zeros_like(market().listed_TN))
    with pytest.raises(CheckpointError, match="no listed row in its training window"):
        fit(name, empty)


@pytest.mark.parametrize("name", ["logistic", "lightgbm", "har_x"])
def test_a_column_that_is_null_throughout_training_is_dropped_and_named(name):
    assert fitted(name).dropped == ("f.empty",)


@pytest.mark.parametrize("name", ["logistic", "lightgbm"])
def test_planted_skill_is_found(name):
    panel = market().cut(FOLD.test)
    up = panel.up("1h")
    p = predict(name, fitted(name), market()).p_up_HTN[0]
    known = np.isfinite(up) & np.isfinite(p)
    base = predict("base_rate", fitted("base_rate"), market()).p_up_HTN[0][known]
    loss = {"model": p[known], "base": base}
    loss = {k: -np.mean(np.where(up[known] == 1, np.log(v), np.log1p(-v))) for k, v in loss.items()}
    assert loss["model"] < loss["base"] - 0.01


def test_the_registry_lists_what_it_can_load():
    assert set(registry.DIRECTION) | set(registry.VOLATILITY) == set(registry.MODELS)
    assert set(registry.TRAINED) <= set(registry.MODELS)
    for name in BASELINES:
        outputs = registry.load(name).outputs
        assert (name in registry.DIRECTION) == ("p_up" in outputs)
        assert (name in registry.VOLATILITY) == ("realised_var" in outputs)


def test_an_unknown_model_is_refused_with_near_names():
    with pytest.raises(SettingsError, match="did you mean har_x"):
        registry.load("har_xx")
