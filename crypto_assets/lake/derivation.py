"""A derived table: which tables it reads, how far back (and, for labels, ahead), and the pure function that makes it.

Assets, `evaluate`, benchmarks and the leak firewall all go through `derive`, so what is tested is what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from crypto_assets.lake.engine import engine
from crypto_assets.lake.store import Reader
from crypto_assets.lake.tables import Table
from crypto_assets.market.time import Window


@dataclass(frozen=True)
class Derivation:
    """`compute` gets one LazyFrame per input, by argument name, each `[start - back(argument), end + lookahead)`."""

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
    lookbacks: Mapping[str, timedelta] = field(default_factory=dict)
    """By argument, where less history than `lookback` is enough."""
    by_coin: tuple[str, ...] = ()
    """Arguments whose rows may be those of some coins only: the rows of these coins come out as they do among all. None where
    coins are compared."""

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    def back(self, argument: str) -> timedelta:
        """How much history that argument is read with."""
        return min(self.lookbacks.get(argument, self.lookback), self.lookback)

    def reach(self) -> dict[str, timedelta]:
        """Table -> how much history it is read with."""
        back: dict[str, timedelta] = {}
        for argument, table in self.inputs.items():
            back[table] = max(back.get(table, timedelta(0)), self.back(argument))
        return back


def derive(derivation: Derivation, reader: Reader, window: Window, *, symbols: Collection[str] | None = None) -> pl.DataFrame:
    """The rows of the derived table in `window`, in table shape, sorted by key.

    `available_at` defaults to `ts`: a row of a derived table is a claim that it was known then. With `symbols`, those of these
    coins: of the inputs `by_coin` no others are read.
    """
    end = window.end + derivation.lookahead
    inputs = {arg: reader.scan(name, window.start - derivation.back(arg), end) for arg, name in derivation.inputs.items()}
    if symbols is not None:
        some = pl.col("symbol").is_in(list(symbols))
        inputs |= {arg: inputs[arg].filter(some) for arg in derivation.by_coin}
    rows = derivation.compute(**inputs).filter((pl.col("ts") >= window.start) & (pl.col("ts") < window.end))
    frame = rows.collect(engine=engine())
    if "available_at" not in frame.columns:
        frame = frame.with_columns(available_at=pl.col("ts"))
    return in_order(derivation.table.shape(frame), [*derivation.table.key, "available_at"])


def in_order(frame: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    """The frame in the order of `key`; most tables come sorted, and a wide one is not copied to find that out."""
    order = frame.select(key).with_row_index("_row").sort([*key, "_row"])["_row"]
    return frame if order.is_sorted() else frame[order]
