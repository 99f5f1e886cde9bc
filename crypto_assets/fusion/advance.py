"""A fusion in the state in which a day finds it, so that one hour of that day can be combined without the days before.

What moves (skill of the members, intervals) moves once a day, by outcomes that had closed; within a day it stands still. So
`apply` of the advanced fusion to an hour of the day gives what `apply` of the fusion gives to all hours up to that one
(crypto_assets_tests/fusion/test_advance.py), in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC

import numpy as np

from crypto_assets.fusion import conformal
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.conformal import Intervals
from crypto_assets.fusion.context import days_of, skill
from crypto_assets.fusion.fused import Told, same_hours
from crypto_assets.fusion.predictors import COMBINED, DIRECTIONS, RETURN_VARIANCES, VOLATILITY, interval_name, mean_name
from crypto_assets.market.time import HORIZONS
from crypto_assets.models._base import Forecast

Array = np.ndarray


def advanced(
    checkpoint: FusionCheckpoint, members: Mapping[str, Forecast], labels: Mapping[str, Array], versions: Mapping[str, str]
) -> FusionCheckpoint:
    """The fusion as it stands on the day of the last hour of `members`, beginning at that day's midnight.

    Arguments as for `apply`. Its `version` is another: what is made with it is still the work of the one it came from.
    """
    checkpoint.require(versions)
    first = same_hours(checkpoint, members, labels)
    day_T = days_of(first.ts)
    told = Told(checkpoint, members, labels, day_T)
    told.points()
    outcomes = {t.name: t.outcome(labels) for t in COMBINED}
    for h in range(len(HORIZONS)):
        if mean_name(h) in told.point:
            scale_TN = np.exp(0.5 * told.point[RETURN_VARIANCES[h].name])
            outcomes[mean_name(h)] = labels[DIRECTIONS[h].label] / scale_TN
    parts = dict(checkpoint.parts)
    for name, part in parts.items():
        if part.context == "skill":
            state = skill(told.z[name], outcomes[name], part.family, part.hours, day_T, part.skill)[1]
            parts[name] = replace(part, skill=state)
    midnight = first.ts[-1].astype("datetime64[D]").astype("datetime64[us]").item().replace(tzinfo=UTC)
    return replace(checkpoint, start=midnight, parts=parts, intervals=_intervals(checkpoint, told, outcomes, day_T))


def _intervals(c: FusionCheckpoint, told: Told, outcomes: Mapping[str, Array], day_T: Array) -> dict[str, Intervals]:
    found = dict(c.intervals)
    for h, hours in enumerate(HORIZONS.values()):
        name, mean = interval_name(h), mean_name(h)
        if name in found and mean in told.point:
            log_var_TN = told.point[RETURN_VARIANCES[h].name]
            score_TN = outcomes[mean] - told.point[mean]
            found[name] = conformal.run(found[name], score_TN, c.ranks[name].of(log_var_TN), day_T, hours)[1]
    if VOLATILITY.name in found and VOLATILITY.name in told.point:
        log_var_TN = told.point[VOLATILITY.name]
        error_TN = outcomes[VOLATILITY.name] - log_var_TN
        ranks_TN = c.ranks[VOLATILITY.name].of(log_var_TN)
        found[VOLATILITY.name] = conformal.run(found[VOLATILITY.name], error_TN, ranks_TN, day_T, VOLATILITY.hours)[1]
    return found
