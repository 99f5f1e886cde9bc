"""What a source is: a raw table, a pure fetch, and the facts about its provider that everything else needs."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import polars as pl

from crypto_assets.lake.tables import RawTable
from crypto_assets.market.time import DAY, Window

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http


@dataclass(frozen=True)
class History:
    """How far back a provider goes: everything, the last `days`, or only from now on.

    A provider without history is captured by `crypto-assets stream` (`sources/_capture.py`); its day partition is made of what
    was captured on that day, and `fetch` answers only for a window that holds the present moment.
    """

    kind: Literal["full", "days", "none"] = "full"
    days: int | None = None

    def before(self, window: Window, now: datetime) -> str | None:
        """Why the provider can have nothing for `window`, or None."""
        reach = {"full": None, "days": self.days, "none": 1}[self.kind]
        if reach is None or window.end > now - reach * DAY:
            return None
        return f"the provider keeps {reach} day(s) of history; this window ended before that"


FULL = History()


@dataclass(frozen=True)
class Source:
    """One provider table.

    `fetch(window, http)` returns every row whose `ts` lies in `window` and that is published by `http.now()`, in table shape,
    with `available_at` filled. It raises a SourceError for anything else than the documented answer, and returns an empty
    frame where the provider really has nothing.
    """

    table: type[RawTable]
    fetch: Callable[[Window, Http], pl.DataFrame]
    provider: str
    available_at: pl.Expr
    """`available_at` as an expression of the row: the publication lag, used by `fetch` and by `import` alike."""
    pool: str
    keys: tuple[str, ...] = ()
    """Names of Settings fields that must be set; empty means keyless."""
    consent: str = ""
    """Name of the Settings field that says in world live that the provider's terms, which bar such use, do not bind you."""
    history: History = FULL
    freshness: timedelta = 2 * DAY
    """How old the newest row may be in world live."""
    terms: str = ""
    is_core: bool = False
    """Whether the default graph (demo, daily schedule, `evaluate`) reads it; the job `ingest_more` fetches the others."""
    may_fail: bool = False
    """For a provider that is known to fail: its asset stays as it is, with the reason, instead of failing the run."""
    substitute: str = ""
    """For a provider that is dead or paid: what is so, and which source carries the metric by default."""

    @property
    def name(self) -> str:
        """Short name, which is also the module's."""
        return self.table.name.removeprefix("raw/")

    def rows(self, frame: pl.DataFrame, window: Window, now: datetime) -> pl.DataFrame:
        """What `fetch` returns, from parsed rows: `source` and `available_at` filled, in table shape, sorted by key.

        Rows outside the window are left out, and so are rows whose publication time has not come: a value seen early (an open
        bar, today's unfinished point) may still change.
        """
        frame = frame.with_columns(source=pl.lit(self.provider), available_at=self.available_at)
        inside = (pl.col("ts") >= window.start) & (pl.col("ts") < window.end) & (pl.col("available_at") <= now)
        return self.table.shape(frame).filter(inside).sort([*self.table.key, "available_at"])


def discover() -> dict[str, Source]:
    """Every source by name: each module of this package that does not begin with an underscore has a SOURCE."""
    import crypto_assets.sources as package

    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and not m.ispkg)
    return {name: importlib.import_module(f"{package.__name__}.{name}").SOURCE for name in names}
