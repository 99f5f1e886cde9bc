"""The only road from a forecast to a number about it: `score` measures every model on the same rows and counts the trials.

A direction target is `1h`, `4h`, `24h` (P(up), exact zero returns left out and counted) or `24h_relative` (P(the coin beats
the cross-sectional median)). Losses are in nats, variances in squared log returns. Where a number does not exist (a model
alone, one class, one day) it is null.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import TARGETS
from crypto_assets.evaluation.alignment import Board, Labels, align, horizon_of
from crypto_assets.evaluation.breakdown import groups
from crypto_assets.evaluation.ledger import Ledger, Study, days_of
from crypto_assets.evaluation.measures import ORACLE, Rows, direction, number, parts, volatility
from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import HORIZONS

Array = np.ndarray

CRASH_SHARE = 0.01


def score(
    forecasts: Mapping[str, pl.DataFrame],
    labels: Labels,
    *,
    study: Study,
    lake: Path | str,
    oracle: pl.DataFrame | None = None,
    backtest: Mapping[str, Mapping[str, Any]] | None = None,
    seconds: float = 0.0,
    crash_share: float = CRASH_SHARE,
) -> dict[str, Any]:
    """Measure `forecasts` against `labels` over the test windows of `study.folds`, and enter each model in the ledger.

    `forecasts`: model -> rows of `forecasts/<model>`; an output that is null throughout is not scored. `labels`:
    `labels/targets` or a panel. `oracle`: symbol, ts, p_up (the published optimum for 1 h), p_up_latent, rv_24h_forecast.
    `backtest` is passed through and kept in the ledger. `seconds`: what the run took so far; the scoring is added.

    Returns the evaluate JSON (plain types, no NaN): `data`, `direction` (target -> model -> metrics, and `oracle` where one
    is given), `volatility`, `breakdown` (target -> model -> `coin`, `regime`, `month` -> group -> measures), `backtest`,
    `trials`, `seconds`; beside them `rows` (by target: labelled, scored, not forecast by all), `excluded_zero_returns`,
    `crash_days` (the same metrics without the `crash_share` of days with the largest equal-weight |24 h return|), `holdout`
    (the part of the locked window that was read, and reads so far; null outside it) and `holdout_declared` (the window).

    All models of a target are scored on the rows that all of them forecast. Raises SchemaError when there are none although
    labels exist, and SettingsError for a model without a configuration or a study without folds.
    """
    started = time.perf_counter()
    if not study.folds:
        raise SettingsError("the study has no folds: give at least one walk-forward fold")
    trials = {model: study.trial(model) for model in forecasts}
    board = align(forecasts, labels, study.folds, oracle)
    result = {"data": _data(board, study), **_measure(board, np.ones(len(board.tested), dtype=bool))}
    result["backtest"] = number(dict(backtest or {}))
    result["excluded_zero_returns"] = {t: row["excluded"] for t, row in result["rows"].items() if t in TARGETS}
    result["crash_days"] = _without_crash_days(board, crash_share)
    del result["crash_days"]["breakdown"]
    ledger = Ledger(lake)
    hashes = [ledger.record(trial, _of_model(result, model)) for model, trial in trials.items()]
    locked = ledger.lock(study.world)
    part = study.inside(locked)
    result["holdout"] = part and {**days_of(part), "reads": ledger.read_holdout(part, hashes)}
    result["holdout_declared"] = locked and {**days_of(locked), "reads": ledger.reads}
    result["trials"] = len(ledger)
    result["seconds"] = round(seconds + time.perf_counter() - started, 3)
    return result


def null_skill_failures(result: Mapping[str, Any]) -> list[str]:
    """Models whose skill interval lies above 0, as `target/model`: on the `null` market each is a leak.

    Reads `log_loss_skill_ci99`: 99 % for all models and targets together, clustered by day.
    """
    return [
        f"{target}/{model}"
        for target, models in result["direction"].items()
        for model, row in models.items()
        if model != ORACLE and row["log_loss_skill_ci99"] is not None and row["log_loss_skill_ci99"][0] > 0
    ]


def _measure(board: Board, keep: Array | dict[str, Array]) -> dict[str, Any]:
    """Direction, volatility and row counts over the rows of `keep` (flat, or by target)."""
    family = max(1, sum(len(board.forecasts[t]) for t in TARGETS))
    kept = keep if isinstance(keep, dict) else dict.fromkeys((*TARGETS, "volatility"), keep)
    by_target, rows, pieces = {}, {}, {}
    grouping = groups(board)
    for target in TARGETS:
        scored, rows[target] = _rows(board, target, kept[target], family)
        by_target[target] = direction(scored)
        pieces[target] = parts(scored, grouping)
    scored, rows["volatility"] = _rows(board, "volatility", kept["volatility"], family)
    variance = volatility(scored)
    pieces["volatility"] = parts(scored, grouping)
    return {"direction": by_target, "volatility": variance, "rows": rows, "breakdown": pieces}


def _rows(board: Board, target: str, keep: Array, family: int) -> tuple[Rows, dict[str, int]]:
    truth = board.truth(target)
    value = board.labels["rv_24h"] if target == "volatility" else board.returns(target)
    known = board.tested & keep & ~np.isnan(value)
    labelled = known & ~np.isnan(truth)
    forecast = np.ones(len(truth), dtype=bool)
    for values in board.forecasts[target].values():
        forecast &= ~np.isnan(values)
    at = np.flatnonzero(labelled & forecast)
    if not len(at) and labelled.any() and board.forecasts[target]:
        most = min(board.forecasts[target], key=lambda m: int(np.sum(labelled & ~np.isnan(board.forecasts[target][m]))))
        raise SchemaError(
            f"{target}: {int(labelled.sum())} rows have labels but none has a forecast of every model; {most} has the "
            f"fewest: forecast the same test windows with each, or score it apart"
        )
    counts = {
        "labelled": int(labelled.sum()),
        "scored": len(at),
        "excluded": int(known.sum() - labelled.sum()),
        "not_forecast_by_all": int(labelled.sum()) - len(at),
    }
    return Rows(board, target, at, truth[at], family), counts


def _without_crash_days(board: Board, share: float) -> dict[str, Any]:
    """The metrics over the rows whose label touches none of the crash days, with the threshold that made them so."""
    days, threshold = crash_days(board, share)
    hours = {name: np.ones(len(board.ts), dtype=bool) for name in HORIZONS}
    for name, length in HORIZONS.items():
        for day in days:
            start = day.astype("datetime64[us]")
            hours[name] &= (board.ts <= start - np.timedelta64(length, "h")) | (board.ts >= start + np.timedelta64(1, "D"))
    keep = {t: np.repeat(hours[horizon_of(t)], len(board.symbols)) for t in (*TARGETS, "volatility")}
    return {"share": share, "threshold": number(threshold), "days": [str(d) for d in days], **_measure(board, keep)}


def crash_days(board: Board, share: float) -> tuple[Array, float]:
    """The `share` of days (at least one) with the largest |equal-weight log return from 00:00 to 24:00|, and the least of it.

    Returns (days as datetime64[D], threshold); no days and NaN when no day's return is known.
    """
    by_hour = np.where(board.tested, board.labels["ret_24h"], np.nan).reshape(len(board.ts), len(board.symbols))
    midnights = np.flatnonzero(board.ts == board.ts.astype("datetime64[D]"))
    day_rows = by_hour[midnights]
    midnights, day_rows = midnights[~np.isnan(day_rows).all(axis=1)], day_rows[~np.isnan(day_rows).all(axis=1)]
    if not len(midnights):
        return np.empty(0, dtype="datetime64[D]"), float("nan")
    size = np.abs(np.nanmean(day_rows, axis=1))
    count = max(1, round(share * len(size)))
    threshold = float(np.sort(size)[-count])
    return board.ts[midnights[size >= threshold]].astype("datetime64[D]"), threshold


def _data(board: Board, study: Study) -> dict[str, Any]:
    labelled = board.tested & np.any([~np.isnan(v) for v in board.labels.values()], axis=0)
    return {
        "from": min(f.test.start for f in study.folds).date().isoformat(),
        "to": (max(f.test.end for f in study.folds) - timedelta(days=1)).date().isoformat(),
        "symbols": list(board.symbols),
        "rows": int(labelled.sum()),
        "world": study.world,
    }


def _of_model(result: Mapping[str, Any], model: str) -> dict[str, Any]:
    return {
        "direction": {t: rows[model] for t, rows in result["direction"].items() if model in rows},
        "volatility": result["volatility"].get(model),
        "backtest": result["backtest"].get(model),
    }
