"""Between the lake and `monitoring`: read, judge, write the day's rows, and say what there is to see."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import Panel
from crypto_assets.lake import Lake, Table
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import LakeError, SettingsError, StaleDataError
from crypto_assets.market.time import DAY, Window
from crypto_assets.monitoring import live, state, tables, watch
from crypto_assets.monitoring.drift import Drift
from crypto_assets.monitoring.gate import PROMOTE, REFUSE, WAIT, Decision, decide
from crypto_assets.monitoring.triggers import Trigger, judge
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.walk import load_panel

SERVED = (("fusion/fused", "fused"), ("forecasts/latest", "fused"))
"""Tables of forecasts that are served, and the model in them."""
SEEN = 90 * DAY
"""How far back forecasts are read."""


@dataclass(frozen=True)
class Watched:
    """Drift of features and of the served forecasts, and the rows that were written."""

    at: datetime
    features: Drift
    forecasts: Drift
    rows: pl.DataFrame


def judged_at(lake: Lake) -> datetime:
    """The midnight up to which labels have closed. Raises StaleDataError while there is none."""
    at = live.as_of(lake.scan("labels/targets").select("ret_24h", "available_at").collect())
    if at is None:
        raise StaleDataError("no label has closed yet, so there is nothing to judge: build at least two days first")
    return at


def watch_drift(access: Access) -> Watched:
    """Features of the champion and the served forecasts against their references."""
    lake, at = access.lake, judged_at(access.lake)
    champion = registry(access).load() if has_champion(access) else None
    features = watch.NOTHING if champion is None else watch.features(champion, load_panel(lake, access.settings), at)
    rows = served_rows(lake, *SERVED[0], at)
    forecasts = watch.forecasts(rows, at)
    both = pl.concat([tables.drift_rows(tables.FEATURE, features), tables.drift_rows(tables.FORECAST, forecasts)])
    return Watched(at, features, forecasts, write(lake, tables.MonitoringDrift, both, at))


def watch_live(access: Access) -> pl.DataFrame:
    """Measured and expected accuracy of what is served, written."""
    lake, at = access.lake, judged_at(access.lake)
    labels = lake.scan("labels/targets", at - SEEN, at + DAY).collect()
    found: list[dict[str, Any]] = []
    for table, model in SERVED:
        for target, rows in live.by_target(served_rows(lake, table, model, at + DAY), labels):
            name = {"table": table, "model": model, "target": target}
            for days in live.WINDOWS:
                measured = live.measure(rows, days)
                found += [{**name, "window_days": days, **_row(m)} for m in measured]
            ahead = dict(live.estimate(rows))
            count = int(ahead.pop("rows", 0))
            found += [{**name, "window_days": 0, "metric": k, "value": v, "rows": count} for k, v in ahead.items()]
    wanted = {k: v for k, v in tables.MonitoringLiveAccuracy.schema().items() if k not in ("ts", "available_at")}
    return write(lake, tables.MonitoringLiveAccuracy, pl.DataFrame(found, schema=wanted), at)


def watch_champion(access: Access, watched: Drift | None = None) -> Trigger:
    """What the champion's losses and the drift of its features ask for; kept for the sensor."""
    lake, at = access.lake, judged_at(access.lake)
    trigger = Trigger()
    if has_champion(access):
        champion, panel = registry(access).load(), load_panel(lake, access.settings)
        features = watched if watched is not None else watch.features(champion, panel, at)
        trigger = judge(champion_rows(champion, panel, at), features=features)
    change = None if trigger.change is None else trigger.change.isoformat()
    told = {"as_of": at.isoformat(), "reasons": list(trigger.reasons), "change": change}
    write_bytes(lake.root / state.TRIGGER, json.dumps(told, indent=1).encode())
    return trigger


def champion_rows(champion: Any, panel: Panel, at: datetime) -> live.Rows:
    """The champion's 1 h forecasts on its days out of sample, the newest ninety, beside what happened."""
    from crypto_assets.monitoring.loop import served

    return served(champion, panel, at, since=at - SEEN)


def fit_challenger(access: Access, why: str) -> dict[str, Any]:
    """Fit the champion's members on all that is known, register the best candidate as challenger; returns metadata.

    Raises SettingsError where there is no champion yet.
    """
    from crypto_assets.evaluation.model_registry import CHALLENGER
    from crypto_assets.monitoring.challenger import candidates

    lake, settings, at = access.lake, access.settings, judged_at(access.lake)
    if not has_champion(access):
        raise SettingsError("there is no champion to challenge: run the jobs `train` and `forecast` first")
    kept, panel = registry(access), load_panel(access.lake, settings)
    told = state.load(lake, state.TRIGGER) or {}
    change = datetime.fromisoformat(told["change"]) if told.get("change") else None
    found = candidates(kept.load(), panel, at - DAY, preset=settings.preset, seed=settings.seed, change=change)
    registered = kept.register(found[0].bundle, alias=CHALLENGER)
    kept.client.set_model_version_tag("crypto_assets", str(registered.number), "why", why)
    row = {
        "bundle": registered.bundle,
        "number": registered.number,
        "why": why,
        "fitted_from": found[0].first,
        "loss": found[0].loss,
        "candidates": len(found),
    }
    write(lake, tables.MonitoringChallengers, pl.DataFrame([row]), at)
    return row


def decide_promotion(access: Access) -> tuple[Decision, pl.DataFrame, pl.DataFrame]:
    """Compare the challenger in shadow, promote or refuse it, record why; (decision, row written, daily losses of both)."""
    from crypto_assets.evaluation.champion import predict_served
    from crypto_assets.evaluation.model_registry import CHALLENGER, CHAMPION, MODEL
    from crypto_assets.monitoring import challenger as fits

    lake, at, kept = access.lake, judged_at(access.lake), registry(access)
    ahead = kept.aliased(CHALLENGER)
    if ahead is None or not has_champion(access):
        return (
            _undecided("no challenger is in shadow"),
            tables.MonitoringPromotions.empty(),
            _NO_DAYS,
        )
    champion, challenger = kept.load(CHAMPION), kept.load(ahead.number)
    start = fits.shadow_start(champion, challenger)
    days = _NO_DAYS
    if at - start >= timedelta(days=1):
        answer = partial(predict_served, lake)
        days = fits.shadow(champion, challenger, load_panel(lake, access.settings), Window(start, at), answer)
    decision = decide(fits.paired(days)) if days.filter(target="1h").height else _too_early(start, at)
    tags = {
        "gate": decision.verdict,
        "gate_reason": decision.reason,
        "gate_days": str(decision.days),
        "gate_at": at.isoformat(),
    }
    for name, value in tags.items():
        kept.client.set_model_version_tag(MODEL, str(ahead.number), name, value)
    if decision.verdict == PROMOTE:
        kept.promote(ahead.number, reason=decision.reason)
    elif decision.verdict == REFUSE:
        kept.client.delete_registered_model_alias(MODEL, CHALLENGER)
    row = {"champion": champion.version, "challenger": challenger.version, **_decided(decision)}
    return decision, write(lake, tables.MonitoringPromotions, pl.DataFrame([row], schema_overrides=_FLOATS), at), days


def write(lake: Lake, table: type[Table], rows: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """The rows of the day that is judged, in place of what was there; returns them."""
    times = rows.with_columns(ts=pl.lit(at).dt.cast_time_unit("us"), available_at=pl.lit(at).dt.cast_time_unit("us"))
    shaped = table.shape(times)
    lake.write(table, shaped, Window(at, at + DAY))
    return shaped


def served_rows(lake: Lake, table: str, model: str, until: datetime) -> pl.DataFrame:
    """Forecasts of a model in a table, the newest ninety days before `until`; empty where the table is not there yet."""
    try:
        rows = lake.scan(table, until - SEEN, until).collect()
    except LakeError:
        return pl.DataFrame()
    return rows.filter(pl.col("model") == model) if "model" in rows.columns else rows


def registry(access: Access) -> Any:
    """The registry of the settings' MLflow store."""
    from crypto_assets.evaluation.model_registry import ModelRegistry

    return ModelRegistry(access.settings)


def has_champion(access: Access) -> bool:
    """Whether anything is registered to be served."""
    from crypto_assets.evaluation.model_registry import CHAMPION

    return registry(access).aliased(CHAMPION) is not None


_NO_DAYS = pl.DataFrame(
    schema={"day": pl.Date, "target": pl.String, "rows": pl.Int64, "champion": pl.Float64, "challenger": pl.Float64}
)
_FLOATS = {"gain": pl.Float64, "low": pl.Float64, "p": pl.Float64}


def _too_early(start: datetime, at: datetime) -> Decision:
    return _undecided(f"its shadow begins at {start:%Y-%m-%d}, labels have closed to {at:%Y-%m-%d}")


def _undecided(why: str) -> Decision:
    return Decision(WAIT, 0, float("nan"), float("nan"), float("nan"), why)


def _decided(decision: Decision) -> dict[str, Any]:
    numbers = {k: v if np.isfinite(v) else None for k, v in (("gain", decision.gain), ("low", decision.low), ("p", decision.p))}
    return {"verdict": decision.verdict, "days": decision.days, **numbers, "reason": decision.reason}


def _row(measured: live.Measured) -> dict[str, Any]:
    bounds = {k: v if np.isfinite(v) else None for k, v in (("low", measured.low), ("high", measured.high))}
    return {"metric": measured.metric, "value": measured.value, **bounds, "rows": measured.n}
