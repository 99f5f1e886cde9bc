"""The graph between coins that the graph network reads: every edge from bars closed when it was drawn.

A row is an edge at a decision time, with both its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.subjects._context import MATRIX, Context
from crypto_assets.lake import Reader
from crypto_assets.market.time import Window

HOURS = 168
"""Trailing hours of the correlations in an audit: the sample is shorter than a fit's history."""
FLOAT32 = 1e-6
Draw = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def auditables(context: Context) -> Iterator[Auditable]:
    """The graph of the sample's returns."""
    if context.fold is None or not context.families or context.matrix.is_empty():
        return
    if MATRIX not in context.sample.read:
        context.sample.provide(MATRIX, context.matrix)
    symbols = tuple(sorted(context.matrix["symbol"].unique()))
    yield of_edges(symbols)


def of_edges(symbols: tuple[str, ...], graphs: Draw | None = None) -> Auditable:
    """The edges between these coins, as training draws them, or as `graphs` does."""

    def recompute(reader: Reader, window: Window) -> pl.DataFrame:
        returns = reader.scan(MATRIX, window.start, window.end).select("symbol", "ts", "return_1h").collect()
        return _rows(returns, symbols, graphs or _trained)

    return Auditable(
        "models/graph edges",
        (MATRIX,),
        recompute,
        keys=("symbol", "origin", "ts"),
        prefix="models/graph edges.",
        effort=0.2,
        tolerance=FLOAT32,
    )


def _trained(u_TN: np.ndarray, known_TN: np.ndarray, ts: np.ndarray) -> np.ndarray:
    """The edges of each hour, `[T, N, N, R]`."""
    from crypto_assets.models.training.edges import EdgeRule, Edges

    _, graphs = Edges.fit(EdgeRule(hours=HOURS), u_TN, known_TN, ts, slice(0, len(ts)))
    return graphs.edges_GNNR[graphs.at_T]


def _rows(returns: pl.DataFrame, symbols: tuple[str, ...], draw: Draw) -> pl.DataFrame:
    """One row an edge and hour."""
    wide = returns.pivot(on="symbol", index="ts", values="return_1h").sort("ts").upsample("ts", every="1h")
    columns = [pl.col(s) if s in wide.columns else pl.lit(None).alias(s) for s in symbols]
    r_TN = wide.select(c.cast(pl.Float64) for c in columns).to_numpy()
    ts = wide["ts"].dt.replace_time_zone(None).to_numpy()
    known_TN = np.isfinite(r_TN)
    u_TN = np.where(known_TN, r_TN, 0.0) / 0.005  # any constant scale will do
    edges = draw(u_TN, known_TN, ts)
    N = len(symbols)
    to, origin = np.divmod(np.arange(N * N), N)
    rows = {
        "ts": np.repeat(ts, N * N),
        "symbol": np.tile(np.array(symbols)[to], len(ts)),
        "origin": np.tile(np.array(symbols)[origin], len(ts)),
    }
    numbers = edges.reshape(-1, edges.shape[-1]).astype(float)
    frame = pl.DataFrame(rows | {name: numbers[:, k] for k, name in enumerate(("correlation", "lead"))})
    times = pl.col("ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return frame.with_columns(times).filter(pl.col("symbol") != pl.col("origin"))
