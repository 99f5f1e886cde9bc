"""A derived table: which tables it reads, how far back (and, for labels, ahead), and the pure function that makes it.

Assets, `evaluate`, benchmarks and the leak firewall all go through `derive`, so what is tested is what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from crypto_assets.lake.engine import engine
from crypto_assets.lake.store import Reader
from crypto_assets.lake.tables import Table
from crypto_assets.market.time import Window


@dataclass(frozen=True)
class Derivation:
    """`compute` gets one LazyFrame per input, by argument name, each `[start - lookback, end + lookahead)`."""

    table: type[Table]
    inputs: Mapping[str, str]
    """Argument name -> table name."""
    compute: Callable[..., pl.LazyFrame]
    lookback: timedelta = timedelta(0)
    lookahead: timedelta = timedelta(0)
    """Zero for everything but labels."""
    doc: str = ""
    grid: str = ""
    """The table, if any, of which only the keys count: which rows there are, not what they say."""

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name


def derive(derivation: Derivation, reader: Reader, window: Window) -> pl.DataFrame:
    """The rows of the derived table in `window`, in table shape, sorted by key.

    `available_at` defaults to `ts`: a row of a derived table is a claim that it was known then.
    """
    wide = window.widen(derivation.lookback, derivation.lookahead)
    inputs = {arg: reader.scan(name, wide.start, wide.end) for arg, name in derivation.inputs.items()}
    rows = derivation.compute(**inputs).filter((pl.col("ts") >= window.start) & (pl.col("ts") < window.end))
    frame = rows.collect(engine=engine())
    if "available_at" not in frame.columns:
        frame = frame.with_columns(available_at=pl.col("ts"))
    return _sorted(derivation.table.shape(frame), [*derivation.table.key, "available_at"])


def _sorted(frame: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The frame in the order of `key`; most tables come sorted, and a wide one is not copied to find that out."""
    order = frame.select(key).with_row_index("_row").sort([*key, "_row"])["_row"]
    return frame if order.is_sorted() else frame[order]
