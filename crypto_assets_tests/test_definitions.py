"""The code location: what assets there are and what hangs on what, as a text a review can read; jobs, checks and schedules.

The snapshot is `crypto_assets_tests/snapshots/assets.txt`. After a change that is meant, write it anew and read the difference:

    UPDATE_SNAPSHOTS=1 .venv/bin/python -m pytest crypto_assets_tests/test_definitions.py
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from crypto_assets.definitions import build_defs
from crypto_assets.lake import TABLES, Lake, world
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR, midnight
from crypto_assets.orchestration.access import stamp
from crypto_assets.settings import Settings
from crypto_assets.sources import discover
from crypto_assets.trading.strategy import STRATEGIES

START = date(2024, 1, 1)
SNAPSHOT = Path(__file__).parent / "snapshots" / "assets.txt"
TABLE_LAYERS = ("raw", "curated", "features", "labels", "forecasts", "fusion")
TABLES_OF_BACKTESTS = (
    *(f"backtests/{name}" for name in ("equity", "trades", "orders", "summary")),
    *(f"backtests/{name}" for name in STRATEGIES),
)
WEDNESDAY = date(2024, 3, 6)
MAX_DAILY = 25
"""Design: at most 25 daily assets, so that a year of them backfills in minutes."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("CRYPTO_ASSETS_")]:
            patch.delenv(name)
        yield Settings(lake=tmp_path_factory.mktemp("definitions"), start=START)


@pytest.fixture(scope="module")
def defs(settings) -> dg.Definitions:
    return build_defs(settings)


@pytest.fixture(scope="module")
def nodes(defs) -> dict[str, object]:
    graph = defs.resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in sorted(graph.get_all_asset_keys())}


@pytest.fixture(scope="module")
def checks(defs) -> dict[str, dict[str, bool]]:
    """Asset -> its checks -> whether they block."""
    graph = defs.resolve_asset_graph()
    found: dict[str, dict[str, bool]] = {}
    for key in graph.asset_check_keys:
        found.setdefault(key.asset_key.to_user_string(), {})[key.name] = graph.get(key).blocking
    return found


def partitions(definition: object) -> str:
    """How an asset is partitioned; the last fold depends on the day the tests run, so the folds' first is named."""
    if definition is None:
        return "none"
    if isinstance(definition, dg.DailyPartitionsDefinition):
        return f"days from {definition.start:%Y-%m-%d}"
    first, second = definition.get_partition_keys()[:2]
    return f"folds from {first}, {second}, ..."


def mapping(found: object) -> str:
    if isinstance(found, dg.TimeWindowPartitionMapping):
        same = found.start_offset == found.end_offset == 0
        return "same day" if same else f"days {found.start_offset:+d} to {found.end_offset:+d}"
    return {"AllPartitionMapping": "all", "NoneType": "same"}.get(type(found).__name__, type(found).__name__)


def described(name: str, node, checks: dict[str, bool]) -> str:
    policy = node.backfill_policy
    limit = policy and policy.max_partitions_per_run
    runs = "" if policy is None else f", at most {limit} a run" if limit else ", one run a range"
    lines = [
        name,
        f"  group {node.group_name}; owners {' '.join(sorted(node.owners))}; kinds {' '.join(sorted(node.kinds))}",
        f"  partitions {partitions(node.partitions_def)}{runs}",
    ]
    if node.pools:
        lines.append(f"  pool {' '.join(sorted(node.pools))}")
    if checks:
        lines.append("  checks " + ", ".join(f"{c} ({'blocks' if b else 'warns'})" for c, b in sorted(checks.items())))
    for parent in sorted(node.parent_keys):
        lines.append(f"  <- {parent.to_user_string()} ({mapping(node.partition_mappings.get(parent))})")
    return "\n".join(lines)


def test_assets_are_those_of_the_snapshot(nodes, checks):
    found = "\n\n".join(described(name, node, checks.get(name, {})) for name, node in nodes.items()) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(found)
    kept = SNAPSHOT.read_text()
    difference = "\n".join(difflib.unified_diff(kept.splitlines(), found.splitlines(), "snapshot", "now", lineterm="", n=3))
    assert found == kept, f"{difference}\n\nIf this is meant: UPDATE_SNAPSHOTS=1 python -m pytest {__file__}"


def test_every_asset_says_what_it_is(nodes):
    for name, node in nodes.items():
        assert len(node.description or "") > 20, name
        assert node.kinds, name
        assert node.owners, name
        assert node.group_name == name.split("/")[0] or name == "models/fusion", name


def test_every_table_shows_its_columns_and_has_a_schema_check_that_blocks(nodes, checks):
    tables = [name for name in nodes if name.split("/")[0] in TABLE_LAYERS or name in TABLES_OF_BACKTESTS]
    assert len(tables) > 30
    for name in tables:
        schema = nodes[name].metadata["dagster/column_schema"]
        columns = getattr(schema, "schema", schema).columns
        assert {"ts", "available_at"} <= {c.name for c in columns}, name
        assert checks.get(name, {}).get("schema") is True, name


def test_every_table_asset_has_the_name_of_its_table(nodes):
    for name in nodes:
        if name.split("/")[0] in ("raw", "curated", "features", "labels"):
            assert name in TABLES


def test_daily_assets_are_few(nodes):
    by_day = {n: node for n, node in nodes.items() if isinstance(node.partitions_def, dg.DailyPartitionsDefinition)}
    daily = [n for n, node in by_day.items() if node.tags.get("tier") != "more"]
    assert len(daily) <= MAX_DAILY, daily


def test_a_range_of_days_is_one_run(nodes):
    for name, node in nodes.items():
        if node.partitions_def is not None:
            assert node.backfill_policy == dg.BackfillPolicy.single_run(), name


def test_definitions_are_loadable_and_jobs_cover_every_asset_once(defs, nodes):
    dg.Definitions.validate_loadable(defs)
    covered = [k.to_user_string() for job in defs.jobs for k in defs.resolve_job_def(job.name).asset_layer.selected_asset_keys]
    assert sorted(covered) == sorted(nodes)
    once = {"ingest", "ingest_more", "train", "forecast", "latest", "backtest"}
    assert {job.name for job in defs.jobs} == once | {"monitor", "retrain", "parity"}


def test_every_job_runs_in_this_process(defs):
    for job in defs.jobs:
        assert defs.resolve_job_def(job.name).executor_def.name == "in_process", job.name


def ticked(defs, name: str, at: datetime):
    with dg.build_schedule_context(scheduled_execution_time=at, repository_def=defs.get_repository_def()) as context:
        return defs.resolve_schedule_def(name).evaluate_tick(context)


def at_tick(defs, name: str, day: date) -> datetime:
    """When a daily schedule ticks on `day`."""
    minute, hour = defs.resolve_schedule_def(name).cron_schedule.split()[:2]
    return midnight(day) + int(hour) * HOUR + timedelta(minutes=int(minute))


def days_of(request: dg.RunRequest) -> tuple[date, date]:
    """First and last day a run request is for."""
    if request.partition_key:
        return (date.fromisoformat(request.partition_key),) * 2
    ends = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    return tuple(date.fromisoformat(e) for e in ends)


@pytest.fixture(scope="module")
def ingested(defs) -> tuple[datetime, date, date]:
    """When the schedule asks for a range of days, and which."""
    at = at_tick(defs, "ingest_daily", WEDNESDAY + DAY)
    (request,) = ticked(defs, "ingest_daily", at).run_requests
    return at, *days_of(request)


def test_the_daily_run_reaches_to_the_newest_closed_day(ingested):
    assert ingested[2] == WEDNESDAY


def test_every_day_is_fetched_again_until_all_of_it_is_published(ingested):
    """The first day of the range is fetched for the last time: what is published later would never be seen."""
    at, first, _ = ingested
    for name, source in discover().items():
        if not source.is_core:
            continue
        row = source.table.empty().clear(1).with_columns(ts=pl.lit(midnight(first)), metric=pl.lit("TxCnt"))
        published = row.select(source.available_at).item()
        assert published <= at, f"{name} publishes {first} at {published}, after the last run for that day ({at})"


def test_every_day_is_labelled_again_until_its_returns_are_known(ingested):
    from crypto_assets.dataset import labels

    at, first, _ = ingested
    known = midnight(first) + DAY + labels.DERIVATION.lookahead
    assert known <= midnight(at.date()), f"labels of {first} need bars until {known}, the last run for that day is at {at}"


def test_schedules_come_in_the_order_of_the_lineage(defs):
    at = [at_tick(defs, name, WEDNESDAY) for name in ("ingest_daily", "forecast_daily", "backtest_daily")]
    assert at == sorted(set(at))


@pytest.mark.parametrize("name", ["forecast_daily", "train_weekly"])
def test_the_current_fold_is_the_newest(defs, nodes, name):
    (request,) = ticked(defs, name, datetime(2024, 3, 10, 5, tzinfo=UTC)).run_requests
    assert request.partition_key == nodes["models/lightgbm"].partitions_def.get_partition_keys()[-1]


def test_before_the_first_fold_nothing_is_trained(tmp_path):
    young = build_defs(Settings(lake=tmp_path, start=Settings().last_day - timedelta(days=20)))
    tick = ticked(young, "train_weekly", datetime(2024, 3, 10, 5, tzinfo=UTC))
    assert tick.run_requests == []
    assert "no fold has begun" in tick.skip_message


def test_a_stamped_lake_decides_its_world(tmp_path, settings):
    world.claim(Lake(tmp_path), stamp(settings.model_copy(update={"lake": tmp_path, "market": "null", "seed": 11})))
    access = build_defs(Settings(lake=tmp_path)).resources["access"]
    assert (access.settings.market, access.settings.seed, access.settings.first_day) == ("null", 11, START)
    with pytest.raises(SettingsError, match="belongs to the world"):
        build_defs(Settings(lake=tmp_path, world="live"))


def test_in_world_live_sources_are_limited_retried_and_must_stay_fresh(tmp_path):
    graph = build_defs(Settings(lake=tmp_path, world="live", start=START)).resolve_asset_graph()
    for name in discover():
        node = graph.get(dg.AssetKey(["raw", name]))
        assert node.freshness_policy is not None, name
        assert node.pools, name
        assert node.assets_def.op.retry_policy is not None, name
        assert node.backfill_policy == dg.BackfillPolicy.multi_run(30), name


def test_a_resource_can_be_replaced_in_one_call(settings):
    replaced = build_defs(settings, access="another").resources["access"]
    assert replaced == "another"
