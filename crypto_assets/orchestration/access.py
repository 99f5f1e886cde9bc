"""What a step reaches: the settings, the lake, the HTTP client, MLflow. Made once a process, opened when first used."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from crypto_assets.dataset.folds import Fold, fold_starts, walk_forward
from crypto_assets.lake import Lake, world
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY
from crypto_assets.settings import Settings, load, today


class Access:
    """The one resource of every asset."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lake = Lake(settings.lake)

    @cached_property
    def http(self):
        """The HTTP client of the world."""
        from crypto_assets.sources._http import Http

        return Http.of(self.settings)

    def now(self) -> datetime:
        """The time of the world: the server's in world sandbox, else this machine's."""
        return self.http.now() if self.settings.world == "sandbox" else datetime.now(UTC)

    @contextmanager
    def tracked(self, experiment: str, name: str, **tags: str) -> Iterator:
        """One MLflow run."""
        from crypto_assets.models.tracking import mlflow_run

        with mlflow_run(self.settings.tracking_uri, experiment, name, tags) as recorder:
            yield recorder


def stamp(settings: Settings) -> world.World:
    """The world these settings ask for."""
    sandbox = settings.world == "sandbox"
    return world.World(
        world=settings.world,
        market=settings.market if sandbox else None,
        seed=settings.seed if sandbox else None,
        fold=settings.fold_length,
        start=settings.first_day.isoformat(),
        symbols=list(settings.symbols),
        warmup_days=settings.warmup_days,
    )


def adopt(settings: Settings) -> Settings:
    """The settings a lake implies: what its stamp says, where nothing else was asked for explicitly.

    Raises SettingsError when something explicit contradicts the stamp, naming both.
    """
    found = world.read(Lake(settings.lake))
    if found is None:
        return settings
    stamped: dict[str, Any] = {"world": found.world, "market": found.market, "seed": found.seed, "fold": found.fold}
    for name, value in stamped.items():
        if value is not None and name in settings.model_fields_set and getattr(settings, name) not in (value, None):
            raise SettingsError(
                f"the lake {settings.lake} belongs to the world ({found}), asked was {name} = {getattr(settings, name)!r}: "
                f"use another folder with --lake or CRYPTO_ASSETS_LAKE, or drop {name}"
            )
    kept = {"symbols": tuple(found.symbols), "warmup_days": found.warmup_days}
    stamped |= {name: value for name, value in kept.items() if name not in settings.model_fields_set}
    asked = {name: getattr(settings, name) for name in settings.model_fields_set}
    return load(**{**asked, **{k: v for k, v in stamped.items() if v is not None}, "start": date.fromisoformat(found.start)})


def folds(settings: Settings) -> list[Fold]:
    """Every fold that has begun by today; the last one is still open."""
    first_test = first_test_day(settings)
    starts = fold_starts(first_test, today(), settings.fold_length)
    if not starts:
        return []
    last = fold_starts(starts[-1], starts[-1] + timedelta(days=32), settings.fold_length)[1]
    return walk_forward(settings.first_day, first_test, last - DAY, settings.fold_length)


def first_test_day(settings: Settings) -> date:
    """First day of the first fold: after the warm-up, on the first of a month where folds are months."""
    day = settings.first_day + timedelta(days=settings.warmup_days)
    if settings.fold_length == "month" and day.day != 1:
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day
