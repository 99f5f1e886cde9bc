"""A challenger: the champion's members fitted anew on everything known, ready to be compared in shadow.

The fold of a partition ends where its test window begins, so fitting the current fold again gives the checkpoint there is. What
is wanted when the market has changed is a fit up to now: the same purge, the same held-out part for early stopping and
calibration, but ending with the newest label. After a change of law the history before it teaches what no longer holds, so
there are further candidates: what came since the change, and since the one the champion was fitted from. The one with the
smallest loss on held-out days that none was fitted on becomes the challenger. Whether it is better than the champion is for the
gate to say, on later days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.dataset.folds import PURGE, VALID_DAYS, VALID_SHARE, Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle, code_revision, predict
from crypto_assets.evaluation.metrics import log_losses
from crypto_assets.evaluation.walkforward import fit_fold
from crypto_assets.market.errors import CheckpointError
from crypto_assets.market.time import DAY, Window
from crypto_assets.models._base import Forecast
from crypto_assets.monitoring.gate import Paired

Array = np.ndarray
Answering = Callable[[Bundle, Panel, Window], Forecast]

LEAST_SINCE = 9 * DAY
"""Fewer days since a change are too few to learn from: here five to fit on, one for the purge, three held out."""
LEAST_VALID = 3


@dataclass(frozen=True)
class Candidate:
    """A fit from `first` on, and its loss on the held-out days that all candidates share."""

    first: datetime
    bundle: Bundle
    loss: float


def fold_until(first: datetime, until: datetime) -> Fold:
    """A fold that is fitted on labels from `first` to `until` and may be asked from a purge after `until` on.

    Raises CheckpointError when less than `LEAST_SINCE` lies between them.
    """
    if until - first < LEAST_SINCE:
        raise CheckpointError(f"only {until - first} from {first} to {until}: a fit needs at least {LEAST_SINCE.days} days")
    share = (until - first) * VALID_SHARE
    valid = Window(until - min(timedelta(days=VALID_DAYS), max(timedelta(days=LEAST_VALID), share)), until)
    start = until + PURGE
    return Fold(until.date().isoformat(), Window(first, valid.start - PURGE), valid, Window(start, start + 366 * DAY))


def candidates(
    champion: Bundle, panel: Panel, until: datetime, *, preset: str, seed: int, change: datetime | None = None
) -> list[Candidate]:
    """The champion's members fitted on all of the panel's history up to `until`, and on what came since a change; best first.

    A fusion is fitted for the members it names and goes with no others, so a challenger brings none: in shadow and when served
    it gets the one that is fitted for it from the lake (`fusion_of`). Candidates are chosen by their pools. Changes are
    `change` and where the champion's own fit began; a change too new to learn from is taken for `LEAST_SINCE` ago, the days
    before it being the smaller part. The loss is that of the combined 1 h forecast over the held-out window of the shortest
    candidate.
    """
    first = panel.ts[0].astype("datetime64[us]").item().replace(tzinfo=until.tzinfo)
    since = [min(s, until - LEAST_SINCE) for s in (change, began(champion)) if s is not None]
    starts = [first, *(s for s in dict.fromkeys(since) if first < s)]
    folds = [fold_until(s, until) for s in starts]
    shared = min((f.valid for f in folds), key=lambda w: w.end - w.start)
    made = []
    for begin, fold in zip(starts, folds, strict=True):
        members = {name: fit_fold(panel, fold, name, preset=preset, seed=seed) for name in champion.members}
        lineage = {"fold": fold.name, "from": begin.isoformat(), "until": until.isoformat(), "revision": code_revision()}
        bundle = replace(champion, members=members, lineage=lineage, fusion=None)
        made.append(Candidate(begin, bundle, _loss(bundle, panel, shared)))
    return sorted(made, key=lambda c: c.loss)


def began(bundle: Bundle) -> datetime | None:
    """First label of the history a challenger was fitted on; None for a bundle of a fold."""
    found = bundle.lineage.get("from")
    return None if found is None else datetime.fromisoformat(found)


def outdated(challenger: Bundle | None, change: datetime | None) -> bool:
    """Whether there is no challenger in shadow, or the market changed after its fit."""
    if challenger is None:
        return True
    return change is not None and max(c.trained_until for c in challenger.members.values()) < change


def shadow_start(*bundles: Bundle) -> datetime:
    """The midnight from which on every one of them is out of sample."""
    last = max(c.trained_until for b in bundles for c in b.members.values()) + PURGE
    day = last.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day == last else day + DAY


def shadow(champion: Bundle, challenger: Bundle, panel: Panel, window: Window, answer: Answering | None = None) -> pl.DataFrame:
    """Mean losses of both by day and target over the rows of `window` that both forecast and whose labels have closed.

    `answer(bundle, panel, window)` gives the forecasts that are compared; without it, the pools of their members. Columns day,
    target, rows, champion, challenger. A day is whole or left out: its last label closes a day after it.
    """
    asked = answer or (lambda bundle, panel, window: predict(bundle, panel, window).combined)
    answers = [asked(b, panel, window) for b in (champion, challenger)]
    s = panel.slice(window)
    days = panel.ts[s].astype("datetime64[D]")
    frames = []
    for target in ("1h", "4h", "24h", "24h_relative"):
        y = panel.target(target)[s]
        p = [_probability(a, target) for a in answers]
        told = ~np.isnan(y) & ~np.isnan(p[0]) & ~np.isnan(p[1]) & panel.listed_TN[s]
        if told.any():
            losses = [np.where(told, log_losses(np.nan_to_num(q, nan=0.5), np.nan_to_num(y)), 0.0).sum(axis=1) for q in p]
            by_hour = pl.DataFrame({"day": days, "rows": told.sum(axis=1), "champion": losses[0], "challenger": losses[1]})
            frames.append(by_hour.group_by("day").agg(pl.all().sum()).with_columns(target=pl.lit(target)))
    if not frames:
        return pl.DataFrame(schema=_SHADOW)
    known = panel.ts[-1] - np.timedelta64(1, "D") if len(panel.ts) else None
    rows = pl.concat(frames).filter(pl.col("rows") > 0, pl.lit(known).cast(pl.Date) > pl.col("day"))
    mean = (pl.col(c) / pl.col("rows") for c in ("champion", "challenger"))
    return rows.with_columns(*mean).select(pl.col(c).cast(t) for c, t in _SHADOW.items()).sort("target", "day")


def paired(days: pl.DataFrame) -> dict[str, Paired]:
    """The table of `shadow` as the gate takes it."""
    found = {}
    for (target,), rows in days.sort("day").group_by("target", maintain_order=True):
        found[str(target)] = Paired(*(rows[c].to_numpy() for c in ("champion", "challenger", "rows")))
    return found


_SHADOW: Mapping[str, Any] = {
    "day": pl.Date,
    "target": pl.String,
    "rows": pl.Int64,
    "champion": pl.Float64,
    "challenger": pl.Float64,
}


def _probability(forecast: Forecast, target: str) -> Array:
    if target == "24h_relative":
        return forecast.p_beats_median_TN
    return forecast.p_up_HTN[("1h", "4h", "24h").index(target)]


def _loss(bundle: Bundle, panel: Panel, window: Window) -> float:
    p = predict(bundle, panel, window).combined.p_up_HTN[0]
    y = panel.target("1h")[panel.slice(window)]
    told = ~np.isnan(y) & ~np.isnan(p)
    return float(log_losses(p[told], y[told]).mean()) if told.any() else float("inf")
