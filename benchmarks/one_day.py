"""Claim: one new day goes through ingest, features and forecast in at most 60 s in a warm environment.

How: a lake that ends the day before the newest closed one is built first (or the one given by `--lake`, from `crypto-assets
demo`, is copied; the original is left alone). Then, per repeat, the newest day's partitions are removed from the copy and
the two commands a schedule would run are timed in fresh processes: `crypto-assets build --from D --to D --select ingest`, then
`--select forecast`. The sandbox server's start is included, for a lake of that world.

Checked after each repeat: `features/matrix`, `labels/targets` and `fusion/fused` have the day, with a row for every coin and
hour that `curated/candles` has.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

from _record import crypto_assets, keep, median, require

from crypto_assets.lake import Lake
from crypto_assets.market.time import Window
from crypto_assets.settings import DEMO_DAYS, load

LIMIT = 60.0
HORIZONS = 3
DAILY_LAYERS = ("raw", "curated", "features", "labels")
STAGES = ("ingest", "forecast")


def main() -> None:
    """Measure, check, keep the result; status 1 when the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", type=Path, help="a lake of `crypto-assets demo` (default: build one that lacks the day)")
    parser.add_argument("--days", type=int, default=DEMO_DAYS, help=f"days of the lake that is built (default {DEMO_DAYS})")
    parser.add_argument("--repeats", type=int, default=3, help="times the day is materialised (default 3)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        prepare(lake, given.lake, given.days)
        day = newest_closed(lake)
        runs = []
        for _ in range(given.repeats):
            remove(lake, day)
            runs.append({stage: timed(lake, day, stage) for stage in STAGES})
            check(lake, day)
        tables = len(lake.tables())
    seconds = median([sum(run.values()) for run in runs], 1)
    result = {
        "claim": f"a new day: ingest -> features -> forecast <= {LIMIT:g} s",
        "built_days": None if given.lake else given.days,
        "tables": tables,
        "repeats": given.repeats,
        "seconds": seconds,
        "seconds_of_runs": [round(sum(run.values()), 1) for run in runs],
        **{f"{stage}_seconds": median([run[stage] for run in runs], 1) for stage in STAGES},
        "limit": LIMIT,
        "passed": seconds <= LIMIT,
    }
    keep("one_day", result)
    sys.exit(0 if result["passed"] else 1)


def prepare(lake: Lake, given: Path | None, days: int) -> None:
    """A copy of the lake given, or a new one that ends the day before yesterday."""
    if given is not None:
        require((given / "world.json").exists(), f"{given} is not a lake: build one with `crypto-assets demo --lake {given}`")
        shutil.copytree(given, lake.root)
        return
    last = load().last_day - timedelta(days=1)
    first = last - timedelta(days=days - 2)
    crypto_assets("build", "--world", "sandbox", "--from", str(first), "--to", str(last), "--lake", str(lake.root))


def newest_closed(lake: Lake) -> date:
    """The day that is materialised: yesterday, next to the days the lake has."""
    day, days = load().last_day, lake.days("curated/candles")
    require(bool(days) and days[-1] >= day - timedelta(days=1), f"the lake ends on {days[-1:]}, not {day} or before it")
    return day


def remove(lake: Lake, day: date) -> None:
    """Take the day out of every table, so that each repeat writes it for the first time."""
    for path in lake.root.glob(f"*/*/date={day.isoformat()}"):
        shutil.rmtree(path)


def timed(lake: Lake, day: date, stage: str) -> float:
    """Seconds of one stage in a fresh process."""
    started = time.perf_counter()
    crypto_assets("build", "--from", str(day), "--to", str(day), "--select", stage, "--lake", str(lake.root))
    return time.perf_counter() - started


def check(lake: Lake, day: date) -> None:
    """The day is there, whole, in the tables that matter; decision times lie an hour after the bar's open."""
    window = Window.of_days(day, day)
    bars = lake.scan("curated/candles", window.start - timedelta(hours=1), window.end - timedelta(hours=1)).collect().height
    require(bars > 0, f"curated/candles has no bars for {day}")
    for table, rows_of_bar in (("features/matrix", 1), ("labels/targets", 1), ("fusion/fused", HORIZONS)):
        found = lake.scan(table, window.start, window.end).collect().height
        require(found == bars * rows_of_bar, f"{table} has {found} rows on {day}, expected {bars} x {rows_of_bar}")
    for layer in DAILY_LAYERS:
        for table in (lake.root / layer).glob("*"):
            require((table / f"date={day.isoformat()}").is_dir(), f"{layer}/{table.name} has no partition for {day}")


if __name__ == "__main__":
    main()
