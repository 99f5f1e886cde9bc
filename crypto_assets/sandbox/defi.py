"""DeFi beside the planted total value locked: protocols, pools, stablecoins, DEX volume, governance.

Sizes follow the simulated TVL of all chains or of one; the rest is side series. Tables run from `FIRST_DAY` to a last day; the
values of a day do not depend on which day is last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import midnight
from crypto_assets.sandbox.daily import FIRST_DAY
from crypto_assets.sandbox.planting import DEFI_CHAINS
from crypto_assets.sandbox.series import days, level, noise

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

STABLES = frozenset({"USDC", "USDT", "DAI", "CRVUSD", "BUSD", "USDE", "SUSDE", "USDS"})


@dataclass(frozen=True)
class Protocol:
    """Its share of the total TVL, and by chain the usual weight of each token; no tokens where none are broken down."""

    category: str
    share: float
    chains: dict[str, dict[str, float]]


PROTOCOLS = {
    "lido": Protocol("Liquid Staking", 0.22, {"Ethereum": {"ETH": 1.0}}),
    "aave-v3": Protocol(
        "Lending",
        0.12,
        {
            "Ethereum": {"WETH": 0.35, "WSTETH": 0.2, "WBTC": 0.2, "USDC": 0.13, "USDT": 0.12},
            "Polygon": {"USDC": 0.5, "WPOL": 0.3, "WETH": 0.2},
        },
    ),
    "sky-lending": Protocol("CDP", 0.08, {"Ethereum": {"ETH": 0.35, "WSTETH": 0.25, "USDC": 0.4}}),
    "uniswap-v3": Protocol(
        "Dexs",
        0.05,
        {
            "Ethereum": {"WETH": 0.38, "USDC": 0.3, "WBTC": 0.17, "USDT": 0.15},
            "Polygon": {"USDC": 0.45, "WPOL": 0.35, "WETH": 0.2},
        },
    ),
    "curve-dex": Protocol("Dexs", 0.04, {"Ethereum": {"USDT": 0.25, "USDC": 0.25, "DAI": 0.1, "CRVUSD": 0.1, "STETH": 0.3}}),
    "compound-v3": Protocol("Lending", 0.03, {"Ethereum": {"WETH": 0.4, "WBTC": 0.3, "USDC": 0.3}}),
    "pendle": Protocol("Yield", 0.03, {"Ethereum": {"SUSDE": 0.45, "USDE": 0.15, "EETH": 0.4}}),
    "rocket-pool": Protocol("Liquid Staking", 0.03, {"Ethereum": {}}),
    "pancakeswap-amm": Protocol("Dexs", 0.03, {"BSC": {"WBNB": 0.5, "USDT": 0.35, "BUSD": 0.15}}),
    "raydium": Protocol("Dexs", 0.02, {"Solana": {"SOL": 0.5, "USDC": 0.4, "USDT": 0.1}}),
    "balancer-v2": Protocol("Dexs", 0.02, {"Ethereum": {"WETH": 0.4, "WSTETH": 0.3, "USDC": 0.3}}),
}


@dataclass(frozen=True)
class YieldPool:
    """A pool of the yields service; rates in percent a year."""

    project: str
    symbol: str
    tvl_usd: float
    apy_pct: float
    reward_pct: float | None = None


YIELD_POOLS = {
    "747c1d2a-c668-4682-b9f9-296708a3dd90": YieldPool("lido", "STETH", 1.6e10, 3.2),
    "d4b3c522-6127-4b89-bedf-83641cdcd2eb": YieldPool("rocket-pool", "RETH", 2.0e9, 2.8),
    "aa70268e-4b52-42bf-a116-608b370f9501": YieldPool("aave-v3", "USDC", 4.0e8, 4.5),
    "f981a304-bb6c-45b8-b0c5-fd2f515ad23a": YieldPool("aave-v3", "USDT", 5.0e8, 4.2),
    "7da72d09-56ca-4ec5-a45f-59114353e487": YieldPool("compound-v3", "USDC", 2.0e8, 4.0, 0.6),
    "d8c4eff5-c8a9-46fc-a888-057c4c668e72": YieldPool("sky-lending", "SUSDS", 1.5e9, 6.0),
    "66985a81-9c51-46ca-9977-42b4fe7bc6df": YieldPool("ethena-usde", "SUSDE", 1.2e9, 9.0),
}
SPACES = {
    "aavedao.eth": 90,
    "arbitrumfoundation.eth": 700,
    "balancer.eth": 40,
    "ens.eth": 60,
    "gitcoindao.eth": 30,
    "lido-snapshot.eth": 50,
    "safe.eth": 40,
    "uniswapgovernance.eth": 120,
}
"""Space of the governance hub -> its usual number of votes a day."""
REFERENCE_TVL_USD = 39e9


def last_day(end: datetime) -> date:
    """The last day that begins before `end`; `FIRST_DAY` where that is earlier."""
    return max((end - timedelta(microseconds=1)).date(), FIRST_DAY)


def within(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The rows with `ts` in `[start, end)`."""
    return frame.filter(pl.col("ts") >= start, pl.col("ts") < end)


def dated(columns: Mapping[str, object], last: date) -> pl.DataFrame:
    """Columns over the days from `FIRST_DAY` to `last`, with `ts`."""
    return pl.DataFrame({"ts": pl.Series([midnight(day) for day in days(FIRST_DAY, last)], dtype=UTC_US), **columns})


def chain_tvl(market: SimulatedMarket, chain: str, last: date) -> np.ndarray:
    """TVL of a chain, or of `Total`, day by day."""
    frame = market.tvl(midnight(FIRST_DAY), midnight(last) + timedelta(hours=1))
    return frame.filter(pl.col("chain") == chain).sort("ts")["tvl_usd"].to_numpy()


@lru_cache(maxsize=64)
def tokens(market: SimulatedMarket, slug: str, last: date) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """TVL of a protocol, and by chain and token what is locked, USD to the cent, day by day."""
    protocol = PROTOCOLS[slug]
    size = np.exp(0.15 * level(market.randomness, f"protocol:{slug}", FIRST_DAY, last, half_life_days=60.0)[:, 0])
    tvl = np.round(protocol.share * chain_tvl(market, "Total", last) * size, 2)
    found: dict[str, dict[str, np.ndarray]] = {}
    for chain, weights in protocol.chains.items():
        jitter = level(market.randomness, f"tokens:{slug}:{chain}", FIRST_DAY, last, width=max(len(weights), 1))
        raw = np.array(list(weights.values())) * np.exp(0.2 * jitter[:, : len(weights)])
        usd = np.round(raw / raw.sum(axis=1, keepdims=True) * (tvl / len(protocol.chains))[:, None], 2) if weights else raw
        found[chain] = {token: usd[:, k] for k, token in enumerate(weights)}
    return tvl, found


def protocols(market: SimulatedMarket, start: datetime, end: datetime) -> pl.DataFrame:
    """protocol, ts, tvl_usd, stable_pct of days in `[start, end)`."""
    return pl.concat([within(_protocol(market, slug, last_day(end)), start, end) for slug in PROTOCOLS])


@lru_cache(maxsize=64)
def _protocol(market: SimulatedMarket, slug: str, last: date) -> pl.DataFrame:
    tvl, chains = tokens(market, slug, last)
    every = [(token, usd) for mix in chains.values() for token, usd in mix.items()]
    stable = [usd for token, usd in every if token in STABLES]
    shares = [
        100 * math.fsum(usd[d] for usd in stable) / math.fsum(usd[d] for _, usd in every) if every else None
        for d in range(len(tvl))
    ]
    return dated({"protocol": [slug] * len(tvl), "tvl_usd": tvl, "stable_pct": pl.Series(shares, dtype=pl.Float64)}, last)


def yields(market: SimulatedMarket, start: datetime, end: datetime) -> pl.DataFrame:
    """pool, project, pool_symbol, ts, tvl_usd and the rates in percent of days in `[start, end)`."""
    return pl.concat([within(yield_pool(market, pool, last_day(end)), start, end) for pool in YIELD_POOLS])


@lru_cache(maxsize=64)
def yield_pool(market: SimulatedMarket, uuid: str, last: date) -> pl.DataFrame:
    """The days of one pool up to `last`."""
    pool = YIELD_POOLS[uuid]
    wave = level(market.randomness, f"yield:{uuid}", FIRST_DAY, last, half_life_days=15.0, width=2)
    size = chain_tvl(market, "Total", last) / REFERENCE_TVL_USD * np.exp(0.1 * wave[:, 1])
    base = np.round(pool.apy_pct * np.exp(0.3 * wave[:, 0]), 5)
    reward = None if pool.reward_pct is None else np.round(pool.reward_pct * np.exp(0.1 * wave[:, 1]), 5)
    columns = {
        "pool": [uuid] * len(base),
        "project": [pool.project] * len(base),
        "pool_symbol": [pool.symbol] * len(base),
        "tvl_usd": np.rint(pool.tvl_usd * size),
        "apy_pct": base if reward is None else np.round(base + reward, 5),
        "apy_base_pct": base,
        "apy_reward_pct": pl.Series([None] * len(base) if reward is None else reward, dtype=pl.Float64),
    }
    return dated(columns, last)


def stablecoins(market: SimulatedMarket, last: date) -> pl.DataFrame:
    """ts, circulating (tokens pegged to the dollar), circulating_usd (at their prices), up to `last`."""
    size = level(market.randomness, "stablecoins", FIRST_DAY, last, half_life_days=120.0)[:, 0]
    drift = noise(market.randomness, "stablecoin peg", FIRST_DAY, last)[:, 0]
    circulating = np.round(1.5e11 * np.exp(0.08 * size), 2)
    return dated({"circulating": circulating, "circulating_usd": np.round(circulating * (1 + 3e-4 * drift), 2)}, last)


def dex_volume(market: SimulatedMarket, start: datetime, end: datetime) -> pl.DataFrame:
    """Columns chain (Total for all), ts, volume_usd of days in `[start, end)`."""
    return pl.concat([within(chain_volume(market, chain, last_day(end)), start, end) for chain in DEFI_CHAINS])


@lru_cache(maxsize=32)
def chain_volume(market: SimulatedMarket, chain: str, last: date) -> pl.DataFrame:
    """The days of one chain up to `last`; whole dollars."""
    turnover = 0.05 * np.exp(0.4 * level(market.randomness, f"dex:{chain}", FIRST_DAY, last, half_life_days=5.0)[:, 0])
    volume = np.rint(chain_tvl(market, chain, last) * turnover)
    return dated({"chain": [chain] * len(volume), "volume_usd": volume}, last)


@dataclass(frozen=True)
class Governance:
    """What happened in one space on one day; `voters` of the votes are different people."""

    proposals: int
    votes: int
    voters: int


def governance(market: SimulatedMarket, space: str, day: date) -> Governance:
    """The counts of one space and day."""
    drawn = noise(market.randomness, f"governance:{space}", day, day, width=2)[0]
    votes = int(SPACES[space] * math.exp(0.6 * drawn[0]))
    return Governance(max(round(0.4 + 0.8 * drawn[1]), 0), votes, min(votes, 1 + votes * 4 // 5))
