"""Sums and means over the rows of a group, the same to the last bit whatever else is in the frame.

polars chooses the way it adds by the size of the frame, the number of groups and the threads, and each way rounds differently:
the mean over the coins at one hour then has another last digit among a day's rows than among a year's. Here a group's values
are added one by one in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

COUNT = "_n_of_"
"""Before a name: how many of its values are known."""


def totals(rows: pl.DataFrame, by: Sequence[str], values: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """`by`, and for each of `values` the sum of the known ones under its name and their number under `COUNT` and its name.

    A row a group, in the order in which they first occur; 0 where none is known.
    """
    keys = list(by)
    groups = rows.select(keys).unique(maintain_order=True)
    numbered = groups.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("_group"))
    at = rows.select(keys).join(numbered, on=keys, how="left", maintain_order="left", nulls_equal=True)["_group"].to_numpy()
    columns = []
    for name, value in values.items():
        x = rows.select(value.cast(pl.Float64)).to_series().to_numpy()
        known = ~np.isnan(x)
        sums = np.bincount(at, weights=np.where(known, x, 0.0), minlength=groups.height)
        counts = np.bincount(at, weights=known, minlength=groups.height)
        columns += [pl.Series(name, sums), pl.Series(f"{COUNT}{name}", counts)]
    return groups.with_columns(columns)


def mean(name: str) -> pl.Expr:
    """The mean of a value of `totals`; null where none is known."""
    return pl.when(pl.col(f"{COUNT}{name}") > 0).then(pl.col(name) / pl.col(f"{COUNT}{name}"))


def means(rows: pl.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """`by` and the mean of each column; null where none is known."""
    sums = totals(rows, by, {c: pl.col(c) for c in columns})
    return sums.select(*by, *[mean(c).alias(c) for c in columns])
