"""Partitions: UTC days for tables, walk-forward folds for models."""

from dataclasses import dataclass

import dagster as dg

from crypto_assets.market.time import Window, midnight
from crypto_assets.orchestration.access import folds
from crypto_assets.settings import Settings


@dataclass(frozen=True)
class Partitions:
    """The two partition definitions every asset shares."""

    daily: dg.DailyPartitionsDefinition
    fold: dg.StaticPartitionsDefinition


def partitions(settings: Settings) -> Partitions:
    """Days from the lake's first, folds from the end of the warm-up."""
    names = [f.name for f in folds(settings)] or ["none-yet"]
    return Partitions(
        daily=dg.DailyPartitionsDefinition(start_date=settings.first_day.isoformat()),
        fold=dg.StaticPartitionsDefinition(names),
    )


def days(before: int = 0, after: int = 0) -> dg.TimeWindowPartitionMapping:
    """Partition D reads `before` days in front of it and `after` behind."""
    return dg.TimeWindowPartitionMapping(start_offset=-before, end_offset=after, allow_nonexistent_upstream_partitions=True)


def window_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Window:
    """The days of this run as one window."""
    keys = context.partition_keys
    from datetime import date

    ordered = sorted(date.fromisoformat(k) for k in keys)
    return Window(midnight(ordered[0]), Window.of_days(ordered[-1], ordered[-1]).end)
