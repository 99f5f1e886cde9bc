"""The firewall: recompute under other futures, compare what was known, name what leaks and the input that carried it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from crypto_assets.audit.alternatives import DOWN, MIXED, REMOVED, RESTATED, REVISED, UP, Alternatives
from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.comparison import NONE, Baseline, Difference, Differences
from crypto_assets.audit.cuts import choose
from crypto_assets.audit.findings import Leak, Outcome
from crypto_assets.audit.sample import Sample, closes, day_order, time_order
from crypto_assets.audit.starts import warmups
from crypto_assets.lake import Frames, Reader
from crypto_assets.market.errors import AuditError, CryptoAssetsError
from crypto_assets.market.time import Window

Progress = Callable[[int, int], None]
"""Called with the cuts done and the cuts there may be."""
AT_LEAST = 40
"""Recomputations that must fit in the time there is; else fewer coins are audited."""
FEW_COINS = 4
FEWEST = 4
"""Cuts that are tried however long one takes."""
THOROUGH = 24
"""Cuts that are tried in every way; the many single hours after them in the two strongest."""
FUTURE, UNSTABLE, ORDER = "future", "not the same twice", "order of rows"
CLOCK, BESIDE = "changes with the day it runs on", "read besides the inputs"
IN_WORDS = {REMOVED: "removed", UP: "higher", DOWN: "lower", MIXED: "other ones", REVISED: "corrected"}
SHORTER = (REMOVED, REVISED)
"""Ways that may leave a coin with a bar or two, or with two rows of one key: code that refuses those is remarked on, and judged
by the other ways."""
ROWS = ""
"""Stands for the presence of rows where columns are counted."""


@dataclass
class _Hit:
    """The strongest evidence about one column."""

    difference: Difference
    first: Difference
    way: str
    cut: datetime


@dataclass
class _Run:
    """One audit under way."""

    what: Auditable
    sample: Sample
    outcome: Outcome
    frames: dict[str, pl.DataFrame]
    base: Baseline
    unstable: set[str] = field(default_factory=set)
    hits: dict[str, _Hit] = field(default_factory=dict)
    lost: dict[str, _Hit] = field(default_factory=dict)
    ordered: dict[str, Leak] = field(default_factory=dict)
    """Columns that change with the order of the input rows."""
    pace: float = 0.0
    """CPU seconds of one recomputation."""

    @property
    def window(self) -> Window:
        """What is recomputed."""
        return _window(self.what, self.sample)

    def compare(self, reader: Reader, cut: datetime | None, note: str, *, excused: bool = False) -> Differences:
        """What differs from the base, unstable columns left out.

        Where the code fails nothing does; that is noted with `note`, as a remark where it is `excused`.
        """
        self.outcome.recomputed += 1
        try:
            made = self.what.recompute(reader, self.window)
        except Exception as error:  # the user's code may raise anything
            notes = self.outcome.remarks if excused else self.outcome.errors
            text = f"{self.what.name} fails {note}: {_short(error)}"
            if not any(old.endswith(_short(error)) for old in notes):
                notes.append(text)
            return NONE
        found = self.base.against(made, cut)
        return Differences(_without(found.values, self.unstable), found.rows, _without(found.lost or {}, self.unstable))

    def quietly(self, reader: Reader, cut: datetime | None) -> Differences | None:
        """The same, None where the code fails, and nothing is noted."""
        aside = replace(self, outcome=Outcome(self.what.name))
        found = aside.compare(reader, cut, "")
        return None if aside.outcome.errors else found


def audit(
    what: Auditable,
    sample: Sample,
    *,
    cuts: int | None = None,
    seconds: float = 30.0,
    light: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Audit one thing on a sample.

    `cuts`: how many moments to try at most, every hour without it; `light`: each in two ways, not in four. The search ends when
    `seconds` of CPU time are spent (after FEWEST cuts), or every column has been seen to leak. A family too slow for that is
    audited on a few coins. Raises AuditError, naming the family and its inputs, when its code cannot read the unchanged rows.
    """
    sample.frames(what.inputs)  # read before the clock runs
    started = time.process_time()
    run = _begin(what, sample)
    _repeat(run)
    if run.pace > seconds / AT_LEAST and what.at_closes and len(sample.symbols) > FEW_COINS:
        run = _begin(what, sample.fewer(FEW_COINS))
        _repeat(run)
    _beside(run)
    if what.lookback is not None:
        _reorder(run, light)
    _cut_everywhere(run, cuts, started + seconds, light, progress)
    _name_leaks(run)
    _warm(run)
    run.outcome.seconds = time.process_time() - started
    return run.outcome


def _begin(what: Auditable, sample: Sample) -> _Run:
    """Recompute the base, from seasoned rows; from the rows as they were read where the code cannot bear holes and nulls."""
    outcome = Outcome(what.name)
    frames = sample.frames(what.inputs)
    try:
        made = what.recompute(Frames(frames), _window(what, sample))
    except Exception as rough:
        frames = sample.frames(what.inputs, rough=False)
        try:
            made = what.recompute(Frames(frames), _window(what, sample))
        except CryptoAssetsError:
            raise
        except Exception as error:
            raise AuditError(
                f"{what.name} fails on the rows of {', '.join(what.inputs)} as they are ({_short(error)}): correct its compute"
            ) from error
        outcome.remarks.append(f"{what.name} fails where bars are missing or optional values are null: {_short(rough)}")
    outcome.recomputed = 1
    counted = closes(sample, rough=frames == sample.frames(what.inputs)) if what.at_closes else None
    base = Baseline(made, what.keys, what.claim, counted if counted is not None and counted.height else None, what.tolerance)
    outcome.columns = len(base.columns)
    outcome.unseen = [f"{what.prefix}{c}" for c, known in zip(base.columns, base.known, strict=True) if not known]
    if outcome.unseen and what.lookback is not None:
        names = ", ".join(c.removeprefix(what.prefix) for c in outcome.unseen)
        outcome.remarks.append(f"{what.name}: no value to look at in {names}")
    return _Run(what, sample, outcome, frames, base)


def _window(what: Auditable, sample: Sample) -> Window:
    return (
        sample.window
        if what.span is None
        else Window(max(sample.window.start, sample.window.end - what.span), sample.window.end)
    )


def _repeat(run: _Run) -> None:
    """Twice the same rows must give the same values."""
    started = time.process_time()
    found = run.compare(Frames(run.frames), None, "the second time")
    run.pace = time.process_time() - started
    run.unstable = set(found.values)
    run.outcome.leaks += [_leak(run, c, d, None, UNSTABLE) for c, d in found.values.items()]


def _beside(run: _Run) -> None:
    """What a family takes from elsewhere than its inputs: the day it runs on, files, databases, addresses."""
    what, frames = run.what, Frames(run.frames)
    if what.later is not None:
        found = replace(run, what=replace(what, recompute=what.later)).compare(frames, None, "on another day", excused=True)
        run.outcome.leaks += [_leak(run, c, d, None, CLOCK) for c, d in found.values.items()]
        run.unstable |= set(found.values)
    read = what.beside(frames, run.window) if what.beside is not None else []
    if read and run.base.frame.height:
        size = run.base.largest
        first = run.base.frame[what.claim].min()
        run.outcome.leaks += [
            Leak(f"{what.prefix}{c}", first, size[n], ", ".join(read), BESIDE, run.base.frame.height)  # type: ignore[arg-type]
            for n, c in enumerate(run.base.columns)
        ]


def _reorder(run: _Run, light: bool) -> None:
    """The same rows in another order that a reader may yield must give the same values; a wild order is worth a remark."""
    for order in (day_order,) if light else (day_order, time_order):
        frames = {name: order(name, frame) for name, frame in run.frames.items()}
        excused = order is not day_order
        found = run.compare(Frames(frames), None, "with its input rows in another order", excused=excused)
        run.ordered |= {c: _leak(run, c, d, _reordered(run, frames, c), ORDER) for c, d in found.values.items()}
    if light:
        return
    shuffled = {name: frame.sample(fraction=1, shuffle=True, seed=5) for name, frame in run.frames.items()}
    wild = run.quietly(Frames(shuffled), None)
    if wild is None or wild:
        names = ", ".join(wild.values) if wild else "it"
        run.outcome.remarks.append(f"{run.what.name}: {names or 'it'} relies on the order of its input rows: sort them first")


def _reordered(run: _Run, frames: dict[str, pl.DataFrame], column: str) -> str:
    """The inputs whose order alone changes the column."""
    one = [
        name
        for name in frames
        if len(frames) > 1 and column in (run.quietly(Frames({**run.frames, name: frames[name]}), None) or NONE).values
    ]
    return " + ".join(one or frames)


def _cut_everywhere(run: _Run, cuts: int | None, deadline: float, light: bool, progress: Progress | None) -> None:
    places = list(run.what.cuts) or choose(run.window, run.frames, run.base.frame)
    places = places if cuts is None else places[: max(1, round(cuts * run.what.effort))]
    futures = Alternatives(run.frames)
    restated = [name for name in run.frames if name in RESTATED]
    for n, cut in enumerate(places):
        if n >= FEWEST and (_is_settled(run, n) or time.process_time() > deadline):
            break
        for way in _ways(n, light):
            _try(run, futures, way, cut)
        if restated and n % 6 == 1:
            _try(run, futures, REVISED, cut, restated)
        run.outcome.cuts += 1
        if progress:
            progress(n + 1, len(places))
    if places:
        _corrections(run, futures, places[0])


def _ways(n: int, light: bool) -> tuple[str, ...]:
    """How the n-th cut is tried."""
    if light:
        return REMOVED, (UP, DOWN, MIXED)[n % 3]
    if n < THOROUGH:
        return REMOVED, UP, DOWN, MIXED
    return (UP, DOWN, REMOVED) if n % 4 == 0 else (UP, DOWN)


def _try(run: _Run, futures: Alternatives, way: str, cut: datetime, tables: Collection[str] | None = None) -> None:
    """One recomputation; its evidence is kept."""
    chosen = list(tables or run.frames)
    note = f"when the rows of {', '.join(chosen)} after {cut:%Y-%m-%d %H:%M} are {IN_WORDS[way]}"
    failed = len(run.outcome.errors)
    found = run.compare(futures.at(way, cut, chosen), cut, note, excused=way in SHORTER)
    if len(run.outcome.errors) > failed and len(chosen) > 1:
        alone = [name for name in chosen if run.quietly(futures.at(way, cut, [name]), cut) is None]
        run.outcome.errors[-1] = run.outcome.errors[-1].replace(", ".join(chosen), ", ".join(alone or chosen))
    for column, difference in found.values.items():
        _keep(run.hits, column, difference, way, cut)
    for column, difference in (found.lost or {}).items():
        _keep(run.lost, column, difference, way, cut)
    if found.rows is not None:
        _keep(run.lost, ROWS, found.rows, way, cut)


def _keep(hits: dict[str, _Hit], column: str, difference: Difference, way: str, cut: datetime) -> None:
    old = hits.get(column)
    if old is None:
        hits[column] = _Hit(difference, difference, way, cut)
        return
    if difference.first < old.first.first:
        old.first = difference
    if difference.magnitude > old.difference.magnitude:
        old.difference, old.way, old.cut = difference, way, cut


def _is_settled(run: _Run, n: int) -> bool:
    """Whether more cuts would tell nothing new: every column leaks, or its rows come and go with the future."""
    found = set(run.hits) | run.unstable
    return set(run.base.columns) <= found or (n >= THOROUGH and bool(run.lost) and not run.hits)


def _name_leaks(run: _Run) -> None:
    """Leaks from the evidence. Rows that come and go with the future are charged to the columns whose values do too, and to
    all columns where none does.
    """
    hits = run.hits
    if not hits and run.lost:
        hits = {c: h for c, h in run.lost.items() if c != ROWS} or {c: run.lost[ROWS] for c in run.base.columns}
    carriers: dict[tuple[str, datetime], dict[str, set[str]]] = {}
    futures = Alternatives(run.frames)
    run.outcome.leaks += [leak for column, leak in run.ordered.items() if column not in hits]
    for column in sorted(hits, key=run.base.columns.index):
        hit = hits[column]
        if (hit.way, hit.cut) not in carriers:
            carriers[hit.way, hit.cut] = _carried(run, futures, hit.way, hit.cut)
        by_input = carriers[hit.way, hit.cut]
        names = [name for name, columns in by_input.items() if column in columns]
        run.outcome.leaks.append(
            Leak(
                f"{run.what.prefix}{column}",
                hit.first.first_ts,
                hit.difference.magnitude,
                " + ".join(names or by_input),
                FUTURE,
                hit.difference.rows,
                hit.cut,
            )
        )


def _carried(run: _Run, futures: Alternatives, way: str, cut: datetime) -> dict[str, set[str]]:
    """By input: the columns that leak when only that input is changed."""
    tables = [name for name in run.frames if way != REVISED or name in RESTATED]
    if len(tables) == 1:
        return {name: set(run.base.columns) for name in tables}
    found = {}
    for name in tables:
        words = f"when {name} alone is {IN_WORDS[way]} after {cut:%Y-%m-%d %H:%M}"
        differences = run.compare(futures.at(way, cut, [name]), cut, words)
        found[name] = set(differences.values) | set(differences.lost or {})
    return found


def _corrections(run: _Run, futures: Alternatives, cut: datetime) -> None:
    """A remark where a correction of a table that is not restated as a rule would change the past."""
    for name in run.frames:
        if name in RESTATED or not name.startswith("raw/"):
            continue
        found = run.quietly(futures.at(REVISED, cut, [name]), cut) or NONE
        new = [c for c in found.values if c not in run.hits]
        if new:
            run.outcome.remarks.append(
                f"{run.what.name}: a later correction of {name} would change what {', '.join(new)} said before it: "
                f"as_known, or the first version of each row, is safe"
            )


def _warm(run: _Run) -> None:
    try:
        run.outcome.warmup = warmups(run.what, run.frames, run.base.frame, run.sample.window)
    except Exception as error:
        run.outcome.remarks.append(f"{run.what.name}: warm-up not measured, it fails on a shorter history: {_short(error)}")


def _leak(run: _Run, column: str, d: Difference, table: str | None, kind: str) -> Leak:
    return Leak(f"{run.what.prefix}{column}", d.first_ts, d.magnitude, table, kind, d.rows)


def _without(found: dict[str, Difference], columns: Iterable[str]) -> dict[str, Difference]:
    dropped = set(columns)
    return {c: d for c, d in found.items() if c not in dropped}


def _short(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text[:300]}"
