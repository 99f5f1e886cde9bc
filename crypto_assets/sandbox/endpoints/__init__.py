"""One file per provider: its routes in its own wire format, from the simulated market, holding what is published by now.

Here belongs what a provider's interface looks like from outside. A module is named as its provider's key, and has
`routes(world)` and `EMPTY`, the body that says "nothing" in its format. It may have `TABLES`: by name of a raw table (without
the layer) a function `(market, start, end, symbols) -> DataFrame` of the rows it serves with `ts` in `[start, end)`, in the
columns of the table but for `source`, with `available_at` as published there. The contract tests compare with it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket


@dataclass(frozen=True)
class World:
    """What the endpoints serve: a market, and the time it is there."""

    market: SimulatedMarket
    now: Callable[[], datetime]


def discover() -> dict[str, ModuleType]:
    """Every endpoint module by provider key."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def tables() -> dict[str, Callable]:
    """Every `TABLES` entry of every endpoint module."""
    return {name: rows for module in discover().values() for name, rows in getattr(module, "TABLES", {}).items()}
