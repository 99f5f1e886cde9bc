"""The matrix: every family's columns beside the bar's own return, one row a coin and bar."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from crypto_assets.features._family import Column, FeatureFamily, feature_table
from crypto_assets.lake import Derivation
from crypto_assets.market.errors import SettingsError

RETURN = "return_1h"


def matrix(families: Iterable[FeatureFamily]) -> Derivation:
    """`features/matrix` of these families: `symbol, ts, return_1h` and `<family>.<column>`.

    A row for every candle; a family that has no row there leaves nulls. `return_1h` is the log return of the bar that closed at
    `ts`, null where the bar before is missing. Raises SettingsError when two families have one name.
    """
    chosen = list(families)
    names = [family.name for family in chosen]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise SettingsError(f"two feature families are called {', '.join(repeated)}: rename one of them")
    columns = {f"{f.name}.{c}": d for f in chosen for c, d in f.described().items()}
    own = {RETURN: Column("log return of the bar that closed at ts", "log", timedelta(hours=2))}
    tables = {f"of_{name}": f"features/{name}" for name in names}
    inputs = {"candles": "curated/candles", **tables}

    def compute(candles: pl.LazyFrame, **tables: pl.LazyFrame) -> pl.LazyFrame:
        rows = _returns(candles).sort("symbol", "ts").collect()
        parts = [_aligned(rows, tables[f"of_{family.name}"].collect(), family) for family in chosen]
        return pl.concat([rows, *parts], how="horizontal").lazy()

    doc = "All feature families side by side: one row a coin and decision time."
    table = feature_table("matrix", {**own, **columns})
    at_once = dict.fromkeys(tables, timedelta(0))
    return Derivation(table, inputs, compute, timedelta(hours=2), doc=doc, lookbacks=at_once, by_coin=tuple(inputs))


def _aligned(rows: pl.DataFrame, table: pl.DataFrame, family: FeatureFamily) -> pl.DataFrame:
    """The family's columns, named for the matrix, at each of `rows`.

    Only the keys are joined, and the columns are not moved at all where the family has the same rows in the same order, which
    is the rule: joining family after family copies the growing matrix each time and needs more than twice the memory.
    """
    numbered = table.select("symbol", "ts").with_row_index("_row")
    at = rows.select("symbol", "ts").join(numbered, on=["symbol", "ts"], how="left", maintain_order="left")["_row"]
    values = table.select(pl.col(c).alias(f"{family.name}.{c}") for c in family.columns)
    same = at.len() == table.height and at.null_count() == 0 and (at == numbered["_row"]).all()
    return values if same else values.select(pl.all().gather(at))


def _returns(candles: pl.LazyFrame) -> pl.LazyFrame:
    closes = candles.select("symbol", (pl.col("ts") + pl.duration(hours=1)).alias("ts"), "close")
    before = closes.select("symbol", pl.col("ts") + pl.duration(hours=1), pl.col("close").alias("_before"))
    rows = closes.join(before, on=["symbol", "ts"], how="left")
    return rows.select("symbol", "ts", (pl.col("close") / pl.col("_before")).log().alias(RETURN))
