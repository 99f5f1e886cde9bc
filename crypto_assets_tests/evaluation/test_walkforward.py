"""The walk-forward run: one path for all callers, nothing of the future anywhere, what is planted is found."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.evaluation import walkforward
from crypto_assets.evaluation.score import score
from crypto_assets.evaluation.walkforward import Combination, combine, fit_fold, predict_fold, run
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets.market.time import Window
from crypto_assets.models._base import Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Silent
from crypto_assets_tests.evaluation import market

PANEL, OPTIMUM = market.make(edge=0.3)
FOLDS = market.folds()[:2]
NAMES = ["base_rate", "logistic"]


@pytest.fixture(scope="module")
def walked():
    return run(PANEL, FOLDS, NAMES, preset="debug", seed=0)


def test_the_parts_give_what_the_run_gives(walked):
    rows = predict_fold(fit_fold(PANEL, FOLDS[1], "logistic", preset="debug", seed=0), PANEL, FOLDS[1])
    start = FOLDS[1].test.start
    assert_frame_equal(walked["logistic"].filter(walked["logistic"]["ts"] >= start), rows)


def test_every_listed_hour_of_every_test_window_is_forecast_once(walked):
    for rows in walked.values():
        assert rows.height == 2 * 14 * 24 * len(market.SYMBOLS) * 3
        assert not rows.select("symbol", "ts", "horizon").is_duplicated().any()
        assert rows["ts"].min() == FOLDS[0].test.start


def _spoilt(moment: datetime, *, labels_only: bool = False):
    """The panel with everything from `moment` on replaced by noise."""
    rng = np.random.default_rng(9)
    late = PANEL.ts >= np.datetime64(moment.replace(tzinfo=None), "us")

    def spoil(values):
        out = values.copy()
        out[late] = rng.normal(size=out[late].shape)
        return out

    labels = {k: spoil(v) for k, v in PANEL.labels.items()}
    if labels_only:
        return replace(PANEL, labels=labels)
    return replace(PANEL, x_TNF=spoil(PANEL.x_TNF), r_TN=spoil(PANEL.r_TN), labels=labels)


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_knows_nothing_after_its_validation_window(name):
    fold = FOLDS[0]
    versions = {fit_fold(p, fold, name, preset="debug", seed=0).version for p in (PANEL, _spoilt(fold.valid.end))}
    assert len(versions) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_reads_no_label_and_nothing_later(name):
    fold = FOLDS[0]
    checkpoint = fit_fold(PANEL, fold, name, preset="debug", seed=0)
    plain = predict_fold(checkpoint, PANEL, fold)
    assert_frame_equal(predict_fold(checkpoint, _spoilt(PANEL.ts[0].item().replace(tzinfo=UTC), labels_only=True), fold), plain)
    middle = fold.test.start + (fold.test.end - fold.test.start) / 2
    later = predict_fold(checkpoint, _spoilt(middle), fold)
    assert_frame_equal(later.filter(later["ts"] < middle), plain.filter(plain["ts"] < middle))


def test_the_planted_signal_is_found(walked, tmp_path):
    found = score(
        walked, PANEL, study=walked.study(PANEL, FOLDS, "sandbox"), lake=tmp_path, oracle=market.oracle(PANEL, OPTIMUM)
    )
    assert found["direction"]["1h"]["logistic"]["kappa"] > 0.95
    assert abs(found["direction"]["1h"]["base_rate"]["kappa"]) < 0.02
    assert found["direction"]["1h"]["base_rate"]["log_loss_skill"] == 0


def test_checkpoints_are_kept_and_progress_and_recorders_called(tmp_path):
    told, opened = [], []

    @contextmanager
    def factory(model, fold):
        opened.append((model, fold.name))
        yield Silent()

    found = run(
        PANEL,
        FOLDS,
        ["base_rate"],
        preset="debug",
        seed=0,
        progress=lambda *said: told.append(said),
        recorder_factory=factory,
        checkpoints=tmp_path,
    )
    assert [t[:2] for t in told] == opened == [("base_rate", f.name) for f in FOLDS]
    saved = [Checkpoint.load(tmp_path / "base_rate" / f.name).version for f in FOLDS]
    assert sorted(set(found["base_rate"]["model_version"])) == sorted(saved)


def test_the_declared_configuration_holds_nothing_that_was_found():
    checkpoint = fit_fold(PANEL, FOLDS[0], "base_rate", preset="debug", seed=0)
    checkpoint = replace(checkpoint, config={"width": 8, "seed": 3, "step": 120})
    assert walkforward.declared(checkpoint, "debug") == {"preset": "debug", "width": 8}


def _forecast(seed: int) -> Forecast:
    rng = np.random.default_rng(seed)
    f = Forecast.empty(PANEL.cut(FOLDS[0].test))
    for name in ("p_up_HTN", "p_beats_median_TN"):
        getattr(f, name)[:] = rng.uniform(0.2, 0.8, getattr(f, name).shape)
    f.realised_var_TN[:] = rng.uniform(1e-4, 1e-3, f.realised_var_TN.shape)
    return f


def test_a_combination_averages_logits_and_log_variances():
    a, b = _forecast(1), _forecast(2)
    made, used = combine({"a": a, "b": b}, {"ab": Combination(("a", "b"), ("a", "b"))})["ab"]
    odds = np.sqrt(a.p_up_HTN / (1 - a.p_up_HTN) * b.p_up_HTN / (1 - b.p_up_HTN))
    np.testing.assert_allclose(made.p_up_HTN, odds / (1 + odds))
    np.testing.assert_allclose(made.realised_var_TN, np.sqrt(a.realised_var_TN * b.realised_var_TN))
    assert used == ["a", "b"]


def test_a_combination_says_nothing_about_what_it_does_not_average():
    members = {"a": _forecast(1), "b": _forecast(2)}
    made = combine(members, {"p": Combination(("a", "b")), "v": Combination(variance=("a", "b"))})
    assert np.isnan(made["p"][0].realised_var_TN).all()
    assert np.isnan(made["v"][0].p_up_HTN).all()
    assert np.isnan(made["v"][0].p_beats_median_TN).all()
    assert np.isfinite(made["v"][0].realised_var_TN).all()


def test_a_whole_combination_needs_all_its_members_and_a_partial_one_does_not():
    wanted = {"whole": Combination(("a", "c")), "part": Combination(("a", "c"), whole=False)}
    assert {k: used for k, (_, used) in combine({"a": _forecast(1)}, wanted).items()} == {"part": ["a"]}
    assert combine({"b": _forecast(1)}, wanted) == {}


def test_the_run_makes_fused_of_the_trained_members(walked):
    assert list(walked) == ["base_rate", "logistic", "fused"]
    first = pl.col("ts") < FOLDS[0].test.end
    np.testing.assert_allclose(walked["fused"].filter(first)["p_up"], walked["logistic"].filter(first)["p_up"], atol=3e-3)
    assert walked.configs["fused"] == {"members": ["logistic"]}
    assert walked["fused"]["trained_until"].max() <= FOLDS[1].valid.end


def test_what_cannot_run_is_refused():
    with pytest.raises(SettingsError, match="one fold"):
        run(PANEL, [], NAMES, preset="debug", seed=0)
    with pytest.raises(SettingsError, match="unknown model"):
        run(PANEL, FOLDS, ["lightgmb"], preset="debug", seed=0)
    far = Window(datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC))
    checkpoint = fit_fold(PANEL, FOLDS[0], "base_rate", preset="debug", seed=0)
    with pytest.raises(CheckpointError, match="no hour"):
        walkforward.predict_window(checkpoint, PANEL, far)
    with pytest.raises(CheckpointError, match="no listed row"):
        fit_fold(PANEL.cut(FOLDS[1].test), FOLDS[0], "base_rate", preset="debug", seed=0)
