"""What every benchmark here shares: the machine's facts, medians, and where a result is kept.

A benchmark states its claim in its docstring, checks that what it measures is correct, measures both sides in turns where it
compares, prints its result as JSON and keeps it in `benchmarks/results/<name>.json`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COMMAND = [sys.executable, "-m", "crypto_assets.cli"]
LIBRARIES = ("dagster", "polars", "torch", "lightgbm")


def machine() -> dict[str, Any]:
    """Cores this process may use, memory, interpreter, the libraries that decide speed, and the thread limits that are set."""
    import psutil

    limits = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "cpu": _cpu(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        **{name.lower(): os.environ[name] for name in limits if name in os.environ},
    }


def keep(name: str, result: Mapping[str, Any]) -> None:
    """Print `result` with the machine's facts, and write it to `results/<name>.json`."""
    text = json.dumps({"benchmark": name, **result, "machine": machine()}, indent=1, default=str)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def median(values: Sequence[float], digits: int = 4) -> float:
    """The median, rounded."""
    return round(statistics.median(values), digits)


def require(condition: bool, what: str) -> None:
    """End with status 1 and a message when something that is about to be measured is not correct."""
    if not condition:
        sys.exit(f"not correct, so not measured: {what}")


def own_environment() -> dict[str, str]:
    """The environment without a DAGSTER_HOME, so that a lake keeps its own Dagster instance."""
    return {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}


def crypto_assets(*arguments: str) -> None:
    """Run `crypto-assets` in a fresh process; end with status 1 and its last lines when it fails."""
    command = [*COMMAND, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=own_environment(), check=False)
    tail = "\n".join(done.stderr.strip().splitlines()[-15:])
    require(done.returncode == 0, f"crypto-assets {' '.join(arguments)} ended with status {done.returncode}:\n{tail}")


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
