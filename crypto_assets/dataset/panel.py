"""The dense panel: `[time, coin, feature]` float32 with NaN where nothing was known, and the labels beside it.

Shapes: T decision times (hourly, without holes), N coins, F features. Row t is what was known at `ts[t]`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from crypto_assets.market.errors import SchemaError
from crypto_assets.market.time import HORIZONS, Window

Array = np.ndarray


@dataclass(frozen=True)
class Panel:
    """Everything a model may see (`x`, `r`, `listed`, time) and what it is asked for (`labels`).

    `x_TNF` float32, unscaled, NaN = missing. `r_TN` float64: log return of the bar that closed at `ts`, NaN = missing.
    `listed_TN`: the coin has a bar closing at `ts`; nothing is forecast, trained or scored elsewhere.
    `labels`: float64 `[T, N]` each, NaN = unknown: `ret_1h ret_4h ret_24h` log returns ahead, `above_median_24h` 1 or 0,
    `rv_24h` realised variance of the next 24 hours.
    """

    ts: Array
    symbols: tuple[str, ...]
    columns: tuple[str, ...]
    x_TNF: Array
    r_TN: Array
    listed_TN: Array
    labels: dict[str, Array]

    def slice(self, window: Window) -> slice:
        """Positions of `window` on the time axis."""
        start, end = (np.datetime64(t.replace(tzinfo=None), "us") for t in (window.start, window.end))
        return slice(int(np.searchsorted(self.ts, start)), int(np.searchsorted(self.ts, end)))

    def cut(self, window: Window) -> Panel:
        """The panel of `window` alone."""
        s = self.slice(window)
        return replace(
            self,
            ts=self.ts[s],
            x_TNF=self.x_TNF[s],
            r_TN=self.r_TN[s],
            listed_TN=self.listed_TN[s],
            labels={k: v[s] for k, v in self.labels.items()},
        )

    def up(self, horizon: str) -> Array:
        """1.0 up, 0.0 down, NaN unknown or exactly zero, `[T, N]`."""
        ret = self.labels[f"ret_{horizon}"]
        return np.where(np.isnan(ret) | (ret == 0), np.nan, (ret > 0).astype(float))

    def target(self, name: str) -> Array:
        """Binary target by its name in reports: `1h`, `4h`, `24h` or `24h_relative`."""
        return self.labels["above_median_24h"] if name == "24h_relative" else self.up(name)

    @cached_property
    def rv_TN(self) -> Array:
        """Trailing squared hourly returns summed over 24 h, `[T, N]`, NaN until 24 are known."""
        squared = np.cumsum(np.nan_to_num(self.r_TN) ** 2, axis=0)
        out = np.full_like(squared, np.nan)
        out[24:] = squared[24:] - squared[:-24]
        return out


HOUR_US = 3_600_000_000
TARGETS = ("1h", "4h", "24h", "24h_relative")


def from_tables(
    matrix: pl.DataFrame, labels: pl.DataFrame, symbols: tuple[str, ...], columns: tuple[str, ...] | None = None
) -> Panel:
    """Lay `features/matrix` and `labels/targets` out as a panel.

    `matrix` has symbol, ts, `return_1h` (log return of the bar that closed at ts) and the feature columns; `columns` chooses
    and orders them. The time axis runs hourly from the first to the last ts; absent rows are not listed.
    Raises SchemaError when there are no rows or a wanted column is missing.
    """
    meta = {"symbol", "ts", "available_at", "return_1h"}
    names = columns if columns is not None else tuple(sorted(c for c in matrix.columns if c not in meta))
    missing = [c for c in names if c not in matrix.columns]
    if missing:
        raise SchemaError(f"features/matrix lacks the columns {missing}: materialise their families, or leave them out")
    if matrix.is_empty():
        raise SchemaError("features/matrix has no rows in this window: materialise the features first")
    first, last = matrix["ts"].min(), matrix["ts"].max()
    steps = matrix["ts"].to_physical()
    ts = np.arange(int(steps[steps.arg_min() or 0]), int(steps[steps.arg_max() or 0]) + HOUR_US, HOUR_US).astype(
        "datetime64[us]"
    )
    T, N = len(ts), len(symbols)
    x = np.full((T, N, len(names)), np.nan, dtype=np.float32)
    r = np.full((T, N), np.nan)
    listed = np.zeros((T, N), dtype=bool)
    wanted = [f"ret_{h}" for h in HORIZONS] + ["above_median_24h", "rv_24h"]
    targets = {name: np.full((T, N), np.nan) for name in wanted}
    for n, symbol in enumerate(symbols):
        rows = matrix.filter(pl.col("symbol") == symbol)
        at = _positions(rows["ts"], ts)
        x[at, n] = rows.select(pl.col(names).cast(pl.Float32).fill_null(float("nan"))).to_numpy() if names else 0
        r[at, n] = rows["return_1h"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        listed[at, n] = True
        truth = labels.filter((pl.col("symbol") == symbol) & pl.col("ts").is_between(first, last))
        at = _positions(truth["ts"], ts)
        for name in wanted:
            targets[name][at, n] = truth[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return Panel(ts, symbols, names, x, r, listed, targets)


def _positions(column: pl.Series, ts: Array) -> Array:
    return ((column.to_physical().to_numpy() - ts[0].astype("int64")) // HOUR_US).astype(np.int64)
