"""The only road from a forecast to a number about it: `score` measures every model on the same rows and counts the trials.

A direction target is `1h`, `4h`, `24h` (P(up), exact zero returns left out and counted) or `24h_relative` (P(the coin beats
the cross-sectional median)). Losses are in nats, variances in squared log returns. Where a number does not exist (a model
alone, one class, one day) it is null.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import TARGETS
from crypto_assets.evaluation import metrics, statistics
from crypto_assets.evaluation.alignment import Board, Labels, align, horizon_of
from crypto_assets.evaluation.ledger import Ledger, Study
from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import HORIZONS

Array = np.ndarray

BASE, BAR, HAR, ORACLE = "base_rate", "lightgbm", "har", "oracle"
"""Skill is against the base rate; the paired difference against LightGBM; volatility against log-HAR."""
BLOCK_DAYS = {"1h": 1, "4h": 1, "24h": 5}
"""Length of a cluster: labels of 24 h overlap into the next day, so their blocks are five days."""
DM_LAGS = 5 * 24 - 1
CRASH_SHARE = 0.01
TOPS = {"accuracy_top10": 0.10, "accuracy_top5": 0.05, "accuracy_top1": 0.01}


@dataclass(frozen=True)
class Rows:
    """The rows that every model of one target is scored on, and what is shared between the models.

    `at`: their positions on the board's grid; `y`: what happened; `family`: how many intervals are judged together.
    """

    board: Board
    target: str
    at: Array
    y: Array
    family: int
    losses: dict[str, Array] = field(default_factory=dict)

    def of(self, values: Array) -> Array:
        """The scored elements of a flat grid array."""
        return values[self.at]

    @cached_property
    def hour(self) -> Array:
        """Hour on the grid, by row."""
        return self.board.hour[self.at]

    @cached_property
    def cluster(self) -> Array:
        """Block of days, by row."""
        return statistics.day_blocks(self.board.ts[self.hour], BLOCK_DAYS[horizon_of(self.target)])

    @cached_property
    def day_of_hour(self) -> Array:
        """UTC day of each grid hour."""
        return self.board.ts.astype("datetime64[D]").astype(np.int64)

    @cached_property
    def return_ranks(self) -> Array:
        """Rank of the realised return among the coins scored at the same time."""
        return metrics.ranks_within(self.of(self.board.returns(self.target)), self.hour)


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
    is given), `volatility`, `backtest`, `trials`, `seconds`; beside them `rows` (by target: labelled, scored, not forecast
    by all), `excluded_zero_returns`, `crash_days` (the same metrics without the `crash_share` of days with the largest
    equal-weight |24 h return|) and `holdout` (reads of the locked window, null outside it).

    All models of a target are scored on the rows that all of them forecast. Raises SchemaError when there are none although
    labels exist, and SettingsError for a model without a configuration or a study without folds.
    """
    started = time.perf_counter()
    if not study.folds:
        raise SettingsError("the study has no folds: give at least one walk-forward fold")
    trials = {model: study.trial(model) for model in forecasts}
    board = align(forecasts, labels, study.folds, oracle)
    result = {"data": _data(board, study), **_measure(board, np.ones(len(board.tested), dtype=bool))}
    result["backtest"] = _number(dict(backtest or {}))
    result["excluded_zero_returns"] = {t: row["excluded"] for t, row in result["rows"].items() if t in TARGETS}
    result["crash_days"] = _without_crash_days(board, crash_share)
    ledger = Ledger(lake)
    hashes = [ledger.record(trial, _of_model(result, model)) for model, trial in trials.items()]
    part = study.holdout
    result["holdout"] = part and {
        "from": part.start.date().isoformat(),
        "to": (part.end - timedelta(days=1)).date().isoformat(),
        "reads": ledger.read_holdout(part, hashes),
    }
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
    direction, rows = {}, {}
    for target in TARGETS:
        scored, rows[target] = _rows(board, target, kept[target], family)
        direction[target] = _direction(scored)
    scored, rows["volatility"] = _rows(board, "volatility", kept["volatility"], family)
    return {"direction": direction, "volatility": _volatility(scored), "rows": rows}


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


def _direction(rows: Rows) -> dict[str, Any]:
    forecasts = {m: rows.of(v) for m, v in rows.board.forecasts[rows.target].items()}
    for model in (BASE, BAR):
        if model in forecasts:
            rows.losses[model] = metrics.log_losses(forecasts[model], rows.y)
    found: dict[str, Any] = {model: _direction_model(rows, p) for model, p in forecasts.items()}
    if rows.board.oracle:
        found[ORACLE] = _oracle_direction(rows)
    return found


def _direction_model(rows: Rows, p: Array) -> dict[str, Any]:
    y, hit, loss = rows.y, metrics.hits(p, rows.y), metrics.log_losses(p, rows.y)
    accuracy = statistics.clustered_mean(hit, rows.cluster)
    times, ic = metrics.information_coefficients(metrics.ranks_within(p, rows.hour), rows.return_ranks, rows.hour)
    mean_ic, ratio = metrics.rank_ic(times, ic, rows.day_of_hour)
    return {
        "n": len(y),
        "accuracy": _number(accuracy.value),
        "accuracy_ci95": _interval(accuracy),
        "auc": _number(metrics.auc(p, y)),
        "log_loss": _number(float(loss.mean())) if len(y) else None,
        **_skill(rows, loss),
        "brier": _number(metrics.brier(p, y)),
        "ece": _number(metrics.expected_calibration_error(p, y)),
        **{name: _number(metrics.accuracy_of_most_confident(p, hit, share)) for name, share in TOPS.items()},
        "rank_ic": _number(mean_ic),
        "rank_icir": _number(ratio),
        **_kappas(rows, p),
        "vs_lightgbm": _against(rows, loss),
    }


def _skill(rows: Rows, loss: Array) -> dict[str, Any]:
    if BASE not in rows.losses:
        return dict.fromkeys(("log_loss_skill", "log_loss_skill_ci95", "log_loss_skill_ci99"))
    base = rows.losses[BASE]
    alone = statistics.null_skill_interval(loss, base, rows.cluster, 1, 0.95)
    together = statistics.null_skill_interval(loss, base, rows.cluster, rows.family, 0.99)
    return {
        "log_loss_skill": _number(alone.value),
        "log_loss_skill_ci95": _interval(alone),
        "log_loss_skill_ci99": _interval(together),
    }


def _kappas(rows: Rows, p: Array) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in (("kappa", "p_up"), ("kappa_latent", "p_up_latent")):
        optimum = rows.of(rows.board.oracle[column]) if rows.target == "1h" and column in rows.board.oracle else None
        known = ~np.isnan(optimum) if optimum is not None else None
        found[name] = _number(metrics.captured_share(p[known], optimum[known])) if optimum is not None else None
    return found


def _against(rows: Rows, loss: Array) -> dict[str, Any]:
    if BAR not in rows.losses:
        return dict.fromkeys(("log_loss_diff", "ci95", "p"))
    paired = statistics.paired_difference(loss, rows.losses[BAR], rows.cluster)
    return {"log_loss_diff": _number(paired.value), "ci95": _interval(paired), "p": _number(paired.p)}


def _oracle_direction(rows: Rows) -> dict[str, Any]:
    """The optimum scored like a model, and its expected accuracy and loss, which hold no label noise."""
    column = rows.board.oracle.get("p_up") if rows.target == "1h" else None
    if column is None:
        return {"accuracy": None, "log_loss": None}
    known = ~np.isnan(rows.of(column))
    part = Rows(rows.board, rows.target, rows.at[known], rows.y[known], rows.family)
    part.losses.update({m: loss[known] for m, loss in rows.losses.items()})
    found = _direction_model(part, part.of(column))
    for suffix, name in (("", "p_up"), ("_latent", "p_up_latent")):
        p = part.of(rows.board.oracle[name]) if name in rows.board.oracle else np.empty(0)
        some = len(p) > 0
        found[f"expected_accuracy{suffix}"] = _number(float(np.maximum(p, 1 - p).mean())) if some else None
        found[f"expected_log_loss{suffix}"] = _number(float(metrics.log_losses(p, p).mean())) if some else None
    return found


def _volatility(rows: Rows) -> dict[str, Any]:
    forecasts = {m: rows.of(v) for m, v in rows.board.forecasts["volatility"].items()}
    optimum = rows.board.oracle.get("rv_24h_forecast")
    if optimum is not None and not np.isnan(rows.of(optimum)).any():
        forecasts[ORACLE] = rows.of(optimum)
    losses = {m: metrics.qlike_losses(f, rows.y) for m, f in forecasts.items()}
    floor = float(losses[ORACLE].mean()) if ORACLE in losses and len(rows.y) else None
    har = losses.get(HAR)
    return {m: _volatility_model(rows, f, losses[m], har, floor) for m, f in forecasts.items()}


def _volatility_model(rows: Rows, f: Array, loss: Array, har: Array | None, floor: float | None) -> dict[str, Any]:
    straight, line = metrics.r2_log(f, rows.y)
    found = {
        "n": len(rows.y),
        "qlike": _number(float(loss.mean())) if len(loss) else None,
        "r2_log": _number(straight),
        "r2_log_mincer_zarnowitz": _number(line),
        "dm_vs_har_p": None,
        "qlike_diff_vs_har": None,
        "captured_share": None,
    }
    if har is None or not len(loss):
        return found
    _, hour = np.unique(rows.hour, return_inverse=True)
    coins = np.bincount(hour)
    test = statistics.diebold_mariano(np.bincount(hour, loss) / coins, np.bincount(hour, har) / coins, DM_LAGS)
    room = float(har.mean()) - floor if floor is not None else 0.0
    share = float(har.mean() - loss.mean()) / room if room > 0 else None
    return found | {
        "dm_vs_har_p": _number(test.p),
        "qlike_diff_vs_har": _number(float((loss - har).mean())),
        "captured_share": _number(share),
    }


def _without_crash_days(board: Board, share: float) -> dict[str, Any]:
    """The metrics over the rows whose label touches none of the crash days, with the threshold that made them so."""
    days, threshold = crash_days(board, share)
    hours = {name: np.ones(len(board.ts), dtype=bool) for name in HORIZONS}
    for name, length in HORIZONS.items():
        for day in days:
            start = day.astype("datetime64[us]")
            hours[name] &= (board.ts <= start - np.timedelta64(length, "h")) | (board.ts >= start + np.timedelta64(1, "D"))
    keep = {t: np.repeat(hours[horizon_of(t)], len(board.symbols)) for t in (*TARGETS, "volatility")}
    return {"share": share, "threshold": _number(threshold), "days": [str(d) for d in days], **_measure(board, keep)}


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


def _interval(estimate: statistics.Estimate) -> list[float] | None:
    low, high = _number(estimate.low), _number(estimate.high)
    return None if low is None or high is None else [low, high]


def _number(value: Any) -> Any:
    """Plain JSON, all the way down: numpy scalars become Python's, what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _number(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_number(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
