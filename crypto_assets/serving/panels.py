"""Cuts of a panel: its last hours, some of its coins, a copy of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crypto_assets.dataset.panel import Panel


def back(panel: Panel, hours: int) -> Panel:
    """The last `hours`, views of it."""
    s = slice(max(0, len(panel.ts) - hours), None)
    labels = {k: v[s] for k, v in panel.labels.items()}
    return replace(panel, ts=panel.ts[s], x_TNF=panel.x_TNF[s], r_TN=panel.r_TN[s], listed_TN=panel.listed_TN[s], labels=labels)


def own(panel: Panel) -> Panel:
    """A copy whose rows may be changed."""
    return replace(panel, x_TNF=panel.x_TNF.copy(), r_TN=panel.r_TN.copy(), listed_TN=panel.listed_TN.copy())


def of_coins(panel: Panel, coins: np.ndarray) -> Panel:
    """Some coins, by their places."""
    return replace(
        panel,
        symbols=tuple(panel.symbols[n] for n in coins),
        x_TNF=panel.x_TNF[:, coins],
        r_TN=panel.r_TN[:, coins],
        listed_TN=panel.listed_TN[:, coins],
        labels={k: v[:, coins] for k, v in panel.labels.items()},
    )
