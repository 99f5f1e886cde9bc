"""The fusion of the hour: the champion's, in the state in which the day finds it, applied to what the members say now.

What the members said earlier in the fold, and what came of it, lies in the lake; it moves the skill and the intervals once a
day, so it is read once a closed hour and a row that is sent costs no more than one hour of one day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from crypto_assets.evaluation.champion import Bundle, fusion_of
from crypto_assets.evaluation.fusing import FUSED, history_in, hours_between, laid_out
from crypto_assets.fusion.advance import advanced
from crypto_assets.fusion.checkpoint import FusionCheckpoint
from crypto_assets.fusion.fitting import LABELS
from crypto_assets.fusion.fused import Fused, apply
from crypto_assets.fusion.predictors import market_variance
from crypto_assets.lake import Lake
from crypto_assets.market.time import HOUR
from crypto_assets.models._base import Forecast
from crypto_assets.trading.costs import Costs


@dataclass(frozen=True)
class FusionNow:
    """`checkpoint` stands where the day of the hour finds it; `version` is that of the fusion it came from.

    `market_T`: how much the whole market is expected to move in the hour, so that no answer hangs on who else is asked about.
    """

    checkpoint: FusionCheckpoint
    versions: Mapping[str, str]
    version: str
    market_T: np.ndarray | None

    def of(self, members: Mapping[str, Forecast]) -> Fused:
        """The members' forecasts of the one hour, of all coins or of some, combined."""
        unknown = next(iter(members.values())).p_beats_median_TN * float("nan")
        labels = dict.fromkeys(LABELS, unknown)
        cost = Costs().round_trip
        return apply(self.checkpoint, members, labels, versions=self.versions, cost=cost, market_T=self.market_T)


def fusion_now(lake: Lake, bundle: Bundle, at: datetime, members: Mapping[str, Forecast]) -> FusionNow | None:
    """The bundle's fusion for the hour `at`, or None where the bundle is no fusion."""
    if bundle.name != FUSED:
        return None
    fusion = fusion_of(lake, bundle, at)
    before, labels = history_in(lake, list(bundle.versions), bundle.symbols, fusion.start, at + HOUR)
    ts = hours_between(fusion.start, at + HOUR)
    said = {n: laid_out([*([before[n]] if n in before else []), members[n]], ts, bundle.symbols) for n in bundle.versions}
    now = advanced(fusion, said, labels, bundle.versions)
    return FusionNow(now, bundle.versions, fusion.version, market_variance(members, now.outputs))
