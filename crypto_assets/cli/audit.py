"""`audit`: the leak firewall over a lake, or over a simulated market where there is no lake yet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from crypto_assets.market.errors import AuditError, LakeError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.settings import load

if TYPE_CHECKING:
    import polars as pl

    from crypto_assets.audit import Auditable, Outcome, Sample
    from crypto_assets.features import FeatureFamily
    from crypto_assets.lake import Lake
    from crypto_assets.sources import Source

screen = Console(stderr=True)
WIDTH = 150
SIMULATED = Window(datetime(2023, 12, 6, tzinfo=UTC), datetime(2024, 1, 20, 1, tzinfo=UTC))
"""The turns of a month and of a year lie in it, and four folds of two weeks."""
OWN_SECONDS, FILE_SECONDS = 4.0, 20.0
"""CPU time for each thing of the package, and for each file of the user's."""
OWN_CUTS = 12
NO_LIMIT = 1e9
SNAPSHOTS = timedelta(days=10)
"""How far back snapshots are made of providers that keep no history: as if captured since then."""
MINUTE = timedelta(minutes=1)
MOST_LINES = 40


def run(*, features: Sequence[Path], cuts: int | None, lake: Path | None) -> dict[str, Any]:
    """Audit the families of `features` alone, or everything there is; print, return the JSON of the contract.

    Raises AuditError where a family's code fails on rows it must be able to read, and nothing leaks.
    """
    from crypto_assets.audit.findings import as_json

    started = time.perf_counter()
    sample = sample_of(lake)
    screen.print(
        f"{sample.origin}: {sample.window.start:%Y-%m-%d} to {sample.window.end:%Y-%m-%d}, {len(sample.symbols)} coins"
    )
    done = _files(features, sample, cuts) if features else _everything(sample, cuts)
    _show(done)
    for problem in [e for o in done for e in o.errors]:
        screen.print(f"error: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    result = as_json(done, data=sample.origin, seconds=round(time.perf_counter() - started, 1))
    return result


def fails(result: dict[str, Any]) -> None:
    """Raise AuditError where code failed and nothing leaks: there is no verdict then."""
    if result["errors"] and not result["leaks"]:
        raise AuditError(
            f"no verdict, {len(result['errors'])} recomputations failed; {result['errors'][0]}: correct its compute"
        )


def sample_of(lake: Path | None) -> Sample:
    """The last weeks of the lake's candles, or of the simulated market where the lake has none."""
    from crypto_assets.audit.sample import of_reader
    from crypto_assets.lake import Lake

    store = Lake(load(lake=lake).lake)
    try:
        return of_reader(Stored(store), f"lake {store.root}")
    except LakeError:
        if lake is not None and store.root.exists() and any(store.root.iterdir()):
            screen.print(f"the lake {store.root} has no candles: auditing on the simulated market instead", soft_wrap=True)
    return simulated()


def simulated() -> Sample:
    """Six weeks of the simulated market, all coins."""
    from crypto_assets.audit import Sample

    reader = Simulated()
    return Sample(reader, SIMULATED, reader.market.symbols, "simulated market standard, seed 7")


class Stored:
    """A lake, its imports included where nothing is materialised."""

    def __init__(self, lake: Lake) -> None:
        from crypto_assets.sources import discover

        self.lake = lake
        self.sources = {source.table.name: source for source in discover().values()}
        self._imported: dict[str, pl.DataFrame] = {}

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        from crypto_assets.lake import Frames, quarantine
        from crypto_assets.sources import _archive

        if self.lake.days(table) or table not in self.sources:
            return self.lake.scan(table, start, end)
        if table not in self._imported:
            source = self.sources[table]
            self._imported[table] = quarantine.split(source.table, _archive.read(self.lake, source)).good
        return Frames(self._imported).scan(table, start, end)


class Simulated:
    """The raw tables of the simulated market, each made when it is first read."""

    def __init__(self) -> None:
        from crypto_assets.sandbox.endpoints import tables
        from crypto_assets.sandbox.simulator import SimulatedMarket
        from crypto_assets.sources import discover

        self.market = SimulatedMarket()
        self.served = tables()
        self.sources = {source.table.name: source for source in discover().values()}

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`, published as its source says."""
        import polars as pl

        from crypto_assets.lake.store import nothing

        source = self.sources.get(table)
        if source is None:
            return nothing(table)
        window = Window(start or SIMULATED.start, end or SIMULATED.end)
        rows = self._served(source, window)
        rows = rows.with_columns(source=pl.lit(source.provider), available_at=source.available_at)
        return source.table.shape(rows).lazy()

    def _served(self, source: Source, window: Window) -> pl.DataFrame:
        """As the provider serves them; of one without history a snapshot an hour, for a while."""
        import polars as pl

        if source.name not in self.served:
            return self.market.tables(window.start, window.end, self.market.symbols).get(
                source.table.name, source.table.empty()
            )
        serve, symbols = self.served[source.name], list(self.market.symbols)
        if source.history.kind != "none":
            return serve(self.market, window.start, window.end, symbols)
        first = max(window.start, window.end - SNAPSHOTS)
        moments = [first + n * HOUR for n in range(int((window.end - first) / HOUR))]
        return pl.concat([serve(self.market, m, m + MINUTE, symbols) for m in moments])


def _files(files: Sequence[Path], sample: Sample, cuts: int | None) -> list[Outcome]:
    from crypto_assets.audit.auditable import of_file

    things = [of_file(file) for file in files]
    done = _audited(things, sample, cuts, FILE_SECONDS)
    if not isinstance(sample.reader, Stored) or not any(o.unseen for o in done):
        return done
    unseen = {o.name: o for o in done if o.unseen}
    for other in _audited([t for t in things if t.name in unseen], simulated(), cuts, FILE_SECONDS):
        found = unseen[other.name]
        found.leaks += [leak for leak in other.leaks if leak.column in found.unseen]
        found.remarks.append(f"{other.name}: the columns without a value in the lake were audited on the simulated market")
    return done


def _everything(sample: Sample, cuts: int | None) -> list[Outcome]:
    from crypto_assets.audit.auditable import of_family
    from crypto_assets.audit.subjects import Context, checked, registered
    from crypto_assets.features import families

    chosen: list[FeatureFamily] = list(families().values())
    done = _audited([of_family(family) for family in chosen], sample, cuts, None)
    held = sample.reader.lake.tables() if isinstance(sample.reader, Stored) else []
    context = Context(sample, chosen, held)
    done += _audited(list(registered(context)), sample, cuts, None)
    return [*done, *checked(context)]


def _audited(things: Sequence[Auditable], sample: Sample, cuts: int | None, seconds: float | None) -> list[Outcome]:
    """`cuts` as asked for; without it as many as fit in `seconds` each, or a few in a few seconds."""
    from crypto_assets.audit import audit

    done: list[Outcome] = []
    light = cuts is None and seconds is None
    limit = NO_LIMIT if cuts is not None else seconds or OWN_SECONDS
    most = OWN_CUTS if light else cuts
    with _progress(len(things)) as (bar, task):
        for thing in things:
            bar.update(task, name=thing.name)

            def step(n: int, of: int, start: int = len(done)) -> None:
                bar.update(task, completed=start + n / max(of, 1))

            done.append(audit(thing, sample, cuts=most, seconds=limit, light=light, progress=step))
            bar.update(task, completed=len(done))
    return done


@contextmanager
def _progress(total: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.fields[name]:32}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        yield bar, bar.add_task("audit", total=total, name="")


def _show(done: Sequence[Outcome]) -> None:
    """What was audited, then each leak, warm-up and remark."""
    wide = screen if screen.is_terminal else Console(stderr=True, width=WIDTH)
    summary = Table(title="leak firewall", title_justify="left")
    for name, right in (
        ("audited", False),
        ("columns", True),
        ("cuts", True),
        ("recomputed", True),
        ("CPU s", True),
        ("", False),
    ):
        summary.add_column(name, justify="right" if right else "left")
    for o in done:
        verdict = "[red]LEAKS" if o.leaks else "[yellow]failed" if o.errors else "[green]clean"
        summary.add_row(o.name, f"{o.columns}", f"{o.cuts}", f"{o.recomputed}", f"{o.seconds:.1f}", verdict)
    wide.print(summary)
    leaks = [leak for o in done for leak in o.leaks]
    if leaks:
        wide.print(_leaks(leaks))
    short = [w for o in done for w in o.warmup if not w.is_enough]
    for w in short[:MOST_LINES]:
        bars = f"{w.bars} bars" if w.bars is not None else "longer than the sample"
        wide.print(f"warm-up: {w.column} takes {bars} to forget its start, its lookback is {w.lookback_bars}", highlight=False)
    for remark in [r for o in done for r in o.remarks][:MOST_LINES]:
        wide.print(f"remark: {remark}", highlight=False, markup=False, soft_wrap=True)


def _leaks(leaks: Sequence[Any]) -> Table:
    table = Table(title="1 leak" if len(leaks) == 1 else f"{len(leaks)} leaks", title_justify="left", title_style="red")
    for name in ("column", "first row", "size", "carried by", "what", "after"):
        table.add_column(name)
    for leak in leaks[:MOST_LINES]:
        cut = "" if leak.cut is None else f"{leak.cut:%Y-%m-%d %H:%M}"
        table.add_row(leak.column, f"{leak.first_ts:%Y-%m-%d %H:%M}", f"{leak.magnitude:.3g}", leak.input or "", leak.kind, cut)
    if len(leaks) > MOST_LINES:
        table.caption = f"and {len(leaks) - MOST_LINES} more: --json has all"
    return table
