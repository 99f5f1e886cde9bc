"""Where families come from: the modules of this package, entry points of other packages, and files a user names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from crypto_assets.features._family import FeatureFamily
from crypto_assets.market.errors import CryptoAssetsError, SettingsError

ENTRY_POINTS = "crypto_assets.features"


def built_in() -> dict[str, FeatureFamily]:
    """The families of this package, by name: every module that does not begin with an underscore and has a FAMILY."""
    import crypto_assets.features as package

    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and not m.ispkg)
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return {m.FAMILY.name: m.FAMILY for m in modules if hasattr(m, "FAMILY")}


def installed() -> list[tuple[str, FeatureFamily]]:
    """(where from, family) of every entry point of the group `crypto_assets.features`."""
    from importlib.metadata import entry_points

    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        where = f"entry point {point.name} = {point.value}"
        try:
            loaded = point.load()
        except Exception as error:
            raise SettingsError(f"{where} cannot be loaded ({error}): repair or uninstall that package") from error
        found.append((where, _family(loaded, where)))
    return found


def load_family(path: Path | str) -> FeatureFamily:
    """The FAMILY of a user's file.

    Raises SettingsError when there is no such file, it cannot be run, it has no FAMILY, or that is not a FeatureFamily.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise SettingsError(f"no feature file {path}: give the path of a Python file that defines FAMILY")
    name = f"crypto_assets_user_features_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path} is not a Python file: give one that ends in .py and defines FAMILY")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except CryptoAssetsError:
        raise
    except Exception as error:
        raise SettingsError(f"{path} cannot be run ({type(error).__name__}: {error}): correct it") from error
    if not hasattr(module, "FAMILY"):
        raise SettingsError(f"{path} has no FAMILY: end it with FAMILY = FeatureFamily(name=..., inputs=..., ...)")
    return _family(module.FAMILY, f"{path}: FAMILY")


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
            "source": ", ".join(family.inputs.values()),
        }
        for family in chosen
        for name, column in family.described().items()
    ]


def _family(value: object, where: str) -> FeatureFamily:
    if not isinstance(value, FeatureFamily):
        raise SettingsError(f"{where} must be a FeatureFamily, is {type(value).__name__}: FAMILY = FeatureFamily(...)")
    return value
