"""The prefix test: what was known by a cut must give, up to the cut, what everything gives.

It finds every look into the future, whatever its form: negative shifts, centred windows, statistics of the whole sample,
backfilling, joins on the day described instead of the moment published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import numpy as np
import polars as pl

from crypto_assets.features import FeatureFamily
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window

Tables = Mapping[str, pl.DataFrame]
Make = Callable[[Tables, Window], pl.DataFrame]
KEY = ("symbol", "ts")


def of_family(family: FeatureFamily) -> Make:
    return lambda tables, window: derive(family.derivation(), Frames(tables), window)


def of_matrix(families: Iterable[FeatureFamily]) -> Make:
    chosen = list(families)

    def make(tables: Tables, window: Window) -> pl.DataFrame:
        made = dict(tables)
        for family in chosen:
            made[f"features/{family.name}"] = derive(family.derivation(), Frames(tables), window)
        return derive(matrix(chosen), Frames(made), window)

    return make


def truncated(tables: Tables, cut: datetime) -> dict[str, pl.DataFrame]:
    """Only what had been published by `cut`."""
    return {name: frame.filter(pl.col("available_at") <= cut) for name, frame in tables.items()}


def perturbed(tables: Tables, cut: datetime, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Every number published after `cut` replaced by another."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, frame in tables.items():
        numbers = {c: t for c, t in frame.schema.items() if t.is_numeric() and c != "band_pct"}
        noise = pl.Series(np.exp(rng.normal(0, 0.5, frame.height)))
        later = pl.col("available_at") > cut
        out[name] = frame.with_columns(
            pl.when(later).then((pl.col(c) * noise).cast(t)).otherwise(pl.col(c)) for c, t in numbers.items()
        )
    return out


def differences(left: pl.DataFrame, right: pl.DataFrame, relative: float, spread: float = 0.0) -> dict[str, int]:
    """Column -> how many of its values differ by more than `relative` of their size plus `spread` of the column's sd.

    `rows` counts keys that only one side has. Null equals null alone.
    """
    both = left.join(right, on=list(KEY), how="inner", suffix="_right")
    found = {"rows": left.height + right.height - 2 * both.height} if left.height + right.height != 2 * both.height else {}
    for column in left.columns:
        if left.schema[column] != pl.Float64:
            continue
        a, b = both[column], both[f"{column}_right"]
        allowed = relative * (1 + a.abs()) + spread * (a.std() or 0.0)
        wrong = ((a - b).abs() > allowed).fill_null(False) | (a.is_null() != b.is_null())
        if wrong.sum():
            found[column] = int(wrong.sum())
    return found


def leaks(make: Make, tables: Tables, window: Window, cuts: Iterable[datetime], tolerance: float = 1e-9) -> dict[str, int]:
    """Column -> values up to a cut that change when what was published after the cut is removed, or replaced."""
    whole = make(tables, window)
    found: dict[str, int] = {}
    for cut in cuts:
        known = whole.filter(pl.col("ts") <= cut)
        for other in (truncated(tables, cut), perturbed(tables, cut)):
            rows = make(other, window).filter(pl.col("ts") <= cut)
            for column, n in differences(known, rows, tolerance).items():
                found[column] = found.get(column, 0) + n
    return found
