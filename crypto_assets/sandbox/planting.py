"""What is planted: the roster, the clock, the weights of each market, and how a published number maps to its driver.

The generator is that of a linear one-step forecast with one hidden regime. For coin i and the bar opening at decision time t,

    r = s sigma e,   e = A + L e' + a3 z e'_i + (a1 + a4 F) n + u,   A = a1 y + a4 y F + b . (on-chain, TVL, VIX, 10-year),

with e' the standardised returns of the bars that closed at t, y the level of the headlines, F the last settled funding, n noise
no one sees, u one-factor Gaussian with correlation `FACTOR_SHARE`, z = +-1 a hidden Markov regime, L the lead-lag weights, and
sigma^2 a GARCH(1,1) of unit mean driven by e, so that it is known when the bar opens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from crypto_assets.market.coins import DEFAULT_SYMBOLS

EPOCH = datetime(2023, 1, 1, tzinfo=UTC)
"""Open of the first simulated bar."""
LAST = datetime(2035, 1, 1, tzinfo=UTC)
"""The simulated market ends here: a bound on memory (a year is about 20 MB)."""
BLOCK_DAYS = 32
BLOCK_HOURS = 24 * BLOCK_DAYS
WARMUP_BLOCKS = 13
"""Blocks of daily history before `EPOCH`: 416 days, so that long daily lookbacks are warm."""

FACTOR_SHARE = 0.5
REGIME_STAY = 0.997
GARCH_OMEGA, GARCH_ALPHA, GARCH_BETA = 0.02, 0.08, 0.90
LEVELS = np.arange(-4, 5) / 2.0
"""What the headlines of an hour can express: nine steps of half a standard deviation."""
LEVEL_AR = 0.97
LEVEL_COMMON = 0.3
"""Share of the sentiment level that all coins have in common; it is what Fear & Greed shows."""
LATENT_TEXT_SD = 0.6
"""Standard deviation of n, in units of the level."""
FUNDING_HOURS = 8
FUNDING_AR = 0.8
FUNDING_MEAN, FUNDING_SCALE = 1e-4, 1e-4
"""funding_rate = FUNDING_MEAN + FUNDING_SCALE * F, exactly (F is rounded to 1e-4, the rate to 1e-8)."""
ONCHAIN_AR, ONCHAIN_LOG_SCALE = 0.8, 0.2
"""AdrActCnt = its base * exp(ONCHAIN_LOG_SCALE * driver), rounded to a whole number."""
TVL_AR, TVL_LOG_SCALE = 0.6, 0.01
"""Daily log change of the Total TVL = TVL_LOG_SCALE * driver."""
VIX_AR, VIX_MEAN, VIX_LOG_SCALE = 0.95, 18.0, 0.2
"""VIX close = VIX_MEAN * exp(VIX_LOG_SCALE * driver), to cents."""
YIELD_MEAN, YIELD_PULL, YIELD_STEP_PCT = 4.0, 0.01, 0.05
"""Change of the 10-year yield between trading days = YIELD_STEP_PCT * driver, to 0.01 of a percent."""
DEFI_CHAINS = ("Total", "Ethereum", "Solana", "Polygon", "Cardano")


@dataclass(frozen=True)
class Planted:
    """Weights: `a` of (sentiment, BTC lead-lag, regime, sentiment x funding), `b` of (on-chain, TVL, VIX, 10-year change)."""

    a: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    b: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    graph: bool = False


PLANTED: dict[str, Planted] = {
    "standard": Planted(a=(0.06, 0.12, 0.10, 0.05), b=(0.02, 0.02, -0.015, -0.015)),
    "realistic": Planted(a=(0.03, 0.06, 0.05, 0.02), b=(0.01, 0.01, -0.0075, -0.0075)),
    "regime": Planted(a=(0.0, 0.0, 0.12, 0.0)),
    "leadlag": Planted(graph=True),
    "null": Planted(),
}


REVERSED = "reversed"


@dataclass(frozen=True)
class Break:
    """From the bar that opens at `at` on, the weights of another market hold, or `reversed`: those of before with their signs
    turned, the break that hurts most whoever learnt the ones before.

    Everything else goes on, shocks, texts, funding, the filters; the path before `at` is that without a break.
    """

    at: datetime
    after: str = REVERSED

    def weights(self, before: Planted) -> Planted:
        """The weights that hold after the break."""
        if self.after != REVERSED:
            return PLANTED[self.after]
        a, b = before.a, before.b
        return Planted((-a[0], -a[1], -a[2], -a[3]), (-b[0], -b[1], -b[2], -b[3]), before.graph)


@dataclass(frozen=True)
class SimulatedCoin:
    """Where a coin starts, how much it moves and how big it is."""

    symbol: str
    price_usd: float
    hourly_sd: float
    volume_usd: float
    """Typical perpetual turnover of an hour."""
    supply: float
    active_addresses: float
    listed: date | None = None
    delisted: date | None = None


COINS: tuple[SimulatedCoin, ...] = (
    SimulatedCoin("BTC", 16547.5, 0.0040, 6.0e8, 19.25e6, 9.0e5),
    SimulatedCoin("ETH", 1196.2, 0.0050, 3.0e8, 120.5e6, 4.5e5),
    SimulatedCoin("ADA", 0.2459, 0.0062, 2.0e7, 35.0e9, 6.0e4),
    SimulatedCoin("SOL", 9.97, 0.0072, 9.0e7, 370.0e6, 3.5e5),
    SimulatedCoin("POL", 0.7581, 0.0068, 1.5e7, 9.0e9, 1.8e5),
    SimulatedCoin("DOT", 4.318, 0.0063, 1.2e7, 1.25e9, 2.5e4),
    SimulatedCoin("LINK", 5.563, 0.0064, 2.5e7, 5.1e8, 8.0e3),
    SimulatedCoin("UNI", 5.171, 0.0066, 1.0e7, 7.6e8, 6.0e3),
    SimulatedCoin("ARB", 1.184, 0.0075, 1.5e7, 1.3e9, 1.2e5, listed=date(2023, 3, 24)),
    SimulatedCoin("EOS", 0.8613, 0.0065, 4.0e6, 1.08e9, 5.0e4, delisted=date(2024, 5, 28)),
)
"""The eight default coins first; then one that is listed late and one that is delisted."""
SYMBOLS = tuple(c.symbol for c in COINS)
CORE = len(DEFAULT_SYMBOLS)
"""The regime filter of the oracle and the lead-lag graph know these first coins only; the others just follow."""


def level_of(latent: np.ndarray) -> np.ndarray:
    """Index into `LEVELS` nearest to a latent AR(1) value."""
    return np.clip(np.rint(2.0 * latent), -4, 4).astype(np.int64) + 4


def level_variance() -> float:
    """E[y^2] of the quantised level of a standard normal."""
    edges = [-math.inf, *((LEVELS[:-1] + LEVELS[1:]) / 2), math.inf]
    cdf = [0.5 * math.erfc(-edge / math.sqrt(2)) for edge in edges]
    return float(sum((hi - lo) * y * y for lo, hi, y in zip(cdf[:-1], cdf[1:], LEVELS, strict=True)))
