"""The fusion: weights, calibration and intervals are made of what had closed when they were fitted, a row of what had by then.

Two plain members, which follow and oppose the last hour's return, forecast every hour of the sample; the fusion is fitted on
those before the test window and combines those inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.subjects._context import MATRIX, TARGETS, Context
from crypto_assets.audit.subjects.fits import _columns, _fit, _Panels
from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.families import expit
from crypto_assets.fusion.fitting import fit
from crypto_assets.fusion.fused import apply
from crypto_assets.fusion.tables import fused_rows
from crypto_assets.lake import Reader
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.models._base import OUTPUTS, Forecast

SLOPES = {"follows": 0.5, "opposes": -0.3}
VERSIONS = dict.fromkeys(SLOPES, "0")
LEARNED_DAYS = 10
WITHOUT = ("available_at", "trained_until", "model_version", "price_target_usd", "action")


def auditables(context: Context) -> Iterator[Auditable]:
    """What a fusion learns, and its rows."""
    fold = context.fold
    if fold is None or not context.families or context.matrix.is_empty():
        return
    panels = _Panels(_columns(context.matrix), tuple(sorted(context.matrix["symbol"].unique())))
    context.sample.provide(MATRIX, context.matrix.select("symbol", "ts", "available_at", "return_1h", *panels.columns))
    context.sample.provide(TARGETS, context.targets)
    yield _fit("models/fusion", lambda panel, fold: _fitted(panel, fold).stored.tensors, panels, fold)

    def combined(reader: Reader, window: Window) -> pl.DataFrame:
        panel = panels.of(reader, window)
        tested = panel.cut(Window(fold.test.start, window.end - 2 * HOUR))
        made = apply(_fitted(panel, fold), members(tested), tested.labels, versions=VERSIONS, cost=0.0014)
        return fused_rows(made, "0", fold.test.start, tested.listed_TN).drop(WITHOUT)

    cuts = (fold.test.start + timedelta(days=4, hours=7), fold.test.start + 5 * HOUR)
    keys = ("symbol", "ts", "horizon")
    yield Auditable("fusion/fused", (MATRIX, TARGETS), combined, keys, prefix="fusion/fused.", cuts=cuts, effort=0.1)


def members(panel: Panel) -> dict[str, Forecast]:
    """Two members of every output, from the last hour's return alone."""
    z_TN = np.clip(np.nan_to_num(panel.r_TN) * 100, -3, 3)
    found = {}
    for name, slope in SLOPES.items():
        f = Forecast.empty(panel)
        p = np.where(panel.listed_TN, expit(slope * z_TN), np.nan)
        log_var = np.abs(z_TN) - 9
        found[name] = replace(
            f,
            p_up_HTN=np.stack([p] * 3),
            mean_HTN=np.stack([1e-3 * slope * z_TN] * 3),
            log_var_HTN=np.stack([log_var] * 3),
            p_beats_median_TN=p,
            realised_var_TN=24 * np.exp(log_var),
        )
    return found


def _fitted(panel: Panel, fold: Fold) -> FusionCheckpoint:
    past = panel.cut(Window(fold.test.start - LEARNED_DAYS * DAY, fold.test.start))
    outputs = dict.fromkeys(SLOPES, frozenset(OUTPUTS))
    return fit(members(past), past.labels, start=fold.test.start, outputs=outputs, versions=VERSIONS)
