"""`fusion/fused` and `fusion/weights`: a combined forecast as rows, and what each member weighs in it hour by hour."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl

from crypto_assets.fusion.conformal import COVERAGES
from crypto_assets.fusion.decision import ACTIONS
from crypto_assets.fusion.fused import Fused
from crypto_assets.lake.tables import Field, Table
from crypto_assets.market.time import HORIZONS
from crypto_assets.models._base import forecast_table

Array = np.ndarray


class FusedForecasts(forecast_table("fusion/fused")):  # type: ignore[misc]
    """A forecast row with its uncertainty, intervals and action; `rv_...` on 24h rows alone."""

    name = "fusion/fused"

    aleatoric: float | None = Field(ge=0, unit="nats", meaning="entropy of P(up) that remains were the weights known")
    epistemic: float | None = Field(
        ge=0, unit="nats", meaning="mutual information of outcome and weights; both sum to the entropy"
    )
    aleatoric_var: float | None = Field(ge=0, meaning="expected variance of the log return")
    epistemic_var: float | None = Field(ge=0, meaning="variance of its mean; both sum to exp(log_var)")
    confidence: float | None = Field(ge=0.5, le=1, meaning="calibrated probability that the likelier direction comes true")
    low_50: float | None = Field(unit="log return", meaning="lower end of the 50 % interval of the return")
    high_50: float | None = Field(unit="log return", meaning="upper end of the 50 % interval of the return")
    low_80: float | None = Field(unit="log return", meaning="lower end of the 80 % interval of the return")
    high_80: float | None = Field(unit="log return", meaning="upper end of the 80 % interval of the return")
    low_90: float | None = Field(unit="log return", meaning="lower end of the 90 % interval of the return")
    high_90: float | None = Field(unit="log return", meaning="upper end of the 90 % interval of the return")
    rv_low_50: float | None = Field(ge=0, meaning="lower end of the 50 % interval of the realised variance")
    rv_high_50: float | None = Field(ge=0, meaning="upper end of the 50 % interval of the realised variance")
    rv_low_80: float | None = Field(ge=0, meaning="lower end of the 80 % interval of the realised variance")
    rv_high_80: float | None = Field(ge=0, meaning="upper end of the 80 % interval of the realised variance")
    rv_low_90: float | None = Field(ge=0, meaning="lower end of the 90 % interval of the realised variance")
    rv_high_90: float | None = Field(ge=0, meaning="upper end of the 90 % interval of the realised variance")
    action: str = Field(isin=ACTIONS, meaning="what expected log utility after a round trip of costs says")
    price_target_usd: float | None = Field(
        gt=0, unit="USD", meaning="close times exp(mean): the median of a symmetric forecast"
    )

    @classmethod
    def rules(cls) -> dict[str, pl.Expr]:
        """Intervals are ordered and nested."""
        ordered = {}
        for prefix in ("", "rv_"):
            ends = [
                f"{prefix}low_90",
                f"{prefix}low_80",
                f"{prefix}low_50",
                f"{prefix}high_50",
                f"{prefix}high_80",
                f"{prefix}high_90",
            ]
            ordered[f"{prefix}intervals are nested"] = pl.all_horizontal(pl.col(a) <= pl.col(b) for a, b in pairwise(ends))
        return ordered


class Weights(Table):
    """What a member weighs at an hour, by target (`1h 4h 24h 24h_relative volatility`)."""

    name = "fusion/weights"
    key = ("ts", "target", "member")

    target: str
    member: str
    weight: float = Field(ge=0, meaning="posterior mean weight of its logit or log variance, mean over the coins")
    share: float = Field(
        ge=0, le=1, meaning="share in how far the combination swings: weight times the spread of the predictor"
    )
    model_version: str


def fused_rows(fused: Fused, version: str, trained_until: datetime, listed_TN: Array) -> pl.DataFrame:
    """Rows of `fusion/fused`, listed coins only, sorted by symbol, ts, horizon; `with_price_targets` fills in prices."""
    t, n = np.nonzero(listed_TN)
    base = fused.forecast.table("fusion/fused", version, trained_until, listed_TN)
    frames = []
    for h, horizon in enumerate(HORIZONS):
        values = {
            "aleatoric": fused.aleatoric_HTN[h],
            "epistemic": fused.epistemic_HTN[h],
            "aleatoric_var": fused.aleatoric_var_HTN[h],
            "epistemic_var": fused.epistemic_var_HTN[h],
            "confidence": fused.confidence_HTN[h],
        }
        for level, coverage in enumerate(COVERAGES):
            values[f"low_{coverage:.0%}"[:-1]] = fused.low_LHTN[level, h]
            values[f"high_{coverage:.0%}"[:-1]] = fused.high_LHTN[level, h]
            if horizon == "24h":
                values[f"rv_low_{coverage:.0%}"[:-1]] = fused.rv_low_LTN[level]
                values[f"rv_high_{coverage:.0%}"[:-1]] = fused.rv_high_LTN[level]
        frames.append(
            pl.DataFrame(
                {
                    "symbol": np.asarray(fused.forecast.symbols)[n],
                    "ts": fused.forecast.ts[t].astype("datetime64[us]"),
                    "horizon": [horizon] * len(t),
                    "action": fused.action_HTN[h, t, n],
                    **{name: array[t, n] for name, array in values.items()},
                }
            )
        )
    more = pl.concat(frames, how="diagonal").with_columns(
        pl.col("ts").dt.replace_time_zone("UTC"), pl.col(pl.Float64).fill_nan(None)
    )
    rows = base.join(more, on=["symbol", "ts", "horizon"], how="left", maintain_order="left")
    return FusedForecasts.shape(rows)


def weight_rows(fused: Fused, version: str) -> pl.DataFrame:
    """Rows of `fusion/weights`, sorted by ts, target, member."""
    frames = []
    for target, (members, weight_MT, share_MT) in fused.weights.items():
        for m, member in enumerate(members):
            columns = {"ts": fused.forecast.ts.astype("datetime64[us]"), "weight": weight_MT[m], "share": share_MT[m]}
            frames.append(pl.DataFrame(columns).with_columns(target=pl.lit(target), member=pl.lit(member)))
    if not frames:
        return Weights.empty()
    rows = pl.concat(frames).with_columns(pl.col("ts").dt.replace_time_zone("UTC"), model_version=pl.lit(version))
    return Weights.shape(rows.with_columns(available_at=pl.col("ts"))).sort("ts", "target", "member")
