"""Where strategies come from: the ones of this package, entry points of other packages, and files a user names.

A strategy is a small object with a name, the column and horizon of the forecasts it reads, and `targets(signal, costs)`: see
`strategy.Strategy`. A file of a user's own ends with `STRATEGY = ...`; a package registers one under
`crypto_assets.strategies`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from crypto_assets.market.errors import CryptoAssetsError, SettingsError
from crypto_assets.market.time import HORIZONS
from crypto_assets.trading.strategy import STRATEGIES, Strategy

ENTRY_POINTS = "crypto_assets.strategies"
RESERVED = ("equity", "trades", "orders", "summary", "evaluation", "report", "catalog", "reference")
"""Names under `backtests/` that are something else."""


def strategies(files: Iterable[Path | str] = ()) -> dict[str, Strategy]:
    """All strategies by name: built in, installed, then those of `files`. Raises SettingsError when two share a name."""
    found = dict(STRATEGIES)
    for where, strategy in [*_installed(), *((str(file), load_strategy(file)) for file in files)]:
        if strategy.name in found or strategy.name in RESERVED:
            raise SettingsError(f"strategy {strategy.name!r} of {where} has the name of another, or a reserved one: rename it")
        found[strategy.name] = strategy
    return found


def load_strategy(path: Path | str) -> Strategy:
    """The STRATEGY of a user's file.

    Raises SettingsError when there is no such file, it cannot be run, it has no STRATEGY, or that is none.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise SettingsError(f"no strategy file {path}: give the path of a Python file that defines STRATEGY")
    name = f"crypto_assets_user_strategy_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path} is not a Python file: give one that ends in .py and defines STRATEGY")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except CryptoAssetsError:
        raise
    except Exception as error:
        raise SettingsError(f"{path} cannot be run ({type(error).__name__}: {error}): correct it") from error
    return _strategy(getattr(module, "STRATEGY", None), f"{path}: STRATEGY")


def _installed() -> list[tuple[str, Strategy]]:
    from importlib.metadata import entry_points

    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        where = f"entry point {point.name} = {point.value}"
        try:
            loaded = point.load()
        except Exception as error:
            raise SettingsError(f"{where} cannot be loaded ({error}): repair or uninstall that package") from error
        found.append((where, _strategy(loaded, where)))
    return found


def _strategy(value: object, where: str) -> Strategy:
    lacking = [name for name in ("name", "column", "horizon", "targets") if not hasattr(value, name)]
    if lacking or isinstance(value, type):
        raise SettingsError(f"{where} must be an object with name, column, horizon and targets(signal, costs); lacks {lacking}")
    strategy: Strategy = value  # type: ignore[assignment]
    if strategy.horizon not in HORIZONS or not strategy.name.isidentifier():
        raise SettingsError(
            f"{where}: horizon {strategy.horizon!r} must be one of {', '.join(HORIZONS)}, name {strategy.name!r} an identifier"
        )
    return strategy
