"""From forecasts to the answer a person reads: one record a coin and horizon, plain JSON.

What the combination states (mean, variance, intervals, action, parts of the uncertainty) is passed on. A combination that
states no distribution of the return, a log pool or one LightGBM, implies one: Gaussian, its variance from the realised-variance
forecast, its mean where P(up) puts it. `is_implied` says so; its parts of the uncertainty are null.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import NormalDist
from typing import Any

import numpy as np

from crypto_assets.evaluation.champion import Bundle
from crypto_assets.fusion.conformal import COVERAGES
from crypto_assets.fusion.decision import action
from crypto_assets.fusion.fused import Fused
from crypto_assets.market.time import HORIZONS
from crypto_assets.models._base import Forecast
from crypto_assets.trading.costs import Costs

LEVELS = (50, 80, 90)
NORMAL = NormalDist()
EDGE = 1e-6
DIGITS = 6
Record = dict[str, Any]


@dataclass(frozen=True)
class Spoken:
    """What is said of one coin and horizon, before prices; None where the bundle says nothing."""

    p_up: float | None
    mean: float | None
    variance: float | None
    is_implied: bool
    intervals: Mapping[int, tuple[float, float]]
    aleatoric: float | None = None
    epistemic: float | None = None
    action: str | None = None
    """Where the combination states it."""


def of_fusion(fused: Fused, horizon: str, n: int) -> Spoken:
    """What a fusion of one hour says of coin `n`."""
    h = list(HORIZONS).index(horizon)
    at = (h, 0, n)
    plain = spoken(fused.forecast, horizon, n)
    ends = {
        round(100 * level): (_known(fused.low_LHTN[(k, *at)]), _known(fused.high_LHTN[(k, *at)]))
        for k, level in enumerate(COVERAGES)
    }
    stated = {level: (a, b) for level, (a, b) in ends.items() if a is not None and b is not None}
    return replace(
        plain,
        intervals=stated or plain.intervals,
        aleatoric=_known(fused.aleatoric_HTN[at]),
        epistemic=_known(fused.epistemic_HTN[at]),
        action=None if plain.is_implied else str(fused.action_HTN[at]),
    )


def weights_of(fused: Fused, horizon: str) -> dict[str, float]:
    """What each member weighs in the direction over a horizon: its share of what moves the combination."""
    members, _, share_MT = fused.weights.get(horizon, ((), None, np.empty((0, 1))))
    return {name: float(share_MT[m, 0]) for m, name in enumerate(members)}


def spoken(forecast: Forecast, horizon: str, n: int) -> Spoken:
    """What a forecast of one hour says of coin `n`."""
    h, hours = list(HORIZONS).index(horizon), HORIZONS[horizon]
    p, mean, log_var = (_known(a[h, 0, n]) for a in (forecast.p_up_HTN, forecast.mean_HTN, forecast.log_var_HTN))
    rv = _known(forecast.realised_var_TN[0, n])
    variance = math.exp(log_var) if log_var is not None else None if rv is None else rv * hours / 24
    is_implied = mean is None or log_var is None
    if mean is None and p is not None and variance is not None:
        mean = math.sqrt(variance) * NORMAL.inv_cdf(min(max(p, EDGE), 1 - EDGE))
    intervals = {}
    if mean is not None and variance is not None:
        reach = {level: NORMAL.inv_cdf(0.5 + level / 200) * math.sqrt(variance) for level in LEVELS}
        intervals = {level: (mean - far, mean + far) for level, far in reach.items()}
    return Spoken(p, mean, variance, is_implied, intervals)


def record(
    said: Spoken,
    *,
    bundle: Bundle,
    number: int,
    symbol: str,
    horizon: str,
    at: datetime,
    price: float | None,
    members: Sequence[Record],
    extra: Mapping[str, float | None],
    features: str | None = None,
) -> Record:
    """The answer, in the order in which it is read. `features`: hash of the row that was sent, None for the closed bar."""
    mean, variance = said.mean, said.variance
    side = said.action or "HOLD"
    if said.action is None and mean is not None and variance is not None:
        side = str(action(np.array(mean), np.array(variance), Costs().round_trip))

    def priced(r: float | None) -> float | None:
        return None if r is None or price is None else price * math.exp(r)

    found = {
        "symbol": symbol,
        "timeframe": horizon,
        "prediction": side,
        "confidence": None if said.p_up is None else max(said.p_up, 1 - said.p_up),
        "price_target": priced(mean),
        "timestamp": moment(at),
        "p_up": said.p_up,
        "expected_return": mean,
        "volatility": None if variance is None else math.sqrt(variance),
        **extra,
        "intervals": [
            {"level": k, "low_return": a, "high_return": b, "low_price": priced(a), "high_price": priced(b)}
            for k, (a, b) in sorted(said.intervals.items())
        ],
        "is_implied": said.is_implied,
        "aleatoric": said.aleatoric,
        "epistemic": said.epistemic,
        "members": list(members),
        "price": price,
        "model_version": bundle.version,
        "model_number": number,
        "data_available_at": moment(at),
        "is_custom": features is not None,
    }
    return {"prediction_id": prediction_id(bundle.version, symbol, horizon, at, features), **_rounded(found)}


def moment(at: datetime) -> str:
    """UTC as JSON has it everywhere here."""
    return at.isoformat().replace("+00:00", "Z")


def member_records(
    bundle: Bundle, members: Mapping[str, Forecast], horizon: str, n: int, weights: Mapping[str, float] | None = None
) -> list[Record]:
    """What each member says and weighs. In a log pool those that speak weigh the same."""
    h = list(HORIZONS).index(horizon)
    p = {name: _known(f.p_up_HTN[h, 0, n]) for name, f in members.items() if name in bundle.combination.direction}
    speaking = [name for name, value in p.items() if value is not None]
    share = dict.fromkeys(speaking, 1 / len(speaking)) if speaking else {}
    return [
        {
            "model": name,
            "weight": (share if weights is None else weights).get(name, 0.0),
            "p_up": p.get(name),
            "model_version": bundle.versions[name],
        }
        for name in sorted(bundle.members)
    ]


def prediction_id(version: str, symbol: str, horizon: str, at: datetime, features: str | None) -> str:
    """The same question to the same bundle has the same id."""
    parts = [version, symbol, horizon, at.isoformat(), features or ""]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]


def features_hash(sent_F: np.ndarray, r: float) -> str:
    """Hash of a row that was sent, float64 in the order of the bundle's columns, and of its return."""
    return hashlib.sha256(np.append(sent_F, r).tobytes()).hexdigest()[:16]


def _known(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _rounded(value: Any) -> Any:
    """Floats with six significant digits, so that an answer is as long as it is precise."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, list) else value
