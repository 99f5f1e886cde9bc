"""One small lake, built once by the demo command itself and shared by the tests that read it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DAYS, WARMUP = 44, 16


@dataclass(frozen=True)
class Built:
    """A lake the demo has built, and what the command said."""

    lake: Path
    result: dict
    stderr: str


def crypto_assets(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTO_ASSETS_") and k != "DAGSTER_HOME"}
    env |= {"CRYPTO_ASSETS_WARMUP_DAYS": str(WARMUP), **environment}
    command = [sys.executable, "-m", "crypto_assets.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=900, check=False)


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """`crypto-assets demo` over a few weeks with debug-sized nets."""
    folder = tmp_path_factory.mktemp("demo")
    out = folder / "demo.json"
    arguments = ["demo", "--days", str(DAYS), "--preset", "debug", "--lake", str(folder / "lake"), "--json", str(out)]
    done = crypto_assets(*arguments)
    assert done.returncode == 0, done.stderr[-4000:]
    return Built(folder / "lake", json.loads(out.read_text()), done.stderr)
