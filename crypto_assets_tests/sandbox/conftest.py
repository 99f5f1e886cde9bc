from __future__ import annotations

from functools import cache

import polars as pl
import pytest

from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.time import HOUR
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket

HOURS = 20_000


@cache
def scored(market: str, seed: int = 7, hours: int = HOURS) -> pl.DataFrame:
    """Oracle, planted truth and whether the next bar rose, for the default coins, without bars of an outage."""
    simulated = SimulatedMarket(market, seed)
    window = (EPOCH, EPOCH + hours * HOUR)
    frame = simulated.oracle(*window).join(simulated.truth(*window), on=["symbol", "ts"])
    frame = frame.filter(pl.col("symbol").is_in(DEFAULT_SYMBOLS), pl.col("next_e") != 0)
    return frame.with_columns(up=(pl.col("next_e") > 0).cast(pl.Float64))


@pytest.fixture(scope="session")
def standard() -> SimulatedMarket:
    return SimulatedMarket("standard", 7)
