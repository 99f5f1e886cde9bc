"""Where to cut: the moments at which code goes wrong, some at random, then every hour.

A leak of one bar shows only at the row just before a cut, so a leak of rare rows is found by a cut at those very rows. First
come, in turn, the nasty places of every kind; then single hours, spread evenly until every hour of the sample is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, zip_longest

import numpy as np
import polars as pl

from crypto_assets.audit.alternatives import is_closed, key_of
from crypto_assets.market.time import DAY, HOUR, Window

MOST = 2_000
"""Most moments between hours."""
CLASSES = 50
"""A column of no more distinct values than this counts as a class: its rarest ones are looked at."""
EACH = 40
"""Most cuts of one kind before the sweep over all hours."""


def choose(window: Window, frames: Mapping[str, pl.DataFrame], made: pl.DataFrame, seed: int = 0) -> list[datetime]:
    """Cuts in the order in which they are worth trying; the last ones make it every hour of the window, but for its end, and
    every moment between hours for which there is a row.

    `frames` are the inputs, `made` what was recomputed from them: its rare values are places to look at.
    """
    hours = [window.start + n * HOUR for n in range(1, window.hours)]
    between = [m for m in made["ts"].unique().sort() if m.minute or m.second or m.microsecond]
    if len(hours) < 3:
        return hours
    rng = np.random.default_rng(seed)
    at_random = [hours[i] for i in rng.permutation(len(hours))[:EACH]]
    rare = rare_rows(made)
    kinds: list[Sequence[datetime]] = [
        boundaries(hours),
        at_random,
        rare,
        holes(frames),
        edges(frames),
        published(frames),
        nulls(frames),
        [hours[0], hours[-1], *hours[1:3], hours[-2], hours[24 % len(hours)]],
        at_random[::2],
        rare[1::2],
        between[:: max(1, len(between) // EACH)],
    ]
    nasty = chain.from_iterable(zip_longest(*[k[:EACH] for k in kinds]))
    inside = (
        c
        for c in chain(nasty, spread(sorted({*hours, *between[:MOST]})))
        if c is not None and window.start <= c < window.end - HOUR
    )
    return list(dict.fromkeys(inside))


def boundaries(hours: Sequence[datetime]) -> list[datetime]:
    """The hours around the turn of a year, month, week, fold and day, the rarer first."""
    middle = hours[len(hours) // 2]
    turns: list[list[datetime]] = [[], [], []]
    for hour in hours:
        if hour.hour == 0:
            turns[0 if hour.day == 1 else 1 if hour.weekday() == 0 else 2].append(hour)
    out: list[datetime] = []
    for kind in turns:
        ordered = sorted(kind, key=lambda h: abs(h - middle))
        for offset in (timedelta(0), -HOUR, 12 * HOUR, HOUR):
            out += [turn + offset for turn in ordered[:3]]
    return out


def holes(frames: Mapping[str, pl.DataFrame]) -> list[datetime]:
    """Closes of the first missing bar, where what is carried over a hole ends unless the coin trades again, and of the bars
    before and after.
    """
    found: list[datetime] = []
    for name, frame in frames.items():
        if not is_closed(name) or "symbol" not in frame.columns:
            continue
        gaps = frame.sort("symbol", "ts").with_columns(_before=pl.col("ts").shift(1).over("symbol"))
        gaps = gaps.filter(pl.col("ts") - pl.col("_before") > HOUR).select("_before", "ts")
        pairs = gaps.sample(fraction=1, shuffle=True, seed=1).iter_rows()
        found += [m + HOUR for before, after in pairs for m in (before + HOUR, before, after)]
    return found


def edges(frames: Mapping[str, pl.DataFrame]) -> list[datetime]:
    """Where a coin's bars begin and end."""
    found: set[datetime] = set()
    for name, frame in frames.items():
        if is_closed(name) and "symbol" in frame.columns:
            ends = frame.group_by("symbol").agg(pl.col("ts").min().alias("a"), pl.col("ts").max().alias("b"))
            found |= {m for a, b in ends.select("a", "b").iter_rows() for m in (a + HOUR, a + 2 * HOUR, b + HOUR, b, b - DAY)}
    return sorted(found, key=lambda m: m.timestamp() * 7919 % 101)


def published(frames: Mapping[str, pl.DataFrame]) -> list[datetime]:
    """The hour before something is published or corrected."""
    found: list[datetime] = []
    for name, frame in frames.items():
        if is_closed(name) or frame.is_empty():
            continue
        versions = pl.col("available_at").rank("dense").over(key_of(name, frame))
        corrected = frame.filter(versions > 1)["available_at"].unique().sort()
        others = frame["available_at"].unique().sort()
        for times in (corrected, others.tail(len(others) // 2)):
            chosen = times.sample(min(len(times), EACH), seed=2)
            found += [(m - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0) for m in chosen]
    return found


def nulls(frames: Mapping[str, pl.DataFrame]) -> list[datetime]:
    """When a null became known, and the hour before."""
    found: list[datetime] = []
    for frame in frames.values():
        optional = [c for c in frame.columns if frame[c].null_count()]
        if optional:
            blank = frame.filter(pl.any_horizontal(pl.col(optional).is_null()))["available_at"].unique()
            found += [m - back for m in blank.sample(min(len(blank), EACH), seed=3) for back in (timedelta(0), HOUR)]
    return found


def rare_rows(made: pl.DataFrame) -> list[datetime]:
    """Rows with a column's most extreme or rarest values, a few of each column in turn."""
    if made.is_empty() or "ts" not in made.columns:
        return []
    by_column = []
    for column in (c for c, t in made.schema.items() if t.is_float()):
        values = made.select("ts", v=pl.col(column).fill_nan(None)).drop_nulls()
        if values.height and values["v"].n_unique() > 1:
            few = (
                values.filter(pl.len().over("v") <= max(values.height // 50, 1))
                if values["v"].n_unique() <= 50
                else values.clear()
            )
            far = values.with_columns(d=(pl.col("v") - pl.col("v").median()).abs()).sort("d", descending=True)
            by_column.append([*few["ts"].gather_every(max(few.height // 12, 1))[:12], *far["ts"][:6]])
    return [m for group in zip_longest(*by_column) for m in group if m is not None]


def spread(hours: Sequence[datetime]) -> Iterable[datetime]:
    """Every hour once, each new one far from those before: the golden section walks round the sample."""
    golden = (5**0.5 - 1) / 2
    order = np.argsort(np.argsort((np.arange(len(hours)) * golden) % 1.0))
    return (hours[i].astimezone(UTC) for i in order)
