"""The vocabulary everyone shares: coins and their names, UTC windows, horizons, errors.

Here belong facts about the market itself. Nothing that reads a file, opens a socket or knows a table.
"""

from crypto_assets.market.coins import DEFAULT_SYMBOLS, Coin, Universe
from crypto_assets.market.time import DAY, HORIZONS, HOUR, Window

__all__ = ["DAY", "DEFAULT_SYMBOLS", "HORIZONS", "HOUR", "Coin", "Universe", "Window"]
