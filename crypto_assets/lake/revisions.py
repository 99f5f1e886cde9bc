"""Versions of a row: a provider's correction is a further row with a later `available_at`, never an overwrite."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from crypto_assets.lake.tables import Table


def merge(table: type[Table], kept: pl.DataFrame, fetched: pl.DataFrame, retrieved_at: datetime) -> pl.DataFrame:
    """`kept` plus whatever `fetched` changes.

    A fetched row equal in value to the newest kept version of its key adds nothing. A changed one is added with
    `available_at = max(its own, retrieved_at)`: the provider did not say when it changed, so it was knowable from the moment
    we saw it. The same payloads therefore give the same rows.
    """
    kept, fetched = table.shape(kept), table.shape(fetched)
    if kept.is_empty():
        return fetched
    key = list(table.key)
    values = [c for c in table.schema() if c not in (*key, "available_at")]
    newest = kept.sort("available_at").group_by(key, maintain_order=True).last()
    compared = fetched.join(newest.select([*key, *values, pl.lit(True).alias("_known")]), on=key, how="left", suffix="_kept")
    same = pl.col("_known").fill_null(False) & pl.all_horizontal(
        [pl.col(v).eq_missing(pl.col(f"{v}_kept")) for v in values] or [pl.lit(True)]
    )
    fresh = compared.filter(pl.col("_known").is_null()).select(table.schema().names())
    changed = compared.filter(pl.col("_known").fill_null(False) & ~same).select(table.schema().names())
    changed = changed.with_columns(
        available_at=pl.max_horizontal("available_at", pl.lit(retrieved_at, dtype=kept.schema["ts"]))
    )
    return pl.concat([kept, fresh, changed]).unique(maintain_order=True)


def newest(table: type[Table], rows: pl.LazyFrame, known_by: datetime | None = None) -> pl.LazyFrame:
    """One row a key: the newest version, of those known by `known_by` where it is given."""
    if known_by is not None:
        rows = rows.filter(pl.col("available_at") <= known_by)
    return rows.sort("available_at").group_by(list(table.key), maintain_order=True).last()
