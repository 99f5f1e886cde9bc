"""Fits and forecasts: scalers, coefficients, trees and calibrations are made of what was known when the test window began.

A fit is audited as it is called in a walk-forward run, on a panel from matrix and labels; the rows and labels that became known
after the test window began are exchanged, and every number it learned must stay. A forecast is audited at moments inside the
test window. The nets share one preparation of inputs, which is audited by itself: training one takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.subjects._context import MATRIX, TARGETS, Context
from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.lake import Reader
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models import registry
from crypto_assets.models._base import OUTPUTS
from crypto_assets.models.checkpoint import Checkpoint

COLUMNS = 16
"""Features of the panel: a fit that looks ahead does so whatever their number."""
PRESET, SEED = "debug", 0
FLOAT32 = 1e-6
"""Tolerance: panels and scaled inputs are float32."""
Learned = Callable[[Panel, Fold], dict[str, np.ndarray]]


@dataclass
class _Panels:
    """Panels of a reader's matrix and labels, always with the same columns and coins."""

    columns: tuple[str, ...]
    symbols: tuple[str, ...]
    fitted: dict[str, Checkpoint] = field(default_factory=dict)

    def of(self, reader: Reader, window: Window) -> Panel:
        matrix, targets = (reader.scan(t, window.start, window.end).collect() for t in (MATRIX, TARGETS))
        return from_tables(matrix, targets, self.symbols, self.columns)


def auditables(context: Context) -> Iterator[Auditable]:
    """The fit and the forecast of every model that is no net, and the inputs of the nets."""
    fold = context.fold
    if fold is None or not context.families or context.matrix.is_empty():
        return
    panels = _Panels(_columns(context.matrix), tuple(sorted(context.matrix["symbol"].unique())))
    context.sample.provide(MATRIX, context.matrix.select("symbol", "ts", "available_at", "return_1h", *panels.columns))
    context.sample.provide(TARGETS, context.targets)
    yield _fit("models/nets inputs", _net_inputs, panels, fold)
    for name in registry.MODELS:
        if not _is_net(name):
            yield _fit(f"models/{name}", _fitter(name, panels), panels, fold)
            yield _forecast(name, panels, fold)


def _columns(matrix: pl.DataFrame) -> tuple[str, ...]:
    """Columns with most values, evenly taken."""
    names = [c for c in matrix.columns if "." in c and matrix[c].null_count() < 0.5 * matrix.height]
    return tuple(sorted(names[:: max(1, len(names) // COLUMNS)][:COLUMNS]))


def _is_net(name: str) -> bool:
    """Whether the model's file makes a NetModel; read, not imported, because torch takes seconds."""
    spec = find_spec(registry.MODELS[name].split(":")[0])
    return spec is not None and spec.origin is not None and "NetModel(" in Path(spec.origin).read_text(encoding="utf-8")


def _fit(name: str, learn: Learned, panels: _Panels, fold: Fold) -> Auditable:
    """What was learned as rows: one a number, `ts` the moment the test window begins."""

    def recompute(reader: Reader, window: Window) -> pl.DataFrame:
        learned = learn(panels.of(reader, window), fold)
        size = max((v.size for v in learned.values()), default=0)
        columns = {k: np.pad(v.astype(float).ravel(), (0, size - v.size), constant_values=np.nan) for k, v in learned.items()}
        keys = {"symbol": [f"{n:06d}" for n in range(size)], "ts": [fold.test.start] * size}
        return pl.DataFrame(keys | columns).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))

    return Auditable(
        name, (MATRIX, TARGETS), recompute, prefix=f"{name}.", cuts=(fold.test.start,), effort=0.0, tolerance=FLOAT32
    )


def _fitter(name: str, panels: _Panels) -> Learned:
    def learn(panel: Panel, fold: Fold) -> dict[str, np.ndarray]:
        from crypto_assets.evaluation.walkforward import fit_fold

        checkpoint = fit_fold(panel, fold, name, preset=PRESET, seed=SEED)
        panels.fitted.setdefault(name, checkpoint)
        return checkpoint.tensors

    return learn


def _net_inputs(panel: Panel, fold: Fold) -> dict[str, np.ndarray]:
    from crypto_assets.models.training.inputs import Inputs

    seen = panel.cut(Window(min(fold.train.start, _first(panel)), fold.valid.end))
    return Inputs.fit(seen.cut(fold.train), lags=8, indicators=True).tensors()


def _first(panel: Panel) -> datetime:
    from datetime import UTC

    return panel.ts[0].astype("datetime64[us]").item().replace(tzinfo=UTC)


def _forecast(name: str, panels: _Panels, fold: Fold) -> Auditable:
    """The rows of `forecasts/<name>` from one checkpoint."""

    def recompute(reader: Reader, window: Window) -> pl.DataFrame:
        from crypto_assets.evaluation.walkforward import fit_fold, predict_window

        panel = panels.of(reader, window)
        if name not in panels.fitted:
            panels.fitted[name] = fit_fold(panel, fold, name, preset=PRESET, seed=SEED)
        rows = predict_window(panels.fitted[name], panel, Window(fold.test.start, window.end - 2 * HOUR))
        return rows.select("symbol", "ts", "horizon", *OUTPUTS)

    middle = fold.test.start + (fold.test.end - fold.test.start) / 2
    cuts = (middle.replace(minute=0, second=0, microsecond=0), fold.test.start + 5 * HOUR)
    keys = ("symbol", "ts", "horizon")
    return Auditable(
        f"forecasts/{name}",
        (MATRIX, TARGETS),
        recompute,
        keys,
        prefix=f"forecasts/{name}.",
        cuts=cuts,
        effort=0.1,
        tolerance=FLOAT32,
    )
