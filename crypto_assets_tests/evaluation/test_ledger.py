"""The ledger counts each trial once, whatever the seed, and every read of the locked window."""

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.evaluation.ledger import HOLDOUT, Ledger, trial_hash
from crypto_assets.evaluation.score import score
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import Window
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


def test_the_holdout_is_read_where_test_windows_reach_into_it():
    late = market.folds(date(2024, 10, 15), date(2024, 11, 10))
    assert market.study(["a"], world="archive").inside(HOLDOUT) is None
    assert market.study(["a"], late).inside(None) is None
    part = market.study(["a"], late, world="archive").inside(HOLDOUT)
    assert (part.start, part.end.date()) == (HOLDOUT.start, date(2024, 11, 11))


def test_real_history_is_locked_by_default_and_the_sandbox_is_not(tmp_path):
    ledger = Ledger(tmp_path)
    assert ledger.lock("sandbox") is ledger.holdout is None
    assert ledger.lock("archive") == ledger.holdout == HOLDOUT
    assert ledger.lock("archive") == HOLDOUT
    assert (len(ledger), ledger.reads) == (0, 0)


def test_the_holdout_is_declared_once(tmp_path):
    ledger, mine = Ledger(tmp_path), Window.of_days(date(2024, 6, 1), date(2024, 6, 30))
    assert ledger.declare(mine) == ledger.declare(mine) == ledger.lock("archive") == mine
    with pytest.raises(SettingsError, match=r"declared as 2024-06-01 -> 2024-06-30, asked was 2024-11-01.*cannot be changed"):
        ledger.declare(HOLDOUT)


def test_days_that_were_tested_are_no_holdout(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(market.study(["a"]).trial("a"), {})
    with pytest.raises(SettingsError, match="1 trials were already tested inside 2024-05-09 -> 2024-06-01"):
        ledger.declare(Window.of_days(market.LAST, date(2024, 6, 1)))
    assert ledger.holdout is None
    assert ledger.declare(Window.of_days(date(2024, 5, 10), date(2024, 6, 1)))


def test_reads_stand_in_the_evaluation(tmp_path):
    panel, p = market.make()
    Ledger(tmp_path).declare(Window.of_days(date(2024, 5, 1), date(2024, 5, 31)))
    tables = {"a": market.table(panel, p=p)}
    found = [score(tables, panel, study=market.study(tables, world="archive"), lake=tmp_path) for _ in range(2)]
    assert [f["holdout"] for f in found] == [{"from": "2024-05-01", "to": "2024-05-09", "reads": n} for n in (1, 2)]
    assert found[1]["holdout_declared"] == {"from": "2024-05-01", "to": "2024-05-31", "reads": 2}
    early = market.study(tables, market.folds(date(2024, 3, 1), date(2024, 3, 20)), world="archive")
    outside = score(tables, panel, study=early, lake=tmp_path)
    assert (outside["holdout"], outside["holdout_declared"]["reads"]) == (None, 2)


def test_a_damaged_declaration_is_named(tmp_path):
    Ledger(tmp_path).declare(HOLDOUT)
    (tmp_path / "ledger" / "holdout" / "declared.json").write_text('{"from": "soon"}')
    with pytest.raises(LakeError, match=r"declared\.json is damaged"):
        Ledger(tmp_path).lock("archive")


def test_a_damaged_entry_is_named(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.record(market.study(["a"]).trial("a"), {})
    (tmp_path / "ledger" / "bad.json").write_text("{")
    with pytest.raises(LakeError, match=r"bad\.json"):
        ledger.trials()
