"""What is measured of one target: every model on the same rows, with intervals, against the baselines.

Losses are in nats, variances in squared log returns. Where a number does not exist (a model alone, one class, one day) it is
null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from crypto_assets.evaluation import metrics, statistics
from crypto_assets.evaluation.alignment import Board, horizon_of
from crypto_assets.evaluation.breakdown import Groups, by_group
from crypto_assets.evaluation.confidence_set import daily_losses, model_confidence_set

Array = np.ndarray

BASE, BAR, HAR, ORACLE = "base_rate", "lightgbm", "har", "oracle"
"""Skill is against the base rate; the paired difference against LightGBM; volatility against log-HAR."""
BLOCK_DAYS = {"1h": 1, "4h": 1, "24h": 5}
"""Length of a cluster: labels of 24 h overlap into the next day, so their blocks are five days."""
DM_LAGS = 5 * 24 - 1
TOPS = {"top50": 0.50, "top20": 0.20, "top10": 0.10, "top5": 0.05, "top1": 0.01}
"""Shares of the most confident rows on which accuracy and log-loss are stated."""


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


def direction(rows: Rows) -> dict[str, Any]:
    """Model -> metrics of a direction target; `oracle` beside them where the optimum is known."""
    forecasts = {m: rows.of(v) for m, v in rows.board.forecasts[rows.target].items()}
    rows.losses.update({model: metrics.log_losses(p, rows.y) for model, p in forecasts.items()})
    found: dict[str, Any] = {model: _direction_model(rows, p, rows.losses[model]) for model, p in forecasts.items()}
    _confidence_set(found, rows, rows.losses)
    if rows.board.oracle:
        found[ORACLE] = _oracle_direction(rows)
    return found


def _direction_model(rows: Rows, p: Array, loss: Array) -> dict[str, Any]:
    y, hit = rows.y, metrics.hits(p, rows.y)
    sure, sure_loss = metrics.means_of_most_confident(p, hit, loss)
    precision, recall, f1 = metrics.precision_recall_f1(p, y)
    accuracy = statistics.clustered_mean(hit, rows.cluster)
    times, ic = metrics.information_coefficients(metrics.ranks_within(p, rows.hour), rows.return_ranks, rows.hour)
    mean_ic, ratio = metrics.rank_ic(times, ic, rows.day_of_hour)
    return {
        "n": len(y),
        "accuracy": number(accuracy.value),
        "accuracy_ci95": interval(accuracy),
        "auc": number(metrics.auc(p, y)),
        "log_loss": number(float(loss.mean())) if len(y) else None,
        **_skill(rows, loss),
        "brier": number(metrics.brier(p, y)),
        "ece": number(metrics.expected_calibration_error(p, y)),
        "precision": number(precision),
        "recall": number(recall),
        "f1": number(f1),
        **{f"accuracy_{name}": number(metrics.at_coverage(sure, share)) for name, share in TOPS.items()},
        **{f"log_loss_{name}": number(metrics.at_coverage(sure_loss, share)) for name, share in TOPS.items()},
        "aurc": number(float(1 - sure.mean())) if len(y) else None,
        "rank_ic": number(mean_ic),
        "rank_icir": number(ratio),
        **_kappas(rows, p),
        "vs_lightgbm": _against(rows, loss),
    }


def _confidence_set(found: Mapping[str, dict[str, Any]], rows: Rows, losses: Mapping[str, Array]) -> None:
    """Add `mcs_p` to each model: it is among the best, at the 95 % level, where this is at least 0.05."""
    if not losses or not len(rows.y):
        return
    days = daily_losses(np.column_stack(list(losses.values())), rows.board.ts[rows.hour])
    for model, p in zip(losses, model_confidence_set(days), strict=True):
        found[model]["mcs_p"] = number(p)


def _skill(rows: Rows, loss: Array) -> dict[str, Any]:
    if BASE not in rows.losses:
        return dict.fromkeys(("log_loss_skill", "log_loss_skill_ci95", "log_loss_skill_ci99"))
    base = rows.losses[BASE]
    alone = statistics.null_skill_interval(loss, base, rows.cluster, 1, 0.95)
    together = statistics.null_skill_interval(loss, base, rows.cluster, rows.family, 0.99)
    return {
        "log_loss_skill": number(alone.value),
        "log_loss_skill_ci95": interval(alone),
        "log_loss_skill_ci99": interval(together),
    }


def _kappas(rows: Rows, p: Array) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, column in (("kappa", "p_up"), ("kappa_latent", "p_up_latent")):
        optimum = rows.of(rows.board.oracle[column]) if rows.target == "1h" and column in rows.board.oracle else None
        known = ~np.isnan(optimum) if optimum is not None else None
        found[name] = number(metrics.captured_share(p[known], optimum[known])) if optimum is not None else None
    return found


def _against(rows: Rows, loss: Array) -> dict[str, Any]:
    if BAR not in rows.losses:
        return dict.fromkeys(("log_loss_diff", "ci95", "p"))
    paired = statistics.paired_difference(loss, rows.losses[BAR], rows.cluster)
    return {"log_loss_diff": number(paired.value), "ci95": interval(paired), "p": number(paired.p)}


def _oracle_direction(rows: Rows) -> dict[str, Any]:
    """The optimum scored like a model, and its expected accuracy and loss, which hold no label noise."""
    column = rows.board.oracle.get("p_up") if rows.target == "1h" else None
    if column is None:
        return {"accuracy": None, "log_loss": None}
    known = ~np.isnan(rows.of(column))
    part = Rows(rows.board, rows.target, rows.at[known], rows.y[known], rows.family)
    part.losses.update({m: loss[known] for m, loss in rows.losses.items()})
    optimum = part.of(column)
    found = _direction_model(part, optimum, metrics.log_losses(optimum, part.y))
    for suffix, name in (("", "p_up"), ("_latent", "p_up_latent")):
        p = part.of(rows.board.oracle[name]) if name in rows.board.oracle else np.empty(0)
        some = len(p) > 0
        found[f"expected_accuracy{suffix}"] = number(float(np.maximum(p, 1 - p).mean())) if some else None
        found[f"expected_log_loss{suffix}"] = number(float(metrics.log_losses(p, p).mean())) if some else None
    return found


def volatility(rows: Rows) -> dict[str, Any]:
    """Model -> metrics of the variance forecasts."""
    forecasts = {m: rows.of(v) for m, v in rows.board.forecasts["volatility"].items()}
    optimum = rows.board.oracle.get("rv_24h_forecast")
    if optimum is not None and not np.isnan(rows.of(optimum)).any():
        forecasts[ORACLE] = rows.of(optimum)
    losses = {m: metrics.qlike_losses(f, rows.y) for m, f in forecasts.items()}
    floor = float(losses[ORACLE].mean()) if ORACLE in losses and len(rows.y) else None
    har = losses.get(HAR)
    found = {m: _volatility_model(rows, f, losses[m], har, floor) for m, f in forecasts.items()}
    rows.losses.update({m: loss for m, loss in losses.items() if m != ORACLE})
    _confidence_set(found, rows, rows.losses)
    return found


def _volatility_model(rows: Rows, f: Array, loss: Array, har: Array | None, floor: float | None) -> dict[str, Any]:
    straight, line = metrics.r2_log(f, rows.y)
    found = {
        "n": len(rows.y),
        "qlike": number(float(loss.mean())) if len(loss) else None,
        "r2_log": number(straight),
        "r2_log_mincer_zarnowitz": number(line),
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
        "dm_vs_har_p": number(test.p),
        "qlike_diff_vs_har": number(float((loss - har).mean())),
        "captured_share": number(share),
    }


def parts(rows: Rows, grouping: Mapping[str, Groups]) -> dict[str, Any]:
    """Model -> `coin`, `regime`, `month` -> group -> measures, from the losses that were computed for the whole."""
    found = {}
    for model, loss in rows.losses.items():
        values = {"qlike": loss}
        if rows.target != "volatility":
            values = {"accuracy": metrics.hits(rows.of(rows.board.forecasts[rows.target][model]), rows.y), "log_loss": loss}
        found[model] = by_group(grouping, rows.at, values)
    return found


def interval(estimate: statistics.Estimate) -> list[float] | None:
    """Both ends, or nothing."""
    low, high = number(estimate.low), number(estimate.high)
    return None if low is None or high is None else [low, high]


def number(value: Any) -> Any:
    """Plain JSON, all the way down: numpy scalars become Python's, what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): number(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [number(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
