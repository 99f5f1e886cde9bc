"""`demo`: the whole graph on the simulated market, and how close each model comes to the best forecast there is."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from crypto_assets.cli.build import JOBS, MORE, materialise, served
from crypto_assets.market.errors import SettingsError
from crypto_assets.settings import Settings, load

screen = Console(stderr=True)
WIDTH = 150
"""Least width of the result tables where the output is not a terminal, which rich takes for 80 columns."""


def run(*, days: int, market: str, seed: int, preset: str | None, lake: Path | None, all_sources: bool) -> dict[str, Any]:
    """Materialise `days` days ending yesterday, print the table, return the JSON of the contract.

    With `all_sources`, also the last 30 days of every further raw table, keyed ones with a key the sandbox takes; then fewer
    days than the first fold needs are enough, and only the tables are made.
    """
    from crypto_assets.lake import Lake
    from crypto_assets.orchestration.access import adopt

    started = time.perf_counter()
    last = load().last_day
    start = last - timedelta(days=days - 1)
    settings = load(world="sandbox", market=market, seed=seed, preset=preset, lake=lake, start=start)
    if days <= settings.warmup_days and not all_sources:
        raise SettingsError(
            f"--days {days}: the first walk-forward fold begins {settings.warmup_days} days after the first day; "
            f"take at least {settings.warmup_days + 1}"
        )
    settings = adopt(settings)
    if all_sources:
        settings = settings.with_sandbox_keys()
    screen.print(
        f"sandbox market {market}, seed {seed}: {len(settings.symbols)} coins, "
        f"{settings.first_day} to {settings.last_day}, lake {Path(settings.lake).resolve()}",
        highlight=False,
    )
    with PeakMemory() as memory, served(settings) as ready:
        write_oracle(ready)
        jobs = (MORE, *JOBS) if all_sources else JOBS  # what candles are compared with comes before them
        ran = materialise(ready, (ready.first_day, ready.last_day), jobs)
    has_scores = days > settings.warmup_days
    result = (read_scores(Lake(settings.lake)) if has_scores else {}) | {
        "seconds": round(time.perf_counter() - started, 1),
        "assets": len(ran.assets),
        "partitions": len(ran.partitions),
        "events": ran.events,
        "peak_rss_mb": round(memory.peak / 2**20),
    }
    _show(result, settings)
    return result


def write_oracle(settings: Settings) -> None:
    """p* and the best variance forecast, beside the layers: for the κ column only, refused as an input."""
    from crypto_assets.lake import Lake
    from crypto_assets.lake.store import write_parquet
    from crypto_assets.market.time import Window
    from crypto_assets.sandbox.simulator import SimulatedMarket

    window = Window.of_days(settings.first_day, settings.last_day)
    best = SimulatedMarket(settings.market, settings.seed).oracle(window.start, window.end)
    write_parquet(Lake(settings.lake).root / "oracle" / "p_star.parquet", best)


def read_scores(lake: Any) -> dict[str, Any]:
    """The JSON the evaluation asset wrote."""
    import json

    return json.loads((lake.root / "backtests" / "evaluation.json").read_text())


def _show(result: dict[str, Any], settings: Settings) -> None:
    from crypto_assets.evaluation.tables import show

    if "direction" in result:
        show(result, screen if screen.is_terminal else Console(stderr=True, width=WIDTH))
    lake = Path(settings.lake)
    option = "" if lake == Path("data_lake") else f" --lake {lake}"
    arguments = f" ARGS='{option.strip()}'" if option else ""
    screen.print(
        f"\n{result['assets']} assets, {result['partitions']:,} daily and fold partitions, {result['events']:,} events, "
        f"{result['seconds']:.0f} s, peak memory {result['peak_rss_mb'] / 1024:.1f} GB",
        highlight=False,
    )
    if "direction" in result:
        screen.print(f"report     {(lake / 'reports' / 'latest.html').resolve().as_uri()}", highlight=False, soft_wrap=True)
    screen.print(
        f"lineage    make ui{arguments}     then http://127.0.0.1:3000 (Dagster) and http://127.0.0.1:5000 (MLflow)",
        highlight=False,
    )
    sql = "SELECT symbol, count(*) AS hours FROM curated.candles GROUP BY 1"
    screen.print(f'tables     .venv/bin/crypto-assets query{option} "{sql}"', highlight=False, soft_wrap=True)


class PeakMemory:
    """Peak resident memory of this process and its children, sampled."""

    def __init__(self, every: float = 0.5) -> None:
        self.every = every
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._stop.wait(self.every):
            total = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.Error:
                    continue
            self.peak = max(self.peak, total)
