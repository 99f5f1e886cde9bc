"""The nightly check of `backtests/trades`: the last day, lived through on the wire, gives the batch's forecasts and trades."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from crypto_assets.lake import Lake
from crypto_assets.orchestration.access import Access

MODEL = "lightgbm"
KEY = dg.AssetCheckKey(dg.AssetKey(["backtests", "trades"]), "parity")
SELECTION = dg.AssetSelection.checks(KEY)
MINUTES = 30
DOC = "The last day through stream, features, forecasts and paper: the batch's forecasts bit for bit, its trades one for one"


def parity_check() -> dg.AssetChecksDefinition:
    """Run as the command line, because only that may start a sandbox."""

    @dg.asset_check(asset=KEY.asset_key, name=KEY.name, description=DOC, required_resource_keys={"access"})
    def parity(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        access: Access = context.resources.access
        day = last_day(access.lake)
        if day is None:
            return _said(False, reason=f"no day has both candles and forecasts of {MODEL} yet")
        return _run(access.lake, day)

    return parity


def last_day(lake: Lake) -> str | None:
    """The newest day with candles and forecasts whose day before is there too."""
    days = set(lake.days("curated/candles"))
    both = sorted(day for day in days & set(lake.days(f"forecasts/{MODEL}")))
    return both[-1].isoformat() if both else None


def _run(lake: Lake, day: str) -> dg.AssetCheckResult:
    with tempfile.TemporaryDirectory(prefix="parity-check-") as folder:
        out = Path(folder) / "parity.json"
        options = ["--from", day, "--to", day, "--model", MODEL, "--lake", str(lake.root), "--json", str(out)]
        command = [sys.executable, "-m", "crypto_assets.cli", "parity", *options]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60 * MINUTES, env=env)
        except subprocess.TimeoutExpired:
            return _said(False, day=day, reason=f"not done in {MINUTES} minutes")
        if not out.exists():
            return _said(False, day=day, reason=done.stderr.strip()[-500:])
        return verdict(day, json.loads(out.read_text()), done.returncode)


def verdict(day: str, found: dict[str, Any], status: int) -> dg.AssetCheckResult:
    """Of what the command wrote and how it ended: it passes where nothing differs and the status is 0."""
    texts = [d["text"] for d in found["differences"]]
    facts = {name: found[name] for name in ("forecasts", "trades", "hours", "tolerance")}
    largest = max(found["largest"].values())
    return _said(not texts and status == 0, day=day, reason="; ".join(texts) or "none", largest=largest, exit=status, **facts)


def _said(passed: bool, **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed, asset_key=KEY.asset_key, check_name=KEY.name, severity=dg.AssetCheckSeverity.WARN, metadata=metadata
    )
