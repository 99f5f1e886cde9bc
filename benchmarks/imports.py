"""Claim: importing `crypto_assets.definitions` takes at most 1.8 times as long as a bare `import dagster`.

How: fresh processes, one of each in turn, after one unmeasured pair that leaves the bytecode on disk; each times its own
import by the wall clock and by processor time. The ratio is of each pair, the verdict on the median of the wall-clock ratios.
The lake is an empty folder. Checked first: the import builds the whole graph (assets, jobs, schedules) and loads none of the
heavy libraries, which are for the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from _record import keep, median, require

LIMIT = 1.8
HEAVY = [
    *("torch", "torch_geometric", "mlflow", "ccxt", "sklearn", "numba", "antropy", "lightgbm", "scipy", "plotly", "fastapi"),
    *("praw", "pytrends", "optuna", "skfolio", "transformers", "onnxruntime", "pandera", "pyarrow", "duckdb", "pandas"),
]
TIMED = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import {module} as imported
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
found = {{"wall": wall, "cpu": cpu, "modules": len(sys.modules), "heavy": [m for m in {heavy!r} if m in sys.modules]}}
defs = getattr(imported, "defs", None)
if defs is not None:
    found["assets"] = len(defs.resolve_asset_graph().get_all_asset_keys())
    found["jobs"] = sorted(job.name for job in defs.jobs)
    found["schedules"] = len(defs.schedules)
print(json.dumps(found))
"""


def main() -> None:
    """Measure and keep the result; status 1 when the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="pairs of fresh processes (default 7)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as lake:
        warm = timed("crypto_assets.definitions", lake)
        timed("dagster", lake)
        check(warm)
        pairs = [(timed("dagster", lake), timed("crypto_assets.definitions", lake)) for _ in range(given.repeats)]
    ratios = {clock: median([ours[clock] / bare[clock] for bare, ours in pairs], 3) for clock in ("wall", "cpu")}
    result = {
        "claim": f"import crypto_assets.definitions <= {LIMIT} x import dagster",
        "repeats": given.repeats,
        "dagster_seconds": median([bare["wall"] for bare, _ in pairs]),
        "definitions_seconds": median([ours["wall"] for _, ours in pairs]),
        "ratio": ratios["wall"],
        "ratios": [round(ours["wall"] / bare["wall"], 3) for bare, ours in pairs],
        "ratio_cpu": ratios["cpu"],
        "limit": LIMIT,
        "passed": ratios["wall"] <= LIMIT,
        "modules": {"dagster": pairs[0][0]["modules"], "definitions": pairs[0][1]["modules"]},
        "heavy_loaded": warm["heavy"],
        "assets": warm["assets"],
    }
    keep("imports", result)
    sys.exit(0 if result["passed"] else 1)


def timed(module: str, lake: str) -> dict[str, Any]:
    """Import `module` in a fresh process; what it took and what it loaded."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTO_ASSETS_")}
    environment["CRYPTO_ASSETS_LAKE"] = lake
    code = TIMED.format(module=module, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"import {module} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def check(found: dict[str, Any]) -> None:
    """The graph is whole and no heavy library came with it."""
    require(found["assets"] >= 40, f"{found['assets']} assets are defined, expected 40 or more")
    require(
        found["jobs"] == ["backtest", "forecast", "ingest", "ingest_more", "latest", "train"], f"the jobs are {found['jobs']}"
    )
    require(found["schedules"] >= 1, "there is no schedule")
    require(not found["heavy"], f"importing the definitions loads {found['heavy']}")


if __name__ == "__main__":
    main()
