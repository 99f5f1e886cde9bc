"""The code location: every asset, check, job, schedule and resource, assembled from Settings.

Importing this module imports Dagster and polars and nothing heavier; torch, MLflow, ccxt and the rest load inside the steps.
"""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from crypto_assets.orchestration.access import Access, adopt
from crypto_assets.orchestration.assets.anomalies import anomaly_checks
from crypto_assets.orchestration.assets.backtests import backtest_assets
from crypto_assets.orchestration.assets.bundle import bundle_asset
from crypto_assets.orchestration.assets.latest import latest_asset
from crypto_assets.orchestration.assets.models import fusion_assets, model_assets
from crypto_assets.orchestration.assets.monitoring import monitoring_assets
from crypto_assets.orchestration.assets.parity import parity_check
from crypto_assets.orchestration.assets.tables import derived_asset, source_asset
from crypto_assets.orchestration.jobs import daily_schedule, jobs
from crypto_assets.orchestration.partitions import partitions
from crypto_assets.orchestration.retraining import retraining
from crypto_assets.orchestration.sensors import sensors
from crypto_assets.settings import Settings, load

# backfill_policy and partition mappings are marked beta for years; the versions are pinned, so their warning tells nothing.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection inside: what is made here lives as long as the process; looking through it costs a fifth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@_uncollected()
def build_defs(settings: Settings | None = None, **resources: Any) -> dg.Definitions:
    """The definitions for `settings` (by default: the environment, and the stamp of the lake it names).

    `resources` replaces resources by name, so a test assembles a changed code location in one call.
    """
    from crypto_assets.dataset.assemble import derivations
    from crypto_assets.features import families
    from crypto_assets.models.registry import MODELS, describe
    from crypto_assets.sources import discover

    settings = adopt(settings or load())
    parts = partitions(settings)
    assets = [source_asset(source, settings, parts) for source in discover().values()]
    assets += [derived_asset(derivation, parts) for derivation in derivations(list(families().values()))]
    for name in MODELS:
        assets += model_assets(name, describe(name), settings, parts)
    assets += fusion_assets(settings, parts)
    assets.append(bundle_asset(parts))
    assets.append(latest_asset())
    assets += backtest_assets(list(MODELS), settings)
    checks = [anomaly_checks(), parity_check()]
    assets += monitoring_assets([key for made in (*assets, *checks) for key in made.check_keys])
    all_jobs = jobs()
    more_sensors, more_schedules = retraining(all_jobs, settings)
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=all_jobs,
        schedules=[*daily_schedule(all_jobs, parts), *more_schedules],
        sensors=[*sensors(all_jobs, settings), *more_sensors],
        resources={"access": Access(settings), **resources},
    )


defs = build_defs()
