"""Bundles and their registry: the same answers after a round trip, one champion, a way back, and nothing damaged is served."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from crypto_assets.evaluation import champion
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.evaluation.model_registry import CHALLENGER, CHAMPION, ModelRegistry
from crypto_assets.evaluation.walkforward import combine, forecast_window
from crypto_assets.lake import Lake
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets.settings import Settings
from crypto_assets_tests.evaluation import bundles, market


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> ModelRegistry:
    """One store for the tests below, which take it in their order."""
    return ModelRegistry(Settings(lake=tmp_path_factory.mktemp("registry")))


def test_a_bundle_answers_as_its_members_combined_and_the_same_after_a_round_trip(tmp_path):
    bundle, panel, window = bundles.fused(), bundles.planted(), market.folds()[0].test
    read = Bundle.load(bundle.save(tmp_path))
    assert (read.version, read.lineage) == (bundle.version, bundle.lineage)
    members = {name: forecast_window(c, panel, window) for name, c in bundle.members.items()}
    expected = combine(members)["fused"][0]
    found = champion.predict(read, panel, window)
    np.testing.assert_array_equal(found.combined.p_up_HTN, expected.p_up_HTN)
    np.testing.assert_array_equal(found.combined.realised_var_TN, expected.realised_var_TN)
    assert set(found.members) == set(bundle.members)


def test_one_member_alone_answers_as_itself():
    panel, window = bundles.planted(), market.folds()[0].test
    found = champion.predict(bundles.single(), panel, window).combined
    np.testing.assert_array_equal(found.p_up_HTN, forecast_window(bundles.fitted("logistic"), panel, window).p_up_HTN)


def test_the_version_follows_the_weights_and_not_the_lineage():
    one = bundles.fused()
    assert Bundle(one.name, one.members, one.combination, {"fold": "other"}).version == one.version
    assert len({one.version, bundles.fused(1).version, bundles.fused(members=("logistic",)).version}) == 3


def test_members_that_do_not_fit_together_are_refused():
    one = bundles.fused()
    with pytest.raises(CheckpointError, match="combines"):
        Bundle("fused", {"ewma": bundles.fitted("logistic")}, one.combination)
    with pytest.raises(CheckpointError, match="at least one"):
        Bundle("fused", {}, one.combination)


def test_a_damaged_bundle_is_refused(tmp_path):
    bundles.fused().save(tmp_path)
    header = tmp_path / "bundle.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"version": "0" * 16}))
    with pytest.raises(CheckpointError, match="says version"):
        Bundle.load(tmp_path)
    header.write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        Bundle.load(tmp_path)
    with pytest.raises(CheckpointError, match="no bundle"):
        Bundle.load(tmp_path / "nowhere")


def test_a_fold_is_bundled_from_the_checkpoints_there_are(tmp_path):
    names = [f.name for f in market.folds()]
    bundles.fitted("logistic").save(tmp_path / "models" / "logistic" / f"fold={names[0]}")
    bundles.fitted("har_x", 1).save(tmp_path / "models" / "har_x" / f"fold={names[1]}")
    bundle = champion.of_fold(Lake(tmp_path), names[1], world="test")
    assert bundle.lineage["folds"] == {"har_x": names[1], "logistic": names[0]}
    assert bundle.lineage["world"] == "test"
    assert bundle.lineage["revision"]
    assert set(champion.of_fold(Lake(tmp_path), names[0]).members) == {"logistic"}
    with pytest.raises(CheckpointError, match="job `train`"):
        champion.of_fold(Lake(tmp_path), names[0], "lightgbm")


def test_the_first_bundle_becomes_champion_and_the_next_a_challenger(registry):
    assert (registry.versions(), registry.promotions(), registry.aliased(CHAMPION)) == ([], [], None)
    with pytest.raises(SettingsError, match="none, train one"):
        registry.load()
    first = registry.register(bundles.fused(), alias=CHALLENGER)
    again = registry.register(bundles.fused(), alias=CHALLENGER)
    assert (first.number, first.aliases, again) == (1, (CHAMPION,), first)
    second = registry.register(bundles.fused(1), alias=CHALLENGER)
    assert (second.number, second.aliases) == (2, (CHALLENGER,))
    assert registry.load().version == bundles.fused().version
    assert registry.load(CHALLENGER).lineage["fold"] == market.folds()[1].name
    tags = second.tags
    assert tags["features_hash"] == bundles.fused(1).features_hash
    assert json.loads(tags["lineage"])["revision"] == "test"


def test_promotion_and_rollback_are_inverse(registry):
    promoted = registry.promote(2, reason="better")
    assert promoted.aliases == (CHAMPION,)
    assert registry.aliased(CHALLENGER) is None
    assert [p["version"] for p in registry.promotions()] == [1, 2]
    assert registry.promotions()[-1]["reason"] == "better"
    back = registry.rollback()
    assert (back.number, registry.load().version) == (1, bundles.fused().version)
    with pytest.raises(SettingsError, match="no earlier champion"):
        registry.rollback()
    with pytest.raises(SettingsError, match="1 \\(champion\\), 2"):
        registry.promote(9)


def test_files_that_are_not_what_was_registered_are_refused(registry):
    found = registry.register(bundles.single())
    header = Path(urlsplit(found.source).path) / "bundle.json"
    header.write_text(header.read_text().replace(found.bundle, "f" * 16))
    with pytest.raises(CheckpointError, match="register it again"):
        registry.load(found.number)


def test_the_commands(registry, monkeypatch, capsys, tmp_path):
    from typer.testing import CliRunner

    from crypto_assets.cli import app

    lake = registry.uri.removeprefix("sqlite:///").split("/.mlflow")[0]
    run = CliRunner()
    out = tmp_path / "list.json"
    assert run.invoke(app, ["model", "list", "--lake", lake, "--json", str(out)]).exit_code == 0
    listed = json.loads(out.read_text())
    assert [v["version"] for v in listed["versions"]] == [1, 2, 3]
    assert listed["versions"][0]["aliases"] == ["champion"]
    assert run.invoke(app, ["model", "promote", "2", "--lake", lake]).exit_code == 0
    assert '"version": 2' in run.invoke(app, ["model", "show", "--lake", lake]).output
    assert "version 1" in run.invoke(app, ["model", "rollback", "--lake", lake]).output
    with pytest.raises(SettingsError, match="nothing is registered"):
        run.invoke(app, ["model", "list", "--lake", str(tmp_path)], catch_exceptions=False)
