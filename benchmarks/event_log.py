"""Claim: Dagster's SQLite event log costs few enough milliseconds a partition that a year of the daily graph takes minutes.

How: a toy graph of assets as ours are (daily partitions, `BackfillPolicy.single_run`, row count in the metadata, one blocking
check each) whose steps do nothing, materialised over a range of days in one run, so that what is measured is the event log
and the executor around it. Two sides in turns, each in a lake of its own: `relaxed` through `orchestration.run.run_job` as
`build` and `demo` do it, `plain` through Dagster's own `execute_in_process`. Each side runs a short and a long range; the
cost of one partition of one asset is the difference between the two over the difference in partitions, so that what a run
costs once is left out (and given beside it). Extrapolated to 365 days of the daily assets that `build_defs` really has.

Checked first: both sides store the same events and every partition of every asset.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from _record import keep, median, require

from crypto_assets.definitions import build_defs
from crypto_assets.lake import Lake
from crypto_assets.orchestration.run import QUIET, Ran, instance_of, run_job
from crypto_assets.settings import Settings

START = date(2024, 1, 1)
YEAR = 365


def main() -> None:
    """Measure both sides in turns and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=4, help="assets of the toy graph (default 4)")
    parser.add_argument("--days", type=int, default=90, help="days of the long range (default 90)")
    parser.add_argument("--short", type=int, default=10, help="days of the short range (default 10)")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each side (default 3)")
    given = parser.parse_args()
    require(given.days > given.short > 1 and given.assets > 1, "--days must exceed --short, and --assets be 2 or more")
    defs = toy(given.assets)
    times: dict[tuple[str, int], list[float]] = {}
    events: dict[tuple[str, int], Counter[str]] = {}
    measured(plain, defs, given.short)  # the first run of a process imports and compiles: not counted
    for _ in range(given.repeats):
        for days in (given.short, given.days):
            for side, run in (("plain", plain), ("relaxed", relaxed)):
                seconds, stored = measured(run, defs, days)
                check(stored, given.assets, days)
                times.setdefault((side, days), []).append(seconds)
                events[side, days] = stored
    for days in (given.short, given.days):
        require(events["plain", days] == events["relaxed", days], "the two sides stored different events")
    keep("event_log", summary(times, events, given))


def toy(assets: int) -> dg.Definitions:
    """A chain of assets whose steps do nothing, and the job over them."""
    daily = dg.DailyPartitionsDefinition(start_date=START.isoformat())
    made = [link(n, daily) for n in range(assets)]
    job = dg.define_asset_job("toy", selection="*", executor_def=dg.in_process_executor)
    return dg.Definitions(assets=made, jobs=[job])


def link(n: int, daily: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The n-th asset of the chain."""
    key = ["toy", f"table_{n}"]

    @dg.asset(
        key=key,
        deps=[["toy", f"table_{n - 1}"]] if n else [],
        partitions_def=daily,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("schema", asset=dg.AssetKey(key), blocking=True)],
    )
    def nothing(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        verdict = dg.AssetCheckResult(passed=True, check_name="schema", metadata={"rows": 192})
        return dg.MaterializeResult(metadata={"dagster/row_count": 192, "columns": 30}, check_results=[verdict])

    return nothing


def plain(defs: dg.Definitions, instance: dg.DagsterInstance, keys: list[str]) -> None:
    """Dagster as it comes."""
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    defs.resolve_job_def("toy").execute_in_process(instance=instance, tags=tags, run_config=QUIET)


def relaxed(defs: dg.Definitions, instance: dg.DagsterInstance, keys: list[str]) -> None:
    """The way of `build` and `demo`."""
    run_job(defs, instance, "toy", keys, Ran(), lambda what, written: None)


Run = Callable[[dg.Definitions, dg.DagsterInstance, list[str]], None]


def measured(run: Run, defs: dg.Definitions, days: int) -> tuple[float, Counter[str]]:
    """Seconds of one run over `days` days in a new instance, and the events it stored, by type."""
    keys = [(START + timedelta(days=n)).isoformat() for n in range(days)]
    os.environ.pop("DAGSTER_HOME", None)  # each run in the instance of its own lake
    with tempfile.TemporaryDirectory() as folder, instance_of(Lake(folder)) as instance:
        started = time.perf_counter()
        run(defs, instance, keys)
        seconds = time.perf_counter() - started
        (only,) = instance.get_runs()
        stored = Counter(e.dagster_event.event_type_value for e in instance.all_logs(only.run_id) if e.dagster_event)
    return seconds, stored


def check(stored: Counter[str], assets: int, days: int) -> None:
    """Every partition of every asset was materialised, and the run ended well."""
    written = stored["ASSET_MATERIALIZATION"]
    require(written == assets * days, f"{written} materialisations are stored, expected {assets} x {days}")
    require(stored["PIPELINE_SUCCESS"] == 1, f"the run did not end well: {dict(stored)}")


def daily_assets() -> int:
    """How many assets of our own graph are partitioned by day."""
    with tempfile.TemporaryDirectory() as folder:
        graph = build_defs(Settings(lake=Path(folder), start=START)).resolve_asset_graph()
    daily = [k for k in graph.get_all_asset_keys() if isinstance(graph.get(k).partitions_def, dg.DailyPartitionsDefinition)]
    return len(daily)


def summary(
    times: dict[tuple[str, int], list[float]], events: dict[tuple[str, int], Counter[str]], given: argparse.Namespace
) -> dict[str, Any]:
    """Milliseconds a partition by side, their ratio, and the year."""
    ours = daily_assets()
    partitions = given.assets * (given.days - given.short)
    sides = {}
    for side in ("plain", "relaxed"):
        long, short = (median(times[side, days]) for days in (given.days, given.short))
        each = (long - short) / partitions
        sides[side] = {
            "seconds_long": long,
            "seconds_short": short,
            "ms_per_partition": round(1000 * each, 3),
            "ms_of_a_run": round(1000 * (short - each * given.assets * given.short), 1),
            "minutes_a_year": round(each * ours * YEAR / 60, 2),
        }
    more = sum(events["relaxed", given.days].values()) - sum(events["relaxed", given.short].values())
    return {
        "claim": "a year of daily partitions over the whole graph pays minutes of event log, not hours",
        "assets": given.assets,
        "days": [given.short, given.days],
        "repeats": given.repeats,
        "events_per_partition": round(more / partitions, 2),
        **sides,
        "speedup": round(sides["plain"]["ms_per_partition"] / max(sides["relaxed"]["ms_per_partition"], 1e-9), 2),
        "our_daily_assets": ours,
        "partitions_a_year": ours * YEAR,
    }


if __name__ == "__main__":
    main()
