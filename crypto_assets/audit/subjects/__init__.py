"""What is audited besides the families: curated tables, labels, the matrix, fits and forecasts, folds, publication lags.

A module here has `auditables(context)`, things to be recomputed under other futures, or `outcomes(context)`, checks of their
own kind, or both; whatever is built later (a graph, a fusion weight) registers itself by adding one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.findings import Outcome
from crypto_assets.audit.subjects._context import Context


def _modules() -> list[ModuleType]:
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]


def registered(context: Context) -> Iterator[Auditable]:
    """Every auditable of every module here."""
    for module in _modules():
        yield from getattr(module, "auditables", lambda _: ())(context)


def checked(context: Context) -> Iterator[Outcome]:
    """The outcome of every other check."""
    for module in _modules():
        yield from getattr(module, "outcomes", lambda _: ())(context)


__all__ = ["Context", "checked", "registered"]
