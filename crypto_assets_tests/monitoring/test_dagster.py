"""The loop through real jobs and sensors: a break is judged, told, asked for, fitted, promoted, and rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import dagster as dg
import pytest

from crypto_assets.definitions import build_defs
from crypto_assets.lake import Lake
from crypto_assets.market.time import DAY
from crypto_assets.monitoring import state
from crypto_assets.monitoring.tables import MonitoringChallengers, MonitoringPromotions
from crypto_assets.settings import Settings
from crypto_assets_tests.monitoring import lakes
from crypto_assets_tests.monitoring import timetravel as tt

pytestmark = pytest.mark.slow

SEED = 4
JUDGED = tt.BREAK.replace(hour=0) + 16 * DAY
WHY = "crypto_assets/why"


@dataclass
class World:
    """A lake and its code location, with one Dagster instance."""

    settings: Settings
    defs: dg.Definitions
    instance: dg.DagsterInstance
    panel: object
    champion: object
    told: list

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def run(self, job: str, **tags: str) -> dg.ExecuteInProcessResult:
        return self.defs.resolve_job_def(job).execute_in_process(instance=self.instance, tags=tags)

    def tick(self) -> dg.SensorExecutionData:
        with dg.build_sensor_context(instance=self.instance, definitions=self.defs) as context:
            return self.defs.resolve_sensor_def("retrain_on_decay").evaluate_tick(context)

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        return {e.check_name: e.passed for e in result.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from crypto_assets.evaluation.model_registry import ModelRegistry

    first, panel, _ = tt.begin(SEED, True)
    lake = tmp_path_factory.mktemp("loop")
    with lakes.webhook() as (url, told), dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        for name in ("CRYPTO_ASSETS_LAKE", "CRYPTO_ASSETS_MLFLOW_URI"):
            patch.delenv(name, raising=False)
        settings = Settings(lake=lake, world="archive", start=tt.START.date(), preset="debug", alert_urls=url)
        ModelRegistry(settings).register(first.champion)
        lakes.write(Lake(lake), panel, first.champion, tt.START, JUDGED)
        yield World(settings, build_defs(settings), instance, panel, first.champion, told)


@pytest.fixture(scope="module")
def judged(world) -> dg.ExecuteInProcessResult:
    return world.run("monitor")


def test_before_anything_was_judged_nothing_is_asked_for(world):
    assert "nothing was judged" in world.tick().skip_message


def test_the_break_shows_in_the_checks_with_pictures(world, judged):
    assert judged.success
    verdict = world.checks(judged)
    assert verdict["no_decay"] is False
    assert verdict["features"] is True
    assert verdict["schema"] is True
    pictured = [e for e in judged.get_asset_check_evaluations() if "picture" in e.metadata]
    assert {e.check_name for e in pictured} >= {"features", "forecasts", "no_decay", "better_than_a_coin", "coverage", "fresh"}
    for evaluation in pictured:
        assert evaluation.metadata["picture"].value.startswith("![")


def test_the_alert_reached_the_webhook_once(world, judged):
    world.run("monitor")
    titles = [m["title"] for m in world.told]
    assert titles.count("[critical] the champion is to be replaced") == 1


@pytest.fixture(scope="module")
def retrained(world, judged) -> dg.RunRequest:
    (request,) = world.tick().run_requests
    assert world.run("retrain", **request.tags).success
    return request


def test_the_sensor_asks_for_a_retrain_that_says_why(world, retrained):
    assert retrained.tags[WHY].startswith("decay: the 1 h loss")
    (run,) = world.instance.get_runs(dg.RunsFilter(job_name="retrain"))
    assert run.tags[WHY] == retrained.tags[WHY]
    row = state.recent(world.lake, MonitoringChallengers).row(-1, named=True)
    assert row["why"] == retrained.tags[WHY]
    assert abs(row["fitted_from"] - tt.BREAK) < 8 * DAY


def test_it_does_not_ask_again_while_the_challenger_is_in_shadow(world, retrained):
    skipped = world.tick()
    assert not skipped.run_requests
    assert "have passed" in skipped.skip_message
    with dg.build_schedule_context(scheduled_execution_time=JUDGED, repository_def=world.defs.get_repository_def()) as context:
        weekly = world.defs.resolve_schedule_def("retrain_weekly").evaluate_tick(context)
    assert "is in shadow" in weekly.skip_message


@pytest.fixture(scope="module")
def promoted(world, retrained):
    from crypto_assets.evaluation.model_registry import ModelRegistry

    kept = ModelRegistry(world.settings)
    challenger = kept.get("challenger").bundle
    for week in (1, 2, 3, 4, 5):
        lakes.write(world.lake, world.panel, world.champion, JUDGED, JUDGED + timedelta(weeks=week))
        assert world.run("monitor").success
        if kept.get("champion").bundle == challenger:
            break
    return kept, challenger


def test_the_challenger_is_promoted_when_its_shadow_says_so(world, promoted):
    kept, challenger = promoted
    assert kept.get("champion").bundle == challenger
    assert kept.get("champion").tags["gate"] == "promote"
    rows = state.recent(world.lake, MonitoringPromotions)
    assert rows["verdict"].to_list()[-1] == "promote"
    assert rows["verdict"].to_list()[0] == "wait"
    assert rows["p"][-1] < 0.05 / 3


def test_the_state_tells_all_of_it(world, promoted):
    told = state.read(world.lake, JUDGED + 35 * DAY)
    assert told["in_shadow"] is None
    assert told["promotions"][-1]["verdict"] == "promote"
    assert {row["metric"] for row in told["live"]} >= {"accuracy", "log_loss", "skill", "ece", "excess"}
    assert any(a.key.startswith("promoted") for a in state.alerts(told))


def test_a_rollback_is_one_step(world, promoted):
    kept, _ = promoted
    assert kept.rollback().bundle == world.champion.version


def test_a_failed_run_is_told_once(world):
    from crypto_assets.orchestration.retraining import told_of

    empty = Settings(lake=world.settings.lake / "nothing", world="archive", start=tt.START.date())
    result = build_defs(empty).resolve_job_def("monitor").execute_in_process(instance=world.instance, raise_on_error=False)
    assert not result.success
    run = world.instance.get_run_by_id(result.run_id)
    failure = next(e for e in result.all_events if e.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context("alert_on_failure", failure, world.instance, run).for_run_failure()
    before = len(world.told)
    assert told_of(world.lake, world.settings, context)
    assert not told_of(world.lake, world.settings, context)
    assert world.told[-1]["title"] == "[critical] job monitor failed"
    assert len(world.told) == before + 1
