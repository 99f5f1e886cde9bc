"""`crypto-assets train`: nets fitted on the newest fold of a small planted lake, what is said and what is left behind."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.cli import train
from crypto_assets.lake import Lake, world
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.errors import SettingsError
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.training import state
from crypto_assets.settings import load, today
from crypto_assets_tests.models import _planted

DAYS, WARMUP = 46, 16


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A sandbox lake with matrix and labels to this morning: three folds, the newest just begun."""
    root = tmp_path_factory.mktemp("lake")
    start = today() - timedelta(days=DAYS)
    settings = load(lake=root, start=start, symbols=_planted.SYMBOLS, warmup_days=WARMUP)
    from crypto_assets.orchestration.access import stamp

    store = Lake(root)
    world.claim(store, stamp(settings))
    panel = _planted.panel(DAYS * 24)
    ts = np.datetime64(start, "us") + np.arange(DAYS * 24) * np.timedelta64(1, "h")
    keys = {"symbol": np.repeat(panel.symbols, len(ts)), "ts": np.tile(ts, len(panel.symbols))}
    matrix = pl.DataFrame({**keys, "return_1h": panel.r_TN.T.ravel()}).with_columns(
        pl.Series(c, panel.x_TNF[..., i].T.ravel()) for i, c in enumerate(panel.columns)
    )
    labels = pl.DataFrame({**keys, **{name: values.T.ravel() for name, values in panel.labels.items()}})
    for table, rows in (("features/matrix", matrix), ("labels/targets", labels)):
        rows = rows.with_columns(pl.col("ts").dt.replace_time_zone("UTC")).fill_nan(None)
        for (day,), part in rows.group_by(pl.col("ts").dt.date()):
            write_parquet(store.path(table, day), part)  # type: ignore[arg-type]
    return root


def trained(**asked):
    """What the command answers where it runs alone."""
    found = train.run(**asked)
    assert found is not None
    return found


@pytest.mark.slow
def test_trains_the_newest_fold_and_says_so_in_one_line(lake, capfd):
    found = trained(models=["transformer"], preset="debug", fold=None, search=0, lake=lake)
    (made,) = found["trained"]
    kept = Checkpoint.load(lake / "models" / "transformer" / f"fold={made['fold']}")
    assert kept.version == made["model_version"]
    assert made["parameters"] == kept.config["parameters"]
    assert not (lake / "models" / "transformer" / "training" / made["fold"]).exists()
    said = capfd.readouterr().err.strip().splitlines()
    assert f"{made['parameters']:,} parameters" in said[-1]
    assert len(said) <= 3
    json.dumps(found)


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on(lake, monkeypatch):
    class Killed(BaseException):
        pass

    keep = state.Keeper.save

    def save(self, run, *, now=False):
        keep(self, run, now=now)
        if run.step == 7:
            raise Killed

    ask = {"models": ["transformer"], "preset": "debug", "fold": None, "search": 0, "lake": lake}
    undisturbed = trained(**ask)["trained"][0]["model_version"]
    monkeypatch.setattr(state, "SECONDS", 0.0)
    monkeypatch.setattr(state.Keeper, "save", save)
    with pytest.raises(Killed):
        train.run(**ask)
    monkeypatch.undo()
    with pytest.warns(match="goes on after step 7"):
        resumed = trained(**ask)
    assert resumed["trained"][0]["model_version"] == undisturbed


@pytest.mark.slow
def test_searches_before_it_trains(lake):
    found = trained(models=["transformer"], preset="debug", fold=None, search=2, lake=lake)
    assert found["search"]["transformer"]["trials"] == 2
    chosen = found["search"]["transformer"]["params"]["training.lr"]
    made = Checkpoint.load(lake / "models" / "transformer" / f"fold={found['trained'][0]['fold']}")
    assert made.config["training"]["lr"] == chosen
    assert found["trained"][0]["fold"] not in found["search"]["transformer"]["folds"]


def test_what_it_cannot_train_is_named(lake):
    with pytest.raises(SettingsError, match="is not a net"):
        train.run(models=["logistic"], preset="debug", fold=None, search=0, lake=lake)
    with pytest.raises(SettingsError, match="no fold '2020-01-01': there are"):
        train.run(models=["transformer"], preset="debug", fold=["2020-01-01"], search=0, lake=lake)
