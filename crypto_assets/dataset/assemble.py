"""From raw rows to matrix and labels in memory, by the same derivations the assets run, cached by what goes in.

This is how `evaluate` and the benchmarks read years of history without paying an event a day.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from crypto_assets.curation import discover as curated
from crypto_assets.dataset import labels
from crypto_assets.features import FeatureFamily
from crypto_assets.features.matrix import RETURN, matrix
from crypto_assets.lake import Derivation, Frames, Lake, Reader, quarantine
from crypto_assets.lake.pieces import in_pieces
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import Window
from crypto_assets.settings import load
from crypto_assets.sources import _archive, discover

CHUNK_DAYS = 366
"""Derived a year at a time, so that the intermediate columns of a long history never lie in memory together; those of a wide
market in smaller pieces."""
RESULTS = ("curated/candles", "features/matrix", "labels/targets")
"""The derived tables that `assemble` returns."""
Progress = Callable[[str, float], None]
"""Called with a step's name and the share done."""


@dataclass(frozen=True)
class Assembled:
    """Everything an evaluation reads. `matrix` holds float32 features."""

    matrix: pl.DataFrame
    labels: pl.DataFrame
    candles: pl.DataFrame
    funding: pl.DataFrame
    window: Window


def derivations(families: Sequence[FeatureFamily]) -> list[Derivation]:
    """Curated tables, families, matrix and labels, in the order they are made."""
    steps = [*curated().values(), *(f.derivation() for f in families)]
    return [*steps, matrix(families), labels.DERIVATION]


def raw_reader(lake: Lake, world: str, symbols: Sequence[str]) -> Reader:
    """The raw tables: staged rows through the quarantine in world archive, the lake's own tables otherwise.

    Rows of coins outside `symbols` are left out.
    """
    frames = {}
    for source in discover().values():
        rows = quarantine.split(source.table, _archive.read(lake, source)).good if world == "archive" else None
        if rows is None:
            rows = lake.scan(source.table.name).collect()
        if "symbol" in rows.columns:
            rows = rows.filter(pl.col("symbol").is_in(list(symbols)))
        frames[source.table.name] = rows
    return Frames(frames)


def span(reader: Reader) -> tuple[date, date]:
    """First and last whole day of candles. Raises LakeError when there are none."""
    for table in ("raw/binance_perp_candles", "raw/binance_candles"):
        ends = reader.scan(table).select(first=pl.col("ts").min(), last=pl.col("ts").max()).collect().row(0)
        if ends[0] is not None:
            return ends[0].date(), ends[1].date()
    raise LakeError("there are no candles: import some (`crypto-assets import binance_perp_candles FILE`), or build the lake")


def assemble(
    reader: Reader,
    window: Window,
    families: Sequence[FeatureFamily],
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Assembled:
    """Matrix, labels, candles and funding for `window`. With `cache`, results are kept there under a hash of all inputs."""
    steps = _needed(derivations(families), RESULTS)
    folder = None if cache is None else cache / _fingerprint(reader, window, steps)
    if folder is not None and (folder / "done").exists():
        parts = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("matrix", "labels", "candles", "funding")}
        return Assembled(**parts, window=window)
    frames = Frames(base=reader)
    for n, step in enumerate(steps):
        if progress:
            progress(step.name, n / len(steps))
        # Inputs must reach as far back as the window allows, so every derived table starts where the window starts.
        frames.frames[step.name] = _in_chunks(step, frames, window)
    assembled = Assembled(
        matrix=frames.frames["features/matrix"],
        labels=frames.frames["labels/targets"],
        candles=frames.frames["curated/candles"],
        funding=reader.scan("raw/binance_funding", window.start, window.end).collect(),
        window=window,
    )
    if folder is not None:
        for name in ("matrix", "labels", "candles", "funding"):
            write_parquet(folder / f"{name}.parquet", getattr(assembled, name))
        (folder / "done").touch()
    return assembled


def _needed(steps: Sequence[Derivation], wanted: Sequence[str]) -> list[Derivation]:
    """The steps that lead to the tables `wanted`, in their order."""
    names = set(wanted)
    for step in reversed(steps):
        names |= set(step.inputs.values()) if step.name in names else set()
    return [step for step in steps if step.name in names]


def _in_chunks(step: Derivation, reader: Reader, window: Window) -> pl.DataFrame:
    narrow = [c for c, t in step.table.dtypes.items() if t == pl.Float64 and step.name.startswith("features/") and c != RETURN]
    return pl.concat(
        rows.with_columns(pl.col(narrow).cast(pl.Float32))
        for chunk in window.chunks(CHUNK_DAYS)
        for _, rows in in_pieces(step, reader, chunk)
    )


def _fingerprint(reader: Reader, window: Window, steps: Sequence[Derivation]) -> str:
    package = Path(__file__).parent.parent
    rooms = [p for room in ("curation", "features", "lake", "dataset") for p in (package / room).rglob("*.py")]
    own = [Path(file) for step in steps if (file := inspect.getsourcefile(step.compute))]
    code = sorted({*rooms, *own})
    shape = [str(window), [s.name for s in steps], [list(s.table.dtypes) for s in steps], load().text_scorer]
    digest = hashlib.sha256(json.dumps(shape).encode())
    for path in code:
        digest.update(path.read_bytes())
    for source in discover().values():
        rows = reader.scan(source.table.name).collect()
        digest.update(f"{source.name}{rows.height}{rows.hash_rows(seed=1).sum() if rows.height else 0}".encode())
    return digest.hexdigest()[:20]
