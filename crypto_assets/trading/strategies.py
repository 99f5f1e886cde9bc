"""Where strategies come from: the ones of this package, entry points of other packages, and files a user names.

A strategy is a small object with a name, the column and horizon of the forecasts it reads, and `targets(signal, costs)`: see
`strategy.Strategy`. A file of a user's own ends with `STRATEGY = ...`; a package registers one under
`crypto_assets.strategies`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from crypto_assets.market import extensions
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import HORIZONS
from crypto_assets.trading.strategy import STRATEGIES, Strategy

ENTRY_POINTS = "crypto_assets.strategies"
RESERVED = ("equity", "trades", "orders", "summary", "evaluation", "report", "catalog", "reference")
"""Names under `backtests/` that are something else."""


def strategies(files: Iterable[Path | str] = ()) -> dict[str, Strategy]:
    """All strategies by name: built in, installed, then those of `files`. Raises SettingsError when two share a name."""
    found = dict(STRATEGIES)
    named = [(where, _strategy(loaded, where)) for where, loaded in extensions.installed(ENTRY_POINTS)]
    for where, strategy in [*named, *((str(file), load_strategy(file)) for file in files)]:
        if strategy.name in found or strategy.name in RESERVED:
            raise SettingsError(f"strategy {strategy.name!r} of {where} has the name of another, or a reserved one: rename it")
        found[strategy.name] = strategy
    return found


def load_strategy(path: Path | str) -> Strategy:
    """The STRATEGY of a user's file.

    Raises SettingsError when there is no such file, it cannot be run, it has no STRATEGY, or that is none.
    """
    return _strategy(extensions.from_file(path, "STRATEGY", "strategy"), f"{path}: STRATEGY")


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
