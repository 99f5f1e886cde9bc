"""What a daily series said at a moment, in plain Python: the definition that `known_moves` is held to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl

DAY = timedelta(days=1)
Rows = Iterable[Mapping[str, Any]]


class Print(NamedTuple):
    """A value as it was first published."""

    ts: datetime
    known: datetime
    value: float


def prints(rows: Rows, value: Callable[[Mapping[str, Any]], float | None]) -> list[Print]:
    """First prints in the order in which they became known; a day that came after a later one is left out."""
    found: list[Print] = []
    newest = None
    for row in sorted(rows, key=lambda r: (r["available_at"], r["ts"])):
        if newest is None or row["ts"] > newest:
            newest = row["ts"]
            number = value(row)
            if number is not None and math.isfinite(number):
                found.append(Print(row["ts"], row["available_at"], number))
    return found


def together(rows: Rows, by: str, names: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the days on which every name has a first print, known when the last of them was."""
    first: dict[tuple[Any, datetime], Mapping[str, Any]] = {}
    for row in sorted(rows, key=lambda r: r["available_at"]):
        first.setdefault((row[by], row["ts"]), row)
    out = []
    for day in sorted({ts for _, ts in first}):
        mine = {name: first.get((key, day)) for name, key in names.items()}
        if all(mine.values()):
            known = max(row["available_at"] for row in mine.values())
            out.append({"ts": day, "available_at": known, **{name: row["value"] for name, row in mine.items()}})
    return out


def forms(series: Sequence[Print], at: datetime, max_age: timedelta) -> dict[str, float | None]:
    """level, step, change_7d and z_90d as known at a moment; None where there is none."""
    seen = [p for p in series if p.known <= at]
    none = dict.fromkeys(("level", "step", "change_7d", "z_90d"))
    if not seen or at - seen[-1].ts > max_age:
        return none
    now = seen[-1]
    week = [p for p in seen if now.ts - 11 * DAY <= p.ts <= now.ts - 7 * DAY]
    past = np.array([p.value for p in seen if p.ts > now.ts - 90 * DAY])
    return {
        "level": now.value,
        "step": now.value - seen[-2].value if len(seen) > 1 else None,
        "change_7d": now.value - week[-1].value if week else None,
        "z_90d": (now.value - past.mean()) / past.std(ddof=1) if len(past) >= 20 else None,
    }


def mean_forms(members: Iterable[Sequence[Print]], at: datetime, max_age: timedelta) -> dict[str, float | None]:
    """The mean of each form over the members that have it."""
    each = [forms(series, at, max_age) for series in members]
    values = {form: [e[form] for e in each if e[form] is not None] for form in ("level", "step", "change_7d", "z_90d")}
    return {form: float(np.mean(found)) if found else None for form, found in values.items()}


def rows_of(frame: pl.DataFrame, **where: Any) -> list[dict[str, Any]]:
    """The rows where the columns have these values."""
    return frame.filter(pl.lit(True), **where).to_dicts()
