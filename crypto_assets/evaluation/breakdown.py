"""Where a forecast is good and where it is not: the same measures by coin, by volatility regime and by month.

A regime is known before the day it names: the market's variance over the 24 h to midnight, against the terciles of all days
before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from crypto_assets.evaluation.alignment import Board

Array = np.ndarray

REGIMES = ("calm", "normal", "turbulent")
LEAST_PAST_DAYS = 10
"""Days of past variance before terciles are drawn from them; until then a day has no regime."""


class Groups(NamedTuple):
    """`names`, and `code` of each position of the grid among them; -1 is none."""

    names: tuple[str, ...]
    code: Array


def groups(board: Board) -> dict[str, Groups]:
    """`coin`, `regime` and `month` (UTC, of the decision) of each position of the flat grid."""
    hours, coins = len(board.ts), len(board.symbols)
    months, month = np.unique(board.ts.astype("datetime64[M]"), return_inverse=True)
    return {
        "coin": Groups(board.symbols, np.tile(np.arange(coins), hours)),
        "regime": Groups(REGIMES, np.repeat(regimes(board), coins)),
        "month": Groups(tuple(str(m) for m in months), np.repeat(month, coins)),
    }


def regimes(board: Board) -> Array:
    """Index into `REGIMES` of each grid hour, -1 where the past is too short; the same all day, and known at its midnight."""
    rv = board.labels["rv_24h"].reshape(len(board.ts), len(board.symbols))
    day = (board.ts.astype("datetime64[D]") - board.ts[0].astype("datetime64[D]")).astype(np.int64)
    past = np.full(int(day[-1]) + 1, np.nan)
    midnight = np.flatnonzero(board.ts == board.ts.astype("datetime64[D]"))
    known = ~np.isnan(rv[midnight])
    mean = np.where(known.any(axis=1), np.nansum(rv[midnight], axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
    after = day[midnight] + 1  # the variance from one midnight to the next is known at the next
    past[after[after < len(past)]] = mean[after < len(past)]
    return tercile_of_past(past)[day]


def tercile_of_past(values: Array) -> Array:
    """0, 1 or 2: the third of all earlier values that each falls in; -1 for NaN, or fewer than ten earlier values."""
    found = np.full(len(values), -1)
    for i in np.flatnonzero(~np.isnan(values)):
        earlier = values[:i][~np.isnan(values[:i])]
        if len(earlier) >= LEAST_PAST_DAYS:
            found[i] = int(np.searchsorted(np.quantile(earlier, [1 / 3, 2 / 3]), values[i]))
    return found


def by_group(grouping: Mapping[str, Groups], at: Array, values: Mapping[str, Array]) -> dict[str, Any]:
    """Mean of each of `values` (one element a scored row, at grid positions `at`): kind -> group -> {n, name: mean}.

    Groups without a row are left out.
    """
    found: dict[str, Any] = {}
    for kind, (names, code) in grouping.items():
        of_row = code[at] + 1
        n = np.bincount(of_row, minlength=len(names) + 1)[1:]
        sums = {key: np.bincount(of_row, v, len(names) + 1)[1:] for key, v in values.items()}
        found[kind] = {
            name: {"n": int(n[i]), **{key: float(total[i] / n[i]) for key, total in sums.items()}}
            for i, name in enumerate(names)
            if n[i]
        }
    return found
