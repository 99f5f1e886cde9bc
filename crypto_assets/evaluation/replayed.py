"""A lake as it was on an earlier day, so that its history can be lived through again.

`PastLake` is a folder of links into a lake: every table up to a day, the checkpoints, and nothing later; `reveal` adds a day
once it is over, as the daily run would. What happens in the open day must come from a stream, into the past lake's own hot
store and `live` tables: a real one that listens to the sandbox in replay (`crypto-assets paper --replay`), or `Feeder`, which
puts the rows of the lake there as they became known, hour by hour: quick, and without the wire.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import polars as pl

from crypto_assets.evaluation.closed_hour import members_of
from crypto_assets.evaluation.walkforward import COMBINATIONS
from crypto_assets.lake import Lake
from crypto_assets.lake.hot import Hot, HotStore, SqliteHot
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.errors import CheckpointError, LakeError
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.sources import Source, discover
from crypto_assets.sources.stream import polling
from crypto_assets.sources.stream.tables import kind
from crypto_assets.sources.stream.writer import mark

LAYERS = ("raw", "curated", "features", "labels", "forecasts", "fusion")
"""Layers whose days are revealed once they are over."""
LABELS = "labels"
"""The layer that is a day later: the last outcome of a day closes at the end of the next."""
OWN = "forecasts/latest"
"""What a replay writes itself."""
VALUES = ("open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume")


class PastLake:
    """The lake at `root`, as of midnight of `today`: links under `folder`, which is made anew unless it is of that lake.

    Raises LakeError where the lake has no candles of the day before.
    """

    def __init__(self, whole: Lake, folder: Path, today: date) -> None:
        if today - DAY not in whole.days("curated/candles"):
            raise LakeError(
                f"{whole.root} has no candles of {today - DAY}, the day before the replay: build it, or begin later"
            )
        self.whole, self.lake, self.today = whole, Lake(folder), today
        folder.mkdir(parents=True, exist_ok=True)
        for table in _tables(self.lake):
            shutil.rmtree(table)  # of links: what they lead to stays
        (folder / "models").unlink(missing_ok=True)
        shutil.copyfile(whole.root / "world.json", folder / "world.json")
        for table in _tables(whole):
            for day in table.glob("date=*"):
                if day.name.removeprefix("date=") < self._open(table).isoformat():
                    self._link(day)
        if (whole.root / "models").is_dir():
            (folder / "models").symlink_to(whole.root / "models")

    def reveal(self, at: datetime) -> None:
        """The daily runs up to the hour `at` are done: every day that has ended by then is there."""
        while midnight(self.today) + DAY <= at:
            for table in _tables(self.whole):
                day = table / f"date={self._open(table).isoformat()}"
                if day.is_dir():
                    self._link(day)
            self.today += DAY

    def _open(self, table: Path) -> date:
        """The first day that is not there yet."""
        return self.today - DAY if table.parent.name == LABELS else self.today

    def _link(self, day: Path) -> None:
        to = self.lake.root / day.relative_to(self.whole.root)
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.exists():
            to.symlink_to(day)


def _tables(lake: Lake) -> list[Path]:
    """The folders of the tables that are revealed."""
    found = (folder for layer in LAYERS for folder in (lake.root / layer).glob("*"))
    return [folder for folder in found if folder.is_dir() and folder != lake.root / OWN]


def begun(whole: Lake, model: str) -> date:
    """The first day that `model` can forecast: when its last member begins, or its first where it is made of any.

    Raises SettingsError for a model that is not known, CheckpointError for one without a checkpoint.
    """
    names = members_of(model)
    first = [min((f.name for f in (whole.root / "models" / name).glob("fold=*")), default=None) for name in names]
    is_whole = model not in COMBINATIONS or COMBINATIONS[model].whole
    missing = [name for name, fold in zip(names, first, strict=True) if fold is None]
    if len(missing) == len(names) or (is_whole and missing):
        raise CheckpointError(f"{whole.root} has no checkpoint of {', '.join(missing)}: run `crypto-assets train` for it")
    found = [date.fromisoformat(fold.removeprefix("fold=")) for fold in first if fold is not None]
    return max(found) if is_whole else min(found)


def check_livable(whole: Lake, model: str, first: date, last: date) -> None:
    """Raise LakeError unless the lake has every day from the one before `first` to `last`, and the model from then on."""
    there = set(whole.days("curated/candles"))
    missing = [day for day in (first + n * DAY for n in range(-1, (last - first).days + 1)) if day not in there]
    if missing:
        has = f"it has {min(there)} to {max(there)}" if there else "it has none"
        raise LakeError(
            f"{whole.root} has no candles of {missing[0]}, {has}; days from {first} to {last} need those and the day before: "
            f"build them, or name other days"
        )
    if (start := begun(whole, model)) > first:
        raise LakeError(f"{model} has no checkpoint before {start}, the first day asked for is {first}: begin there")


class Feeder:
    """Plays a lake's raw rows into a hot store and `live` tables, as a stream would have by the hour `at`."""

    def __init__(
        self, past: PastLake, hot: HotStore, symbols: Sequence[str], sources: Mapping[str, Source] | None = None
    ) -> None:
        self.past, self.hot, self.symbols = past, hot, list(symbols)
        self.sources = discover() if sources is None else sources

    def feed(self, at: datetime) -> None:
        """Everything that became known in the hour that ended at `at`, and its mark."""
        venues = [self.sources[name] for name in polling.STREAMED]
        for source in venues:
            rows = self._known(source, at).filter(pl.col("ts") == at - HOUR, pl.col("symbol").is_in(self.symbols))
            name = kind(source.provider, "candles_1h")
            self.hot.put([Hot(name, r["symbol"], r["ts"], {c: r[c] for c in VALUES}) for r in rows.to_dicts()])
        for source in self.sources.values():
            if source.name not in polling.STREAMED:
                self._poll(source, at)
        mark(self.hot, [source.provider for source in venues], at)

    def _known(self, source: Source, at: datetime) -> pl.DataFrame:
        """Rows of the last days, those of the lake that were known at `at`."""
        start = midnight(at.date()) - polling.FIRST_DAYS * DAY
        return self.past.whole.scan(source.table.name, start, at + DAY).filter(pl.col("available_at") <= at).collect()

    def _poll(self, source: Source, at: datetime) -> None:
        rows = self._known(source, at)
        if not (rows["available_at"] > at - HOUR).any() and self.past.lake.days(polling.name_of(source)):
            return
        for (day,), part in rows.group_by(pl.col("ts").dt.date(), maintain_order=True):
            key = [*source.table.key, "available_at"]
            write_parquet(self.past.lake.path(polling.name_of(source), day), source.table.shape(part).sort(key))  # type: ignore[arg-type]


def open_hot_of(past: PastLake) -> SqliteHot:
    """The past lake's own hot store: always the embedded one."""
    return SqliteHot(past.lake.root / "hot.db")


def hours_of(window: Window) -> list[datetime]:
    """Closes of the hours from the start of `window`, that is the first decision, to its end."""
    return [window.start + n * HOUR for n in range(window.hours + 1)]
