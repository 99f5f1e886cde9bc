"""The search goes through the same folds and the same score as everything else, and goes on where it was killed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from crypto_assets.dataset.folds import Fold
from crypto_assets.evaluation.ledger import Ledger
from crypto_assets.evaluation.search import SPACE, Span, changed, search, search_folds
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import Window
from crypto_assets.models.tracking import Silent
from crypto_assets.models.transformer import MODEL, Config
from crypto_assets_tests.models import _planted

HOURS = 600
NARROW = {"training.lr": Span(1e-3, 4e-3, log=True), "dropout": Span(0.0, 0.3)}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A preset that trains in a blink."""
    training = replace(Config.debug().training, min_steps=6, max_steps=6, evaluations=6, patience=9)
    monkeypatch.setattr(Config, "debug", classmethod(lambda cls: cls(width=8, window=8, hidden=8, training=training)))


def run(lake, trials, **options):
    options = {"space": NARROW, "world": "sandbox", **options}
    folds = options.pop("folds", [_planted.fold(HOURS)])
    return search(_planted.panel(HOURS), folds, "transformer", preset="debug", seed=1, trials=trials, lake=lake, **options)


class Memory(Silent):
    """Remembers what a trial reports."""

    def __init__(self) -> None:
        self.seen: dict = {}
        self.final: dict = {}
        self.curves: list[str] = []

    def params(self, values) -> None:
        self.seen |= values

    def curve(self, name, step, value) -> None:
        self.curves.append(name)

    def metrics(self, values) -> None:
        self.final |= values


def test_every_completed_trial_is_in_the_ledger_and_reported_and_the_best_is_the_least(tmp_path):
    recorders: list[Memory] = []

    @contextmanager
    def recorder(_trial):
        recorders.append(Memory())
        yield recorders[-1]

    found = run(tmp_path, 3, recorder_factory=recorder)
    rows = Ledger(tmp_path).trials()
    assert found.completed == len(rows) == 3
    losses = [r.final["log_loss"] for r in recorders]
    assert found.value == pytest.approx(min(losses))
    best = next(r for r in rows if r["config"]["training"]["lr"] == found.params["training.lr"])
    assert best["config"] == json.loads(json.dumps(best["config"])) | {"preset": "debug"}
    assert found.config.training.lr == found.params["training.lr"]
    assert {"planted_train_loss", "planted_valid_log_loss_1h"} <= set(recorders[0].curves)
    assert recorders[0].seen["training.lr"] == Config.debug().training.lr  # the preset itself is tried first


def test_a_search_goes_on_to_the_number_asked_and_tries_again_what_it_was_killed_in(tmp_path):
    class Killed(BaseException):
        pass

    tried: list[float] = []

    @contextmanager
    def recorder(trial):
        memory = Memory()
        yield memory
        tried.append(memory.seen["training.lr"])

    @contextmanager
    def die_in_the_second(trial):
        memory = Memory()
        yield memory
        if trial == 1:
            tried.append(memory.seen["training.lr"])
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path, 3, recorder_factory=die_in_the_second)
    found = run(tmp_path, 3, recorder_factory=recorder)
    assert tried[0] == tried[1]
    assert found.completed + found.pruned == 3
    assert run(tmp_path, 2, recorder_factory=recorder).value == found.value  # nothing left to do
    assert len(tried) == 3


def test_hopeless_trials_are_pruned_and_not_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("crypto_assets.evaluation.search.STARTUP", 1)
    monkeypatch.setattr("crypto_assets.evaluation.search.WARMUP", 1)
    good = replace(Config.debug(), training=replace(Config.debug().training, lr=0.1))
    monkeypatch.setattr(Config, "debug", classmethod(lambda cls: good))
    found = run(tmp_path, 5, space={"training.lr": Span(1e-9, 0.1, log=True)})  # most of it learns nothing
    assert found.pruned > 0
    assert len(Ledger(tmp_path).trials()) == found.completed == 5 - found.pruned


def test_the_hold_out_and_the_newest_fold_are_never_searched_on(tmp_path):
    first = _planted.fold(HOURS)
    folds = [_later(first, days) for days in (0, 6, 12)]
    assert [f.name for f in search_folds(folds, tmp_path, "sandbox", 1)] == [folds[1].name]
    Ledger(tmp_path).declare(folds[1].test)
    assert search_folds(folds, tmp_path, "archive", 2) == [folds[0]]
    with pytest.raises(SettingsError, match="to search on"):
        search_folds(folds[1:], tmp_path, "archive", 2)
    with pytest.raises(SettingsError, match="lies in the locked hold-out"):
        run(tmp_path, 1, folds=[folds[1]], world="archive")


def test_only_nets_can_be_searched_and_every_name_of_the_space_is_one_of_theirs(tmp_path):
    with pytest.raises(SettingsError, match="choose a net"):
        search(
            _planted.panel(HOURS), [_planted.fold(HOURS)], "logistic", preset="debug", seed=1, trials=1, lake=tmp_path,
            world="sandbox",
        )  # fmt: skip
    config = changed(MODEL.preset("small"), {k: s.low for k, s in SPACE.items()})
    assert config.training.lr == SPACE["training.lr"].low
    assert config.dropout == 0.0


def _later(fold: Fold, days: int) -> Fold:
    by = timedelta(days=days)
    moved = (Window(w.start + by, w.end + by) for w in (fold.valid, fold.test))
    return Fold(f"{fold.name}-{days}", Window(fold.train.start, fold.train.end + by), *moved)
