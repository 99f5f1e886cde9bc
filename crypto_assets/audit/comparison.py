"""Two recomputations side by side: which columns differ among the rows that were known by a moment, since when, by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

OF_SCALE = 0.1
"""Share of the tolerance that is allowed of the column's typical size, so that a value near zero is not held to its own."""
FLOAT32 = 2e-6
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Difference:
    """Of one column: `first` in microseconds since 1970, largest absolute difference, number of rows."""

    first: int
    magnitude: float
    rows: int

    @property
    def first_ts(self) -> datetime:
        """The earliest row."""
        return EPOCH + timedelta(microseconds=self.first)


@dataclass(frozen=True)
class Differences:
    """`values`: by column, over the rows both have; `rows`: rows that only one has; `lost`: by column, what such rows held."""

    values: dict[str, Difference]
    rows: Difference | None = None
    lost: dict[str, Difference] | None = None

    def __bool__(self) -> bool:
        return bool(self.values) or self.rows is not None


NONE = Differences({})


class Baseline:
    """A frame prepared to be compared with many others.

    `keys` identify a row (repeated ones count in order), `claim` is the column that says when it was known, `counted` (symbol,
    ts) the rows whose presence counts, all of them where it is None.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        keys: Sequence[str],
        claim: str = "ts",
        counted: pl.DataFrame | None = None,
        tolerance: float = 1e-9,
    ) -> None:
        self.keys = list(keys)
        self.claim = claim
        self.columns = [c for c in frame.columns if c not in (*keys, claim, "available_at")]
        self.counted = counted
        self.frame = frame
        self._claimed = _micros(frame, claim)
        self._values = numbers(frame, self.columns)
        size = np.abs(np.where(np.isfinite(self._values), self._values, np.nan))
        self.scale = np.array([np.nanmedian(c) if np.isfinite(c).any() else 0.0 for c in size.T])
        single = np.array([np.array_equal(c, c.astype(np.float32), equal_nan=True) for c in self._values.T], dtype=bool)
        self.tolerance = np.where(single, max(tolerance, FLOAT32), tolerance)
        """By column: what was computed in float32 is held to its precision."""
        self.largest = [float(np.nanmax(c)) if np.isfinite(c).any() else 0.0 for c in size.T]
        """By column: the largest absolute value."""
        self.known = np.isfinite(self._values).any(axis=0)
        """By column: whether it has a value anywhere."""

    def against(self, other: pl.DataFrame, cut: datetime | None = None) -> Differences:
        """What differs among the rows known by `cut` (all rows without one)."""
        until = np.iinfo(np.int64).max if cut is None else int((cut - EPOCH) / timedelta(microseconds=1))
        mine, theirs = self._claimed <= until, _micros(other, self.claim) <= until
        a, b = self.frame.select(self.keys).filter(mine), other.select(self.keys).filter(theirs)
        A, B = self._values[mine], numbers(other, self.columns)[theirs]
        if a.height == b.height and a.equals(b):
            return Differences(self._differing(A, B, _micros(a, "ts")))
        both = _numbered(a, "_a").join(
            _numbered(b, "_b"), on=[*self.keys, "_again"], how="full", coalesce=True, nulls_equal=True
        )
        shared = both.filter(pl.col("_a").is_not_null() & pl.col("_b").is_not_null())
        values = self._differing(A[shared["_a"].to_numpy()], B[shared["_b"].to_numpy()], _micros(shared, "ts"))
        return self._with_rows(values, both.filter(pl.col("_a").is_null() | pl.col("_b").is_null()), A, B)

    def _with_rows(self, values: dict[str, Difference], alone: pl.DataFrame, A: np.ndarray, B: np.ndarray) -> Differences:
        if self.counted is not None:
            alone = alone.join(self.counted, on=["symbol", "ts"], how="semi", maintain_order="left")
        if alone.is_empty():
            return Differences(values)
        held = np.where(
            alone["_a"].is_not_null().to_numpy()[:, None],
            A[alone["_a"].fill_null(0).to_numpy()] if len(A) else np.nan,
            B[alone["_b"].fill_null(0).to_numpy()] if len(B) else np.nan,
        )
        lost = self._differing(held, np.full_like(held, np.nan), _micros(alone, "ts"))
        return Differences(values, Difference(int(_micros(alone, "ts").min()), 1.0, alone.height), lost)

    def _differing(self, A: np.ndarray, B: np.ndarray, ts: np.ndarray) -> dict[str, Difference]:
        with np.errstate(invalid="ignore"):
            same = (A == B) | (np.isnan(A) & np.isnan(B))
            if same.all():
                return {}
            unknown = np.isnan(A) ^ np.isnan(B)
            size = np.abs(np.where(np.isnan(A), B, A))
            apart = np.where(unknown, np.where(size > 0, size, np.maximum(self.scale, 1e-300)), np.abs(A - B))
            wrong = ~same & (unknown | ~(apart <= self.tolerance * (size + OF_SCALE * self.scale)))
        found = {}
        for c in np.flatnonzero(wrong.any(axis=0)):
            rows = wrong[:, c]
            largest = float(apart[rows, c].max())
            found[self.columns[c]] = Difference(int(ts[rows].min()), largest if largest > 1e-300 else 1.0, int(rows.sum()))
        return found


def numbers(frame: pl.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """float64 `[rows, columns]`: numbers and booleans as they are, moments in microseconds, texts by hash; null is NaN."""
    if not columns:
        return np.zeros((frame.height, 0))
    return frame.select(_number(c, frame.schema[c]) for c in columns).to_numpy()


def _number(column: str, dtype: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if dtype.is_numeric() or dtype == pl.Boolean:
        return value.cast(pl.Float64).fill_null(float("nan"))
    if dtype.is_temporal():
        return value.to_physical().cast(pl.Float64).fill_null(float("nan"))
    return pl.when(value.is_not_null()).then((value.hash(1) % 2**52).cast(pl.Float64)).otherwise(float("nan"))


def _numbered(keys: pl.DataFrame, name: str) -> pl.DataFrame:
    return keys.with_row_index(name).with_columns(_again=pl.int_range(pl.len()).over(keys.columns))


def _micros(frame: pl.DataFrame, column: str) -> np.ndarray:
    return frame[column].to_physical().to_numpy()
