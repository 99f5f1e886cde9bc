"""Combinatorial purged cross-validation: many test paths through one history instead of one.

The time axis is cut into folds; every choice of some of them is tested once, on what a fit of the others forecasts. Training
rows whose labels reach into a test fold are purged on both sides, and an embargo keeps a further distance after it.
Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 12.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from crypto_assets.market.errors import SettingsError

Array = np.ndarray


class Split(NamedTuple):
    """Positions on the time axis: `train`, ascending, and one array for each tested fold, whose numbers are `folds`."""

    train: Array
    tests: list[Array]
    folds: tuple[int, ...]


def combinatorial_splits(times: int, *, folds: int, tested: int, purge: int, embargo: int = 0) -> Iterator[Split]:
    """Every choice of `tested` of `folds` folds over `times` distinct moments in time order: C(folds, tested) splits.

    A panel is split by moment, all coins together, never by row. `purge`: moments a label looks ahead, dropped from training
    before and after each run of test folds; `embargo`: further moments dropped after it. All folds have `times // folds`
    moments but the last, which has the rest. Raises SettingsError where a training fold would be emptied.
    """
    size = times // folds if folds else 0
    if not 1 <= tested < folds or purge < 0 or embargo < 0 or purge + embargo >= size:
        raise SettingsError(
            f"cannot test {tested} of {folds} folds over {times} moments with a purge of {purge} and an embargo of {embargo}: "
            f"test fewer than all folds, and keep purge and embargo together shorter than a fold ({size})"
        )
    fold = np.minimum(np.arange(times) // size, folds - 1)
    for chosen in combinations(range(folds), tested):
        test = np.isin(fold, chosen)
        kept = ~test
        for start in np.flatnonzero(test & ~np.r_[False, test[:-1]]):
            kept[max(0, start - purge) : start] = False
        for end in np.flatnonzero(test & ~np.r_[test[1:], False]) + 1:
            kept[end : end + purge + embargo] = False
        yield Split(np.flatnonzero(kept & ~test), [np.flatnonzero(fold == f) for f in chosen], chosen)


def paths(folds: int, tested: int) -> list[list[tuple[int, int]]]:
    """The whole test paths that the splits give: for each path, (number of the split, fold) of every fold in time order.

    Each fold is tested in C(folds - 1, tested - 1) splits, so there are that many paths.
    """
    seen = [0] * folds
    found: list[list[tuple[int, int]]] = [[] for _ in range(comb(folds - 1, tested - 1))]
    for split, chosen in enumerate(combinations(range(folds), tested)):
        for fold in chosen:
            found[seen[fold]].append((split, fold))
            seen[fold] += 1
    return [sorted(path, key=lambda step: step[1]) for path in found]
