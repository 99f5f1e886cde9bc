"""The tables of the layer `monitoring`: one day each, `ts` the midnight up to which labels had closed when it was judged."""

from __future__ import annotations

import polars as pl

from crypto_assets.lake.tables import Field, Table, Timestamp
from crypto_assets.monitoring.drift import DISTANCES, Drift

FEATURE, FORECAST = "feature", "forecast"


class MonitoringDrift(Table):
    """How far each feature and forecast has moved from its reference, and the limit that chance explains."""

    name = "monitoring/drift"
    key = ("kind", "series", "ts")

    kind: str = Field(isin=(FEATURE, FORECAST))
    series: str = Field(meaning="matrix column, or output and horizon of the served forecast")
    psi: float = Field(ge=0, meaning="population stability index")
    psi_limit: float = Field(ge=0)
    ks: float = Field(ge=0, le=1, meaning="Kolmogorov-Smirnov distance")
    ks_limit: float = Field(ge=0)
    js: float = Field(ge=0, unit="nats", meaning="Jensen-Shannon divergence")
    js_limit: float = Field(ge=0)
    missing: float = Field(ge=0, le=1, meaning="change of the share of missing values")
    missing_limit: float = Field(ge=0)
    is_drifted: bool = Field(meaning="one of them is above its limit")
    chance: int = Field(ge=0, meaning="how many series of this kind chance alone may drift, together")


class MonitoringLiveAccuracy(Table):
    """How good the served forecasts were over the last days, with 95 % intervals, and what the open ones expect to be."""

    name = "monitoring/live_accuracy"
    key = ("table", "model", "target", "window_days", "metric", "ts")

    table: str = Field(meaning="where the forecasts lie")
    model: str
    target: str
    window_days: int = Field(ge=0, meaning="days before the newest label; 0: rows whose labels are still open")
    metric: str
    value: float
    low: float | None
    high: float | None
    rows: int = Field(ge=1, meaning="forecasts it was taken from")


class MonitoringChallengers(Table):
    """Every challenger that was fitted: why, on what, and how it did on the held-out days."""

    name = "monitoring/challenger"
    key = ("bundle", "ts")

    bundle: str = Field(meaning="version of the bundle")
    number: int = Field(ge=1, meaning="version in the registry")
    why: str
    fitted_from: Timestamp = Field(unit="UTC", meaning="first label it was fitted on")
    loss: float = Field(unit="nats", meaning="1 h log-loss on the held-out days, the smallest of the candidates")
    candidates: int = Field(ge=1)


class MonitoringPromotions(Table):
    """What the gate said of the challenger, day by day."""

    name = "monitoring/promotions"
    key = ("challenger", "ts")

    champion: str = Field(meaning="version of the bundle it was compared with")
    challenger: str
    verdict: str = Field(isin=("promote", "refuse", "wait"))
    days: int = Field(ge=0, meaning="days of shadow the verdict was taken from")
    gain: float | None = Field(unit="nats", meaning="champion's mean 1 h loss less the challenger's")
    low: float | None = Field(unit="nats", meaning="one-sided lower bound of it, at the level of a look")
    p: float | None = Field(ge=0, le=1, meaning="one-sided p-value of not being better")
    reason: str


def drift_rows(kind: str, found: Drift) -> pl.DataFrame:
    """Rows of `monitoring/drift` without their times."""
    columns = [c for d in DISTANCES for c in (d, f"{d}_limit")]
    rows = [
        {
            "kind": kind,
            "series": s.name,
            **{c: getattr(s, c) for c in columns},
            "is_drifted": bool(s.causes),
            "chance": found.most,
        }
        for s in found.shifts
    ]
    wanted = {k: v for k, v in MonitoringDrift.schema().items() if k not in ("ts", "available_at")}
    return pl.DataFrame(rows, schema=wanted) if rows else pl.DataFrame(schema=wanted)
