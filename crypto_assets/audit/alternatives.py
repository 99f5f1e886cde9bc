"""Other futures: the same rows up to a cut, other ones after it.

A row is of the future when its `available_at` lies after the cut, whatever moment it describes. Whatever is done to those rows
leaves every row that was known at the cut as it is, in its place, and no changed row becomes known by the cut.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_assets.lake import TABLES, Frames
from crypto_assets.lake.tables import UTC_US, Column

REMOVED, UP, DOWN, MIXED, REVISED = "removed", "up", "down", "mixed", "revised"
"""Nothing more comes; everything rises, or falls, far; everything moves a little, some or much; old rows are corrected."""
RESTATED = ("raw/coinmetrics_onchain", "raw/defillama_tvl")
"""Tables whose provider restates its past as a matter of course (their source files say so): an audit plants corrections here
where a lake holds none. Other tables are tried too, but what it shows there is a remark."""
GONE = 0.15
"""Share of the future rows that are left out of another future, so that the presence of a row is tried as well."""
NULLS = 0.3
PRICES = ("open", "high", "low", "close")
REVISIT = timedelta(days=10)
"""How far back a correction reaches."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class _Alternative:
    """Other values, row by row, of the columns of a table that can change; which rows are absent; how publication moves."""

    columns: dict[str, pl.Series]
    gone: np.ndarray
    delay: np.ndarray | None
    """Factor on (available_at - cut), for tables whose rows are published rather than closed."""


class Alternatives:
    """Readers of other futures of some frames; every frame is in the order of its table's key."""

    def __init__(self, frames: Mapping[str, pl.DataFrame], seed: int = 0) -> None:
        self.frames = dict(frames)
        self.seed = seed
        self._made: dict[tuple[str, str], _Alternative] = {}

    def at(self, way: str, cut: datetime, tables: Collection[str] | None = None) -> Frames:
        """The frames, with those of `tables` (all by default) changed after `cut`."""
        chosen = self.frames if tables is None else tables
        return Frames({name: self._changed(name, way, cut) if name in chosen else f for name, f in self.frames.items()})

    def _changed(self, name: str, way: str, cut: datetime) -> pl.DataFrame:
        frame = self.frames[name]
        if way == REMOVED:
            return frame.filter(pl.col("available_at") <= cut)
        if way == REVISED:
            return self._revised(name, cut)
        later = frame["available_at"] > cut
        if not later.any():
            return frame
        other = self._alternative(name, way)
        changed = [other.columns[c].zip_with(later, frame[c]) for c in other.columns]
        if other.delay is not None:
            changed.append(_moved(frame, cut, other.delay).zip_with(later, frame["available_at"]))
        return frame.with_columns(changed).filter(~(later & pl.Series(other.gone)))

    def _revised(self, name: str, cut: datetime) -> pl.DataFrame:
        """With a correction, published within six hours after the cut, of every recent row that was known at it."""
        frame, other = self.frames[name], self._alternative(name, MIXED)
        if not other.columns:
            return frame
        known = (frame["available_at"] <= cut) & (frame["ts"] > cut - REVISIT)
        wait = np.random.default_rng(self.seed).integers(1, 6 * 3_600_000_000, frame.height)
        when = (pl.Series(wait) + _us(cut)).cast(UTC_US).alias("available_at")
        rows = frame.with_columns([*other.columns.values(), when]).filter(known)
        return in_key_order(name, pl.concat([frame, rows]))

    def _alternative(self, name: str, way: str) -> _Alternative:
        if (name, way) not in self._made:
            seed = (self.seed, zlib.crc32(f"{name} {way}".encode()))
            self._made[name, way] = _alternative(name, self.frames[name], way, np.random.default_rng(seed))
        return self._made[name, way]


def in_key_order(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Sorted by the table's key and version, as a derived table is."""
    return frame.sort([*key_of(name, frame), "available_at"], maintain_order=True)


def key_of(name: str, frame: pl.DataFrame) -> list[str]:
    """What identifies a row apart from its version."""
    table = TABLES.get(name)
    return list(table.key) if table else [c for c in ("symbol", "ts", "source") if c in frame.columns]


def is_closed(name: str) -> bool:
    """Whether rows are bars, known when they close, rather than figures that someone publishes."""
    table = TABLES.get(name)
    return table is not None and table.cadence is not None


def _alternative(name: str, frame: pl.DataFrame, way: str, rng: np.random.Generator) -> _Alternative:
    table = TABLES.get(name)
    fixed = {*key_of(name, frame), "ts", "available_at"}
    columns: dict[str, pl.Series] = {}
    for column, dtype in frame.schema.items():
        if column in fixed or not frame.height:
            continue
        bounds = table.fields[column] if table and column in table.fields else Column()
        columns[column] = _other(frame[column], dtype, way, bounds, rng)
    if set(PRICES) <= set(columns):
        _as_bars(columns, rng)
    if {"volume", "taker_buy_volume"} <= set(columns):
        share = columns["volume"] * pl.Series(rng.uniform(0.02, 0.98, frame.height))
        columns["taker_buy_volume"] = share.zip_with(columns["taker_buy_volume"].is_not_null(), _nulls(share)).alias(
            "taker_buy_volume"
        )
    delay = {UP: (0.0, 0.2), DOWN: (0.2, 1.0), MIXED: (1.0, 3.0)}[way]
    return _Alternative(
        columns, rng.random(frame.height) < GONE, None if is_closed(name) else rng.uniform(*delay, frame.height)
    )


def _other(values: pl.Series, dtype: pl.DataType, way: str, bounds: Column, rng: np.random.Generator) -> pl.Series:
    """Other values of a column: nulls come and go where it has any."""
    if dtype.is_numeric():
        made = _other_numbers(values, way, bounds, rng)
    elif dtype == pl.Boolean:
        made = _other_booleans(values, way, rng)
    elif isinstance(dtype, pl.Datetime):
        made = values + timedelta(hours=1) * (1 if way == UP else 9)
    else:
        made = values.gather(rng.permutation(values.len()))
    if values.null_count():
        made = made.fill_null(strategy="forward").fill_null(strategy="backward")
        made = made.zip_with(pl.Series(rng.random(values.len()) >= NULLS), _nulls(made))
    return made.alias(values.name)


def _other_numbers(values: pl.Series, way: str, bounds: Column, rng: np.random.Generator) -> pl.Series:
    x = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = x[np.isfinite(x)]
    spread = float(known.std()) if known.size and known.std() > 0 else max(float(np.abs(known).max(initial=0.0)), 1.0)
    far = rng.uniform(0.7, 3.0, x.size)
    some = rng.choice([0.003, 0.03, 0.5], x.size) * rng.standard_normal(x.size)
    if known.size and known.min() >= 0:
        factor = {UP: np.exp(far), DOWN: np.exp(-far), MIXED: np.exp(some)}[way]
        y = np.where(x == 0, spread * (factor if way != DOWN else 0.0), x * factor)
    else:
        y = {
            UP: x + 3 * far * spread,
            DOWN: x - 3 * far * spread,
            MIXED: np.where(rng.random(x.size) < 0.3, -x, x + some * spread),
        }[way]
    return _within(_as_type(y, values), bounds, rng)


def _as_type(y: np.ndarray, like: pl.Series) -> pl.Series:
    series = pl.Series(like.name, y).fill_nan(None)
    return series if like.dtype.is_float() else series.round().cast(like.dtype, strict=False)


def _within(values: pl.Series, bounds: Column, rng: np.random.Generator) -> pl.Series:
    """Kept inside the column's bounds: a value beyond one goes to a random place near it."""
    low = next((b for b in (bounds.ge, bounds.gt) if b is not None), None)
    high = next((b for b in (bounds.le, bounds.lt) if b is not None), None)
    if low is None and high is None:
        return values
    x = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    width = (high - low) if low is not None and high is not None else 1e-3 * max(abs(low or high or 1.0), 1e-3)
    inward = rng.uniform(0.0005, 0.1, x.size) * width
    if high is not None:
        x = np.where(x > high, high - inward, x)
    if low is not None:
        x = np.where((x <= low) if bounds.gt is not None else (x < low), low + inward, x)
    return _as_type(x, values)


def _other_booleans(values: pl.Series, way: str, rng: np.random.Generator) -> pl.Series:
    fixed = {UP: True, DOWN: False}
    if way in fixed:
        return pl.Series(values.name, np.full(values.len(), fixed[way])).zip_with(values.is_not_null(), values)
    return values ^ pl.Series(rng.random(values.len()) < 0.5)


def _as_bars(columns: dict[str, pl.Series], rng: np.random.Generator) -> None:
    """Highs above and lows below the body."""
    o, c = columns["open"].to_numpy(), columns["close"].to_numpy()
    reach = rng.exponential(0.02, (2, o.size))
    columns["high"] = pl.Series("high", np.fmax(o, c) * (1 + reach[0])).fill_nan(None)
    columns["low"] = pl.Series("low", np.fmin(o, c) / (1 + reach[1])).fill_nan(None)


def _moved(frame: pl.DataFrame, cut: datetime, delay: np.ndarray) -> pl.Series:
    """Other publication times: after the cut, and not before the moment described."""
    at, ts = frame["available_at"].to_physical().to_numpy(), frame["ts"].to_physical().to_numpy()
    moved = _us(cut) + np.maximum((at - _us(cut)) * delay, 1).astype(np.int64)
    return pl.Series("available_at", np.maximum(moved, ts)).cast(UTC_US)


def _nulls(like: pl.Series) -> pl.Series:
    return pl.Series(like.name, [None], dtype=like.dtype).new_from_index(0, like.len())


def _us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
