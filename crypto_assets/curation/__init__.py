"""Canonical tables, one per subject, made from the raw tables of several providers: candles cross-checked, texts scored,
anomalies of candles found.

Here belongs reconciling sources, and saying how far to rely on them. Nothing that describes the market: that is a feature.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crypto_assets.lake import Derivation


def discover() -> dict[str, Derivation]:
    """Every curated table's derivation by short name: each module here that does not begin with an underscore has one.

    Those that read another curated table come last.
    """
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_") and not m.ispkg)
    found = {name: importlib.import_module(f"{__name__}.{name}").DERIVATION for name in names}
    return dict(sorted(found.items(), key=lambda item: any(i.startswith("curated/") for i in item[1].inputs.values())))
