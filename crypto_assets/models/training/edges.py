"""Which coins speak to which: the graph of the market as it was known at each decision time.

Shapes: G graphs, T decision times, N coins, R numbers on an edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Snapshots:
    """`edges_GNNR` float32: to a coin (first N) from another, 0 = no edge. `at_T`: the graph that holds at each hour."""

    edges_GNNR: np.ndarray
    at_T: np.ndarray
