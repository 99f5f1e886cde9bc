"""`build`: the graph for a range of days, in this process, with a progress bar. The demo uses it too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.orchestration.run import Ran
from crypto_assets.settings import Settings, load

JOBS = ("ingest", "train", "forecast", "backtest")
MORE_DAYS = 30
"""Days of those tables that a demo takes."""
MORE = "ingest_more"
"""The job of the raw tables that the default graph does not need; it runs when it is asked for."""
screen = Console(stderr=True)


def run(
    *, world: str | None, first: date | None, last: date | None, select: str | None, symbols: str | None, lake: Path | None
) -> Ran:
    """Materialise `first` to `last`. In world sandbox the server is started and stopped around it."""
    from crypto_assets.orchestration.access import adopt

    if select is not None and select not in (*JOBS, MORE):
        raise SettingsError(
            f"--select {select!r}: choose one of {', '.join((*JOBS, MORE))}, or leave it out for the first four"
        )
    settings = adopt(load(world=world, lake=lake, symbols=symbols))
    if settings.world == "archive":
        first, last = _archive_days(settings, first, last)
    settings = adopt(load(world=settings.world, lake=lake, symbols=symbols, start=first if _is_new(settings) else None))
    days = (first or settings.first_day, last or settings.last_day)
    _check_days(settings, days)
    with served(settings) as ready:
        return materialise(ready, days, (select,) if select else JOBS)


def materialise(settings: Settings, days: tuple[date, date], jobs: Sequence[str]) -> Ran:
    """Run `jobs` for the days, and for the folds whose test windows they touch."""
    from crypto_assets.definitions import build_defs
    from crypto_assets.lake import Lake, world
    from crypto_assets.orchestration.access import folds, stamp
    from crypto_assets.orchestration.run import instance_of, run_job, size

    lake = Lake(settings.lake)
    world.claim(lake, stamp(settings))
    keys = [(days[0] + timedelta(days=n)).isoformat() for n in range((days[1] - days[0]).days + 1)]
    touched = [f.name for f in folds(settings) if f.test.start.date() <= days[1] and f.test.end.date() > days[0]]
    chosen = {
        "ingest": keys,
        MORE: keys[-MORE_DAYS:] if len(jobs) > 1 else keys,
        "train": touched,
        "forecast": touched,
        "backtest": None,
    }
    tables_only = tuple(job for job in jobs if job in ("ingest", MORE))
    if not touched and set(jobs) - set(tables_only):
        screen.print(
            f"no walk-forward fold begins before {days[1]}: only the tables are built "
            f"(folds begin {settings.warmup_days} days after {settings.first_day})"
        )
        jobs = tables_only
    ran = Ran()
    defs = build_defs(settings)
    with instance_of(lake) as instance, _bar() as bar:
        for job in jobs:
            partitions = chosen[job]
            task = bar.add_task(job, total=size(defs, job, len(partitions) if partitions else 1), what="")

            def listener(what: str, written: int, task: object = task) -> None:
                bar.update(task, advance=written, what=what)  # type: ignore[arg-type]

            run_job(defs, instance, job, partitions, ran, listener)
            bar.update(task, what="done")
    for failed in ran.failed_checks:
        screen.print(f"check: {failed}", style="yellow", markup=False, highlight=False)
    return ran


@contextmanager
def served(settings: Settings) -> Iterator[Settings]:
    """The settings with a running sandbox in them, where the world is the sandbox."""
    if settings.world != "sandbox":
        yield settings
        return
    from crypto_assets.sandbox.server import running

    with running(settings.market, settings.seed) as url:
        yield settings.model_copy(update={"sandbox_url": url})


def _is_new(settings: Settings) -> bool:
    from crypto_assets.lake import Lake, world

    return world.read(Lake(settings.lake)) is None


def _archive_days(settings: Settings, first: date | None, last: date | None) -> tuple[date, date]:
    from crypto_assets.dataset.assemble import raw_reader, span
    from crypto_assets.lake import Lake

    found = span(raw_reader(Lake(settings.lake), "archive", settings.symbols))
    if first is not None and first < found[0]:
        raise SettingsError(f"--from {first}: the imported candles begin on {found[0]}; start there or later")
    if last is not None and last > found[1]:
        raise SettingsError(f"--to {last}: the imported candles end on {found[1]}; end there or earlier")
    return first or found[0], last or found[1]


def _check_days(settings: Settings, days: tuple[date, date]) -> None:
    if days[1] < days[0]:
        raise SettingsError(f"--from {days[0]} is after --to {days[1]}: swap the two dates")
    if days[0] < settings.first_day:
        raise SettingsError(f"--from {days[0]}: this lake begins on {settings.first_day}; use another --lake for earlier days")
    if days[1] > load().last_day:
        raise LakeError(f"--to {days[1]}: that day has not closed yet; the last closed day is {load().last_day}")


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}"),
    )
    with Progress(*columns, console=screen) as bar:
        yield bar
