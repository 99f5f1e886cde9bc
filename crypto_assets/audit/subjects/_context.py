"""The tables that subjects share: families, matrix and labels of the sample, and a panel of them with its folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

import polars as pl

from crypto_assets.audit.sample import CANDLES, Sample
from crypto_assets.dataset import labels
from crypto_assets.dataset.folds import Fold, walk_forward
from crypto_assets.features import FeatureFamily
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import DAY

MATRIX, TARGETS = "features/matrix", "labels/targets"
TEST_DAYS = 7


@dataclass
class Context:
    """A sample and the families whose columns fill the matrix."""

    sample: Sample
    families: Sequence[FeatureFamily] = field(default_factory=tuple)
    tables: Sequence[str] = ()
    """Raw tables to look at besides those that the families read."""

    @cached_property
    def family_tables(self) -> dict[str, pl.DataFrame]:
        """Every family's rows over the sample, by table."""
        made = {}
        for family in self.families:
            derivation = family.derivation()
            frames = self.sample.frames(dict.fromkeys(family.inputs.values()))
            made[derivation.name] = derive(derivation, Frames(frames), self.sample.window)
        return made

    @cached_property
    def matrix(self) -> pl.DataFrame:
        """`features/matrix` of the sample."""
        frames = {CANDLES: self.sample.rough(CANDLES), **self.family_tables}
        return derive(matrix(self.families), Frames(frames), self.sample.window)

    @cached_property
    def targets(self) -> pl.DataFrame:
        """`labels/targets` of the sample."""
        return derive(labels.DERIVATION, Frames({CANDLES: self.sample.rough(CANDLES)}), self.sample.window)

    @cached_property
    def fold(self) -> Fold | None:
        """A walk-forward fold whose test window is the sample's last week; None where too little precedes it."""
        first, last = self.sample.window.start.date() + DAY, (self.sample.window.end - timedelta(hours=2)).date()
        test = last - TEST_DAYS * DAY
        return walk_forward(first, test, last)[0] if (test - first).days >= 14 else None
