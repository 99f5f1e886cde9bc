"""The ledger counts each trial once, whatever the seed, and every read of the locked window."""

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.evaluation.ledger import HOLDOUT, Ledger, trial_hash
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets_tests.evaluation import market

PLAIN = st.recursive(st.integers() | st.text(max_size=3) | st.booleans() | st.none(), lambda v: st.lists(v, max_size=3))


def test_the_same_trial_overwrites_and_another_is_counted(tmp_path):
    ledger, study = Ledger(tmp_path), market.study(["a", "b"])
    assert len(ledger) == 0
    names = [ledger.record(study.trial("a"), {"x": k}) for k in (1, 2)]
    assert names[0] == names[1]
    assert (len(ledger), ledger.trials()[0]["results"]) == (1, {"x": 2})
    ledger.record(study.trial("b"), {})
    assert len(ledger) == 2


def test_a_file_lies_under_its_hash_and_says_what_was_tried(tmp_path):
    name = Ledger(tmp_path).record(market.study(["a"]).trial("a"), {"x": 1})
    row = json.loads((tmp_path / "ledger" / f"{name}.json").read_text())
    assert row["hash"] == name
    assert (row["model"], row["config"], row["features"]) == ("a", {"width": 1}, ["test.signal"])
    assert len(row["folds"]) == len(market.folds())


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=4).filter(lambda k: k not in ("seed", "seeds")), PLAIN, max_size=4), st.integers())
def test_seeds_are_no_part_of_a_trial(config, seed):
    plain = trial_hash({"config": {"inner": config}})
    assert trial_hash({"config": {"inner": {**config, "seed": seed, "seeds": [seed]}}}) == plain


def test_everything_else_is():
    study = market.study(["a"])
    others = [
        replace(study, features=("x",)),
        replace(study, symbols=("BTC",)),
        replace(study, folds=study.folds[:-1]),
        market.study(["a"], width=2),
    ]
    hashes = {trial_hash(s.trial("a")) for s in (study, *others)}
    assert len(hashes) == 5


def test_a_model_that_did_not_state_its_configuration_is_refused():
    with pytest.raises(SettingsError, match=r"'b'.*no configuration"):
        market.study(["a"]).trial("b")


def test_reads_of_the_holdout_are_counted_each_time(tmp_path):
    ledger = Ledger(tmp_path)
    assert [ledger.read_holdout(HOLDOUT, ["x"]) for _ in range(3)] == [1, 2, 3]
    assert len(ledger) == 0


def test_the_holdout_is_the_overlap_with_the_test_windows_on_real_history_only():
    late = market.folds(date(2024, 10, 15), date(2024, 11, 10))
    assert market.study(["a"], late, world="sandbox").holdout is None
    assert market.study(["a"], world="archive").holdout is None
    part = market.study(["a"], late, world="archive").holdout
    assert (part.start, part.end.date()) == (HOLDOUT.start, date(2024, 11, 11))


def test_a_damaged_entry_is_named(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(market.study(["a"]).trial("a"), {})
    (tmp_path / "ledger" / "bad.json").write_text("{")
    with pytest.raises(LakeError, match=r"bad\.json"):
        ledger.trials()
