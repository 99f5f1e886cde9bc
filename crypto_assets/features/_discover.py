"""Where families come from: the modules of this package, entry points of other packages, and files a user names."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from crypto_assets.features._family import FeatureFamily
from crypto_assets.market import extensions
from crypto_assets.market.errors import SettingsError

ENTRY_POINTS = "crypto_assets.features"


def built_in() -> dict[str, FeatureFamily]:
    """The families of this package, by name: every module that does not begin with an underscore and has a FAMILY."""
    import crypto_assets.features as package

    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and not m.ispkg)
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return {m.FAMILY.name: m.FAMILY for m in modules if hasattr(m, "FAMILY")}


def installed() -> list[tuple[str, FeatureFamily]]:
    """(where from, family) of every entry point of the group `crypto_assets.features`."""
    return [(where, _family(loaded, where)) for where, loaded in extensions.installed(ENTRY_POINTS)]


def load_family(path: Path | str) -> FeatureFamily:
    """The FAMILY of a user's file.

    Raises SettingsError when there is no such file, it cannot be run, it has no FAMILY, or that is not a FeatureFamily.
    """
    return _family(extensions.from_file(path, "FAMILY", "feature"), f"{path}: FAMILY")


def families(files: Iterable[Path | str] = ()) -> dict[str, FeatureFamily]:
    """All families by name: built in, installed, then those of `files`. Raises SettingsError when two share a name."""
    found = built_in()
    origin = dict.fromkeys(found, "built in")
    others = [*installed(), *((str(file), load_family(file)) for file in files)]
    for where, family in others:
        if family.name in found or family.name == "matrix":
            known = origin.get(family.name, "the name of features/matrix")
            raise SettingsError(f"feature family {family.name!r} of {where} has the name of another ({known}): rename it")
        found[family.name], origin[family.name] = family, where
    return found


def catalogue(chosen: Iterable[FeatureFamily]) -> list[dict[str, Any]]:
    """One record a column: name, family, meaning, unit, lookback_hours, source (the tables read)."""
    return [
        {
            "name": f"{family.name}.{name}",
            "family": family.name,
            "meaning": column.meaning,
            "unit": column.unit,
            "lookback_hours": (column.lookback if column.lookback is not None else family.lookback) / timedelta(hours=1),
            "source": ", ".join(dict.fromkeys(family.inputs.values())),
        }
        for family in chosen
        for name, column in family.described().items()
    ]


def _family(value: object, where: str) -> FeatureFamily:
    if not isinstance(value, FeatureFamily):
        raise SettingsError(f"{where} must be a FeatureFamily, is {type(value).__name__}: FAMILY = FeatureFamily(...)")
    return value
