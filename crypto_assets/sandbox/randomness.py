"""Counter-based randomness: the numbers of a block of days depend on (seed, market, stream, block) and on nothing else.

Philox is a block cipher run as a counter (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), so any block can
be drawn without drawing those before it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

STREAMS = ("path", "candles", "daily", "headlines", "graph", "series", "microstructure")


@dataclass(frozen=True)
class Randomness:
    """Independent generators for one simulated market."""

    market: str
    seed: int

    def generator(self, stream: str, block: int = 0, name: str = "") -> np.random.Generator:
        """The generator of `stream` for `block` (a whole number, not negative); `name` tells many series of a stream apart."""
        key = np.array([self.seed & (2**64 - 1), zlib.crc32(self.market.encode())], dtype=np.uint64)
        counter = np.array([0, zlib.crc32(name.encode()), block, STREAMS.index(stream)], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))
