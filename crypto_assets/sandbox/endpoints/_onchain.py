"""Daily on-chain numbers behind several providers: the simulator's, or derived from those, or side series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox import series
from crypto_assets.sandbox.daily import FIRST_DAY

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

FIRST = midnight(FIRST_DAY)
HASHES_PER_DIFFICULTY = 2.0**32 / 600
"""Hashes a second that keep ten minutes a block at difficulty 1."""
RETARGET_DAYS = 14
FIRST_HEIGHT = 352 * 2016


@dataclass(frozen=True)
class Days:
    """The days of one coin from its first simulated one up to an end, oldest first; every array is `[day]`."""

    market: SimulatedMarket
    symbol: str
    ts: pl.Series
    simulated: Mapping[str, np.ndarray]

    @classmethod
    def upto(cls, market: SimulatedMarket, symbol: str, end: datetime) -> Days | None:
        """All days before `end`; None where there is none."""
        frame = market.onchain(symbol, FIRST, end) if end > FIRST else pl.DataFrame()
        if frame.is_empty():
            return None
        wide = frame.pivot("metric", index="ts", values="value").sort("ts")
        return cls(market, symbol, wide["ts"], {c: wide[c].to_numpy() for c in wide.columns if c != "ts"})

    def __getitem__(self, metric: str) -> np.ndarray:
        """A metric of the simulator, by Coin Metrics' name."""
        return self.simulated[metric]

    @property
    def price(self) -> np.ndarray:
        """USD."""
        return self["CapMrktCurUSD"] / self["SplyCur"]

    def level(self, name: str, half_life: float = 30.0, width: int = 1) -> np.ndarray:
        """A slow series of unit variance, `[day, width]`."""
        first, last = self.ts[0].date(), self.ts[-1].date()
        return series.level(self.market.randomness, f"onchain/{self.symbol}/{name}", first, last, half_life, width)

    def around(self, name: str, centre: float, log_scale: float, half_life: float = 30.0) -> np.ndarray:
        """A slow positive series around `centre`."""
        return centre * np.exp(log_scale * self.level(name, half_life)[:, 0])


Metrics = Mapping[str, Callable[[Days], np.ndarray]]


def long(days: Days | None, metrics: Metrics, start: datetime) -> pl.DataFrame:
    """ts, metric, value of the metrics from `start` on, oldest first."""
    empty = pl.DataFrame(schema={"ts": UTC_US, "metric": pl.String, "value": pl.Float64})
    if days is None:
        return empty
    parts = [pl.DataFrame({"ts": days.ts, "value": make(days)}).with_columns(metric=pl.lit(m)) for m, make in metrics.items()]
    return pl.concat([empty, *(p.select(empty.columns) for p in parts)]).filter(pl.col("ts") >= start).sort("ts", "metric")


def table(
    market: SimulatedMarket, symbol: str, metrics: Metrics, start: datetime, end: datetime, lag: timedelta
) -> pl.DataFrame:
    """`long` for `ts` in `[start, end)` with `available_at`."""
    return long(Days.upto(market, symbol, end), metrics, start).with_columns(available_at=pl.col("ts") + lag)


def mean_before(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of the last `width` days, fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - width, 0)
    return (total[last] - total[first]) / (last - first)


def adjustments(market: SimulatedMarket, end: datetime) -> pl.DataFrame:
    """Changes of Bitcoin's difficulty before `end`, each from the hash rate of the two weeks before it.

    Columns ts, height, difficulty, ratio (to the one before).
    """
    days = Days.upto(market, "BTC", end)
    rows: list[tuple[datetime, int, float, float]] = []
    rates = days["HashRate"] if days is not None else np.empty(0)
    before = 0.0
    for n in range(1, len(rates) // RETARGET_DAYS + 1):
        hashes = 1e12 * float(np.mean(rates[(n - 1) * RETARGET_DAYS : n * RETARGET_DAYS]))
        difficulty = round(hashes / HASHES_PER_DIFFICULTY, 2)
        at = FIRST + n * RETARGET_DAYS * DAY + timedelta(seconds=n * 37_123 % 86_400)
        rows.append((at, FIRST_HEIGHT + 2016 * n, difficulty, round(difficulty / before, 6) if before else 1.0))
        before = difficulty
    schema = {"ts": UTC_US, "height": pl.Int64(), "difficulty": pl.Float64(), "ratio": pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row").filter(pl.col("ts") < end)


def difficulty(days: Days) -> np.ndarray:
    """Bitcoin's difficulty at the end of each day."""
    changes = adjustments(days.market, days.ts[-1] + DAY)
    first = pl.DataFrame({"ts": [datetime(2009, 1, 3, tzinfo=UTC)], "difficulty": [3.2e13]}, schema_overrides={"ts": UTC_US})
    known = pl.concat([first, changes.select("ts", "difficulty")]).sort("ts")
    ends = pl.DataFrame({"ts": days.ts + (DAY - timedelta(microseconds=1))})
    return ends.join_asof(known, on="ts")["difficulty"].to_numpy()
