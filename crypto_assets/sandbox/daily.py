"""Daily series behind the on-chain, DeFi and macro tables, and what of them was published at an hour.

Arrays start on `FIRST_DAY`, `WARMUP_BLOCKS` blocks before `EPOCH`. Publication follows the raw tables: Coin Metrics and
DefiLlama day D at D+1 03:00 UTC, the Treasury yield at D 23:30, VIX at D+1 06:00; a value stays the last known one over
weekends and holidays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from crypto_assets.sandbox.kernels import autoregress
from crypto_assets.sandbox.planting import (
    BLOCK_DAYS,
    COINS,
    DEFI_CHAINS,
    EPOCH,
    ONCHAIN_AR,
    TVL_AR,
    VIX_AR,
    VIX_LOG_SCALE,
    VIX_MEAN,
    WARMUP_BLOCKS,
    YIELD_MEAN,
    YIELD_PULL,
    YIELD_STEP_PCT,
)
from crypto_assets.sandbox.randomness import Randomness

WARMUP_DAYS = WARMUP_BLOCKS * BLOCK_DAYS
FIRST_DAY: date = EPOCH.date() - timedelta(days=WARMUP_DAYS)
LAG_HOURS = {"onchain": 27, "tvl": 27, "vix": 30, "yield": 24}
"""Whole hours from 00:00 of day D to the first decision time that knows it."""


@dataclass(frozen=True)
class DailyBlock:
    """One block of days; leading axis `day`. Drivers have unit scale; prices and yields are as printed."""

    onchain: np.ndarray
    """`[day, coin]` driver."""
    tvl: np.ndarray
    """`[day]` driver, the change of the log Total TVL."""
    chain_noise: np.ndarray
    """`[day, chain]` further log change of each chain."""
    metric_noise: np.ndarray
    """`[day, coin, 6]` standard normals for metrics that carry no information."""
    vix: np.ndarray
    """`[day, 4]` open, high, low, close; the last close again on days without trading."""
    yield_pct: np.ndarray
    yield_change: np.ndarray
    """Last change between trading days, in units of `YIELD_STEP_PCT`."""
    mood: np.ndarray
    """Standard normals for Fear & Greed before the first simulated day."""


class DailySeries:
    """Generates the blocks in order, carrying the state of each autoregression."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._blocks = 0
        self._onchain = np.zeros(len(COINS))
        self._tvl = np.zeros(1)
        self._vix = 0.0
        self._vix_row = np.full(4, VIX_MEAN)
        self._yield = YIELD_MEAN
        self._change = 0.0

    def next(self) -> DailyBlock:
        """The next block; the first one starts on `FIRST_DAY`."""
        rng = self._randomness.generator("daily", self._blocks)
        first = FIRST_DAY + timedelta(days=self._blocks * BLOCK_DAYS)
        self._blocks += 1
        onchain = autoregress(rng.standard_normal((BLOCK_DAYS, len(COINS))), ONCHAIN_AR, self._onchain)
        tvl = autoregress(rng.standard_normal((BLOCK_DAYS, 1)), TVL_AR, self._tvl)[:, 0]
        chain_noise = 0.004 * rng.standard_normal((BLOCK_DAYS, len(DEFI_CHAINS)))
        chain_noise[:, 0] = 0.0
        metric_noise = rng.standard_normal((BLOCK_DAYS, len(COINS), 6))
        macro = rng.standard_normal((BLOCK_DAYS, 5))
        vix, yields, change = np.empty((BLOCK_DAYS, 4)), np.empty(BLOCK_DAYS), np.empty(BLOCK_DAYS)
        for d in range(BLOCK_DAYS):
            if is_trading_day(first + timedelta(days=d)):
                self._trade(macro[d])
            vix[d], yields[d], change[d] = self._vix_row, self._yield, self._change
        mood = rng.standard_normal(BLOCK_DAYS)
        return DailyBlock(onchain, tvl, chain_noise, metric_noise, vix, yields, change, mood)

    def _trade(self, shock: np.ndarray) -> None:
        self._vix = VIX_AR * self._vix + np.sqrt(1 - VIX_AR**2) * shock[0]
        close = round(VIX_MEAN * float(np.exp(VIX_LOG_SCALE * self._vix)), 2)
        opened = round(self._vix_row[3] * float(np.exp(0.01 * shock[1])), 2)
        high = round(max(opened, close) * (1 + 0.02 * abs(shock[2])), 2)
        low = round(min(opened, close) * (1 - 0.02 * min(abs(shock[3]), 5.0)), 2)
        self._vix_row = np.array([opened, high, low, close])
        step = YIELD_PULL * (YIELD_MEAN - self._yield) + YIELD_STEP_PCT * shock[4]
        new = max(round(self._yield + step, 2), 0.01)
        self._change = round(new - self._yield, 2) / YIELD_STEP_PCT
        self._yield = new


def is_trading_day(day: date) -> bool:
    """Whether New York trades: Monday to Friday but for 1 January, 4 July and 25 December."""
    return day.weekday() < 5 and (day.month, day.day) not in {(1, 1), (7, 4), (12, 25)}


def vix_driver(close: np.ndarray) -> np.ndarray:
    """The driver a VIX close stands for."""
    return np.log(close / VIX_MEAN) / VIX_LOG_SCALE


def published_row(hour: np.ndarray, series: str) -> np.ndarray:
    """Row of the daily arrays that is the newest one published at decision time `EPOCH + hour`."""
    return (hour - LAG_HOURS[series]) // 24 + WARMUP_DAYS
