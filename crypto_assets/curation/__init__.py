"""Canonical tables, one per subject, made from the raw tables of several providers: candles cross-checked, texts scored.

Here belongs reconciling sources. Nothing that looks across coins or over more than a bar: those are features.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crypto_assets.lake import Derivation


def discover() -> dict[str, Derivation]:
    """Every curated table's derivation by short name: each module here that does not begin with an underscore has one."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_") and not m.ispkg)
    return {name: importlib.import_module(f"{__name__}.{name}").DERIVATION for name in names}
