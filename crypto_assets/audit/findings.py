"""What an audit finds: leaks, warm-ups, remarks, and the JSON of the command."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Leak:
    """A value at `first_ts` (the earliest one found) that depends on what was not known then.

    `magnitude` is the largest absolute change seen, in the column's unit; a value that appears or vanishes counts in full.
    `input` is the table that carried it, None where no input did (a column that differs from run to run).
    """

    column: str
    first_ts: datetime
    magnitude: float
    input: str | None
    kind: str
    rows: int
    """Most rows seen to change in one recomputation."""
    cut: datetime | None = None
    """The moment after which the input was changed to show it."""

    def json(self) -> dict[str, Any]:
        """Plain values; an infinite magnitude as the largest number there is."""
        return {
            "column": self.column,
            "first_ts": self.first_ts.isoformat(),
            "magnitude": min(self.magnitude, sys.float_info.max),
            "input": self.input,
            "kind": self.kind,
            "rows": self.rows,
            "cut": None if self.cut is None else self.cut.isoformat(),
        }


@dataclass(frozen=True)
class Warmup:
    """How many hourly bars until two different starts agree to 1e-6; `bars` None: not within the sample."""

    column: str
    bars: int | None
    lookback_bars: int
    is_enough: bool

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"column": self.column, "bars": self.bars, "lookback_bars": self.lookback_bars, "is_enough": self.is_enough}


@dataclass
class Outcome:
    """One audited thing."""

    name: str
    columns: int = 0
    leaks: list[Leak] = field(default_factory=list)
    warmup: list[Warmup] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Where its own code failed on rows it must be able to read."""
    unseen: list[str] = field(default_factory=list)
    """Columns that have no value anywhere in the sample."""
    cuts: int = 0
    recomputed: int = 0
    seconds: float = 0.0


def as_json(outcomes: Iterable[Outcome], **more: Any) -> dict[str, Any]:
    """The JSON of the command: leaks, warmup, checked (columns), and what was done."""
    done = list(outcomes)
    return {
        "leaks": [leak.json() for o in done for leak in o.leaks],
        "warmup": [w.json() for o in done for w in o.warmup],
        "checked": sum(o.columns for o in done),
        "errors": [e for o in done for e in o.errors],
        "remarks": [r for o in done for r in o.remarks],
        "audited": [
            {
                "name": o.name,
                "columns": o.columns,
                "leaks": len(o.leaks),
                "cuts": o.cuts,
                "recomputed": o.recomputed,
                "cpu_seconds": round(o.seconds, 2),
            }
            for o in done
        ],
        **more,
    }
