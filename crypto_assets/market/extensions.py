"""What a user adds from outside: an object in a Python file, or an entry point of another package."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from crypto_assets.market.errors import CryptoAssetsError, SettingsError


def from_file(path: Path | str, wanted: str, kind: str) -> Any:
    """The module-level `wanted` of a user's file; `kind` names what it is in messages.

    Raises SettingsError when there is no such file, it cannot be run, or it does not define `wanted`.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise SettingsError(f"no {kind} file {path}: give the path of a Python file that defines {wanted}")
    name = f"crypto_assets_user_{kind}_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path} is not a Python file: give one that ends in .py and defines {wanted}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except CryptoAssetsError:
        raise
    except Exception as error:
        raise SettingsError(f"{path} cannot be run ({type(error).__name__}: {error}): correct it") from error
    if not hasattr(module, wanted):
        raise SettingsError(f"{path} has no {wanted}: end it with {wanted} = ...")
    return getattr(module, wanted)


def installed(group: str) -> list[tuple[str, Any]]:
    """(where from, object) of every entry point of `group`. Raises SettingsError for one that cannot be loaded."""
    from importlib.metadata import entry_points

    found = []
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        where = f"entry point {point.name} = {point.value}"
        try:
            found.append((where, point.load()))
        except Exception as error:
            raise SettingsError(f"{where} cannot be loaded ({error}): repair or uninstall that package") from error
    return found
