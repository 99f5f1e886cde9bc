"""Which world a lake belongs to. A lake is stamped before its first row and refuses rows of another world."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from crypto_assets.lake.store import Lake, write_bytes
from crypto_assets.market.errors import LakeError, SettingsError


@dataclass(frozen=True)
class World:
    """`market` and `seed` are of the sandbox alone; `fold` is the length of a walk-forward fold. `start`, `symbols` and
    `warmup_days` are what the lake was begun with: they are kept, not compared.
    """

    world: str
    market: str | None
    seed: int | None
    fold: str
    start: str
    """First daily partition, ISO date."""
    symbols: list[str]
    warmup_days: int

    def __str__(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in asdict(self).items() if v is not None)


def stamp_path(lake: Lake) -> Path:
    """Where the stamp lies."""
    return lake.root / "world.json"


def read(lake: Lake) -> World | None:
    """The lake's world, or None for a new lake."""
    path = stamp_path(lake)
    if not path.exists():
        return None
    try:
        return World(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise LakeError(f"{path} is not a world stamp ({error}): restore it from a backup, or start a new lake") from error


def claim(lake: Lake, world: World) -> World:
    """Stamp a new lake; for a stamped one return the stamp, or raise SettingsError naming both worlds where they differ."""
    lake.ensure_writable()
    found = read(lake)
    if found is None:
        write_bytes(stamp_path(lake), json.dumps(asdict(world), indent=1).encode())
        return world
    if (found.world, found.market, found.seed, found.fold) != (world.world, world.market, world.seed, world.fold):
        raise SettingsError(
            f"the lake {lake.root} belongs to the world ({found}), asked was ({world}): "
            f"use another folder with --lake or CRYPTO_ASSETS_LAKE, or ask for the lake's own world"
        )
    return found
