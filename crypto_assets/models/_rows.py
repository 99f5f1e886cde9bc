"""What every baseline shares: which rows a fit may see, its design matrix, its checkpoint, its forecast.

Shapes: T decision times, N coins, F features, K = 4 direction targets, R rows (listed time-coin pairs, in time order).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import TARGETS, Panel
from crypto_assets.market.errors import CheckpointError
from crypto_assets.market.time import HORIZONS, HOUR, Window
from crypto_assets.models._base import Forecast, Scaler
from crypto_assets.models.checkpoint import Checkpoint

SCALER_ROWS = 60_000
"""Quantiles of this many rows are as good as of all: their relative error is about 1 %."""
BLOCK = 32_768
"""Rows worked on at a time, so that temporaries stay in cache."""


@dataclass(frozen=True)
class Rows:
    """The listed rows of training and validation, in time order, training first; `t`, `n` are their places in the panel."""

    t: np.ndarray
    n: np.ndarray
    train: slice
    valid: slice

    @classmethod
    def of(cls, panel: Panel, fold: Fold) -> Rows:
        """Rows of `fold.train` and `fold.valid`; the purge between and everything later is left out.

        Raises CheckpointError when either holds no listed row.
        """
        parts = [_listed(panel, window) for window in (fold.train, fold.valid)]
        for name, window, part in zip(("training", "validation"), (fold.train, fold.valid), parts, strict=True):
            if not len(part[0]):
                raise CheckpointError(
                    f"fold {fold.name} has no listed row in its {name} window {window.start} -> {window.end}: "
                    f"give the panel more history, or begin the fold later"
                )
        size = len(parts[0][0])
        t, n = (np.concatenate([parts[0][axis], parts[1][axis]]) for axis in (0, 1))
        return cls(t, n, slice(0, size), slice(size, len(t)))

    def __len__(self) -> int:
        return len(self.t)

    def targets(self, panel: Panel) -> np.ndarray:
        """Binary targets `y_RK`, float32, NaN where unknown; K in the order of TARGETS."""
        return np.stack([panel.target(name)[self.t, self.n] for name in TARGETS], axis=1).astype(np.float32)


def _listed(panel: Panel, window: Window) -> tuple[np.ndarray, np.ndarray]:
    s = panel.slice(window)
    t, n = np.nonzero(panel.listed_TN[s])
    return t + s.start, n


def usable_columns(panel: Panel, rows: Rows) -> tuple[np.ndarray, tuple[str, ...]]:
    """Positions of the columns with any value in training, and the names of those without."""
    first, last = int(rows.t[rows.train][0]), int(rows.t[rows.train][-1]) + 1
    known = np.zeros(len(panel.columns), dtype=bool)
    for start in range(first, last, 1024):
        stop = min(start + 1024, last)
        known |= np.isfinite(panel.x_TNF[start:stop][panel.listed_TN[start:stop]]).any(axis=0)
        if known.all():
            break
    return np.flatnonzero(known), tuple(c for c, k in zip(panel.columns, known, strict=True) if not k)


def fit_scaler(panel: Panel, rows: Rows, kept: np.ndarray) -> Scaler:
    """Scaler of the kept columns from (evenly thinned) training rows."""
    step = max(1, rows.train.stop // SCALER_ROWS)
    while step % 2 == 0 or step % 3 == 0:  # coprime with 24: every hour of the day is met
        step += 1
    t, n = rows.t[rows.train][::step], rows.n[rows.train][::step]
    sample = panel.x_TNF[t, n][:, kept]
    return Scaler.fit(sample[:, None, :], np.ones((len(t), 1), dtype=bool))


def scaled(panel: Panel, t: np.ndarray, n: np.ndarray, kept: np.ndarray, scaler: Scaler, *, before: int = 0) -> np.ndarray:
    """`x_RF`: scaled kept columns of rows (t, n), float32, missing 0, behind `before` columns left for the caller to fill."""
    out = np.empty((len(t), before + len(kept)), dtype=np.float32)
    whole = len(kept) == len(panel.columns)
    for at in range(0, len(t), BLOCK):
        stop = min(at + BLOCK, len(t))
        block = panel.x_TNF[t[at:stop], n[at:stop]]
        out[at:stop, before:] = scaler.apply(block if whole else block[:, kept])
    return out


def coin_columns(out_RN: np.ndarray, n: np.ndarray) -> None:
    """Fill `out_RN` with one-hot coins, scaled to about unit variance so that one penalty suits all columns."""
    coins = out_RN.shape[1]
    out_RN[:] = 0.0
    out_RN[np.arange(len(n)), n] = np.sqrt(coins)


def make_checkpoint(
    model: str,
    panel: Panel,
    fold: Fold,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray],
    dropped: tuple[str, ...] = (),
) -> Checkpoint:
    """The checkpoint of a fit that used `fold.train` and `fold.valid`."""
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    return Checkpoint(
        model, panel.columns, panel.symbols, fold.train.start, fold.valid.end, dict(config), arrays, dropped=dropped
    )


def check(checkpoint: Checkpoint, model: str, panel: Panel) -> None:
    """Raise CheckpointError unless the checkpoint is of `model`, and the panel has the features and coins it was trained on."""
    if checkpoint.model != model:
        raise CheckpointError(f"a checkpoint of {checkpoint.model} was given to {model}: load the one that {model} wrote")
    checkpoint.require(panel.columns)
    if panel.symbols != checkpoint.symbols:
        raise CheckpointError(
            f"checkpoint {checkpoint.model} {checkpoint.version} was trained on the coins {list(checkpoint.symbols)}, this "
            f"panel has {list(panel.symbols)}: use the same universe in the same order, or retrain it"
        )


@dataclass(frozen=True)
class Request:
    """What a forecast is asked for: listed rows (t, n) of `cut`, and `near` = `cut` with context, where they are (at, n)."""

    cut: Panel
    near: Panel
    t: np.ndarray
    n: np.ndarray
    at: np.ndarray

    @classmethod
    def of(cls, checkpoint: Checkpoint, model: str, panel: Panel, window: Window, context_hours: int = 0) -> Request:
        """Rows of `window`. Raises CheckpointError for a checkpoint of another model, other features or other coins."""
        check(checkpoint, model, panel)
        cut, near = panel.cut(window), panel.cut(window.widen(before=context_hours * HOUR))
        t, n = np.nonzero(cut.listed_TN)
        return cls(cut, near, t, n, t + len(near.ts) - len(cut.ts))


def direction_forecast(request: Request, p_RK: np.ndarray) -> Forecast:
    """The forecast with `p_RK` (K in the order of TARGETS) on the requested rows, NaN elsewhere."""
    forecast = Forecast.empty(request.cut)
    for k in range(len(HORIZONS)):
        forecast.p_up_HTN[k, request.t, request.n] = p_RK[:, k]
    forecast.p_beats_median_TN[request.t, request.n] = p_RK[:, len(HORIZONS)]
    return forecast


def variance_forecast(request: Request, variance_R: np.ndarray) -> Forecast:
    """The forecast with realised variances on the requested rows, NaN elsewhere."""
    forecast = Forecast.empty(request.cut)
    forecast.realised_var_TN[request.t, request.n] = variance_R
    return forecast
