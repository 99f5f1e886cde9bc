"""The simulated path, block after block of 32 days: drivers, returns, variances, and what the filters make of them.

A block is always computed whole and from the state its predecessor left, so a value at an hour is the same bits whatever range
is asked and in whatever order.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.time import HOUR
from crypto_assets.sandbox import candles
from crypto_assets.sandbox.daily import DailySeries, published_row, vix_driver
from crypto_assets.sandbox.kernels import autoregress, hamilton, hamilton_alone, regime_path, returns_path
from crypto_assets.sandbox.moments import lead_weights, second_moments
from crypto_assets.sandbox.planting import (
    BLOCK_DAYS,
    BLOCK_HOURS,
    COINS,
    CORE,
    EPOCH,
    FACTOR_SHARE,
    FUNDING_AR,
    FUNDING_HOURS,
    LATENT_TEXT_SD,
    LEVEL_AR,
    LEVEL_COMMON,
    LEVELS,
    PLANTED,
    REGIME_STAY,
    WARMUP_BLOCKS,
    Break,
    Planted,
    level_of,
)
from crypto_assets.sandbox.randomness import Randomness

N = len(COINS)
assert tuple(c.symbol for c in COINS[:CORE]) == DEFAULT_SYMBOLS


@dataclass(frozen=True)
class Law:
    """What holds from hour `first` on: the weights, and the lead-lag weights and second moments that go with them."""

    first: int
    planted: Planted
    lead: np.ndarray
    second_moment: np.ndarray


class Path:
    """All arrays of one market from `EPOCH` (daily ones from before it) to `hours`, grown on demand and never recomputed."""

    def __init__(self, market: str, seed: int, breaks: Sequence[Break] = ()) -> None:
        self.planted = PLANTED[market]
        self.randomness = Randomness(market, seed)
        self.laws = [self._law(0, self.planted)]
        for change in breaks:
            self.laws.append(self._law((change.at - EPOCH) // HOUR, change.weights(self.laws[-1].planted)))
        self.lead, self.second_moment = self.laws[0].lead, self.laws[0].second_moment
        self.hours = 0
        self._lock = threading.RLock()
        self._blocks: list[dict[str, np.ndarray]] = []
        self._arrays: dict[str, np.ndarray] = {}
        self._daily = DailySeries(self.randomness)
        self._daily_blocks = [self._daily.next() for _ in range(WARMUP_BLOCKS)]
        self._start_state()

    def _law(self, first: int, planted: Planted) -> Law:
        lead = lead_weights(planted, self.randomness)
        return Law(first, planted, lead, second_moments(planted, lead))

    def laws_in(self, first: int, last: int) -> Iterator[tuple[slice, Law]]:
        """The laws of the hours `first` to `last`, each with its place among these hours."""
        ends = [law.first for law in self.laws[1:]] + [max(last, self.laws[-1].first + 1)]
        for law, end in zip(self.laws, ends, strict=True):
            a, b = max(first, law.first), min(last, end)
            if a < b:
                yield slice(a - first, b - first), law

    def weights(self, first: int, last: int) -> np.ndarray:
        """`[hour, 8]`: the weights `a` and `b` that hold in each hour."""
        held = [np.tile([*law.planted.a, *law.planted.b], (s.stop - s.start, 1)) for s, law in self.laws_in(first, last)]
        return np.concatenate(held) if held else np.empty((0, 8))

    def _start_state(self) -> None:
        self._common, self._own, self._funding = np.zeros(1), np.zeros(N), np.zeros(N)
        self._regime, self._variance = 1.0, np.ones(N)
        self._last_e = np.zeros(N)
        self._filter, self._filter_latent, self._filter_alone = np.full(1, 0.5), np.full(1, 0.5), np.full(N, 0.5)
        self._candles = candles.CandleState.start()

    def upto(self, hours: int) -> dict[str, np.ndarray]:
        """Every hourly array `[hour, ...]`, at least `hours` long (row k: the bar opening at EPOCH + k hours)."""
        with self._lock:
            if self.hours < hours or not self._blocks:
                while self.hours < hours or not self._blocks:
                    self._blocks.append(self._next_block())
                    self.hours += BLOCK_HOURS
                self._arrays = {k: np.concatenate([b[k] for b in self._blocks]) for k in self._blocks[0]}
                if len(self._blocks) > 1:
                    self._blocks = [self._arrays]
            return self._arrays

    def daily(self, hours: int) -> dict[str, np.ndarray]:
        """Every daily array `[day, ...]`, from `daily.FIRST_DAY` to the day of `hours` at least."""
        with self._lock:
            self.upto(hours)
            fields = self._daily_blocks[0].__dataclass_fields__
            return {f: np.concatenate([getattr(b, f) for b in self._daily_blocks]) for f in fields}

    def _next_block(self) -> dict[str, np.ndarray]:
        block = self.hours // BLOCK_HOURS
        self._daily_blocks.append(self._daily.next())
        rng = self.randomness.generator("path", block)
        out = self._drivers(rng)
        hour = np.arange(self.hours, self.hours + BLOCK_HOURS)
        out["exogenous"] = out["sentiment"] + self._published_daily(hour)
        regime = regime_path(rng.random(BLOCK_HOURS), REGIME_STAY, self._regime)
        self._regime = float(regime[-1])
        factor, own = rng.standard_normal((BLOCK_HOURS, 1)), rng.standard_normal((BLOCK_HOURS, N))
        shocks = np.sqrt(FACTOR_SHARE) * factor + np.sqrt(1 - FACTOR_SHARE) * own
        halted = _halts(rng)
        self._returns(out, shocks, regime, halted)
        out |= candles.block(self.randomness.generator("candles", block), out, self._candles)
        return out

    def _drivers(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        a1, a4 = self.weights(self.hours, self.hours + BLOCK_HOURS)[:, [0, 3]].T[:, :, None]
        common = autoregress(rng.standard_normal((BLOCK_HOURS, 1)), LEVEL_AR, self._common)
        own = autoregress(rng.standard_normal((BLOCK_HOURS, N)), LEVEL_AR, self._own)
        level = level_of(np.sqrt(LEVEL_COMMON) * common + np.sqrt(1 - LEVEL_COMMON) * own)
        settled = autoregress(rng.standard_normal((BLOCK_HOURS // FUNDING_HOURS, N)), FUNDING_AR, self._funding)
        funding = np.repeat(np.round(settled, 4), FUNDING_HOURS, axis=0)
        noise = LATENT_TEXT_SD * rng.standard_normal((BLOCK_HOURS, N))
        loading = a1 + a4 * funding
        return {
            "level": level,
            "funding": funding,
            "sentiment": loading * LEVELS[level],
            "latent": loading * noise,
            "extra_variance": (loading * LATENT_TEXT_SD) ** 2,
        }

    def _published_daily(self, hour: np.ndarray) -> np.ndarray:
        b = self.weights(self.hours, self.hours + BLOCK_HOURS)[:, 4:].T
        recent = self._daily_blocks[-3:]
        offset = BLOCK_DAYS * (len(self._daily_blocks) - len(recent))
        rows = {s: published_row(hour, s) - offset for s in ("onchain", "tvl", "vix", "yield")}
        onchain = np.concatenate([d.onchain for d in recent])[rows["onchain"]]
        tvl = np.concatenate([d.tvl for d in recent])[rows["tvl"]]
        vix = vix_driver(np.concatenate([d.vix[:, 3] for d in recent])[rows["vix"]])
        change = np.concatenate([d.yield_change for d in recent])[rows["yield"]]
        return b[0][:, None] * onchain + (b[1] * tvl + b[2] * vix + b[3] * change)[:, None]

    def _returns(self, out: dict[str, np.ndarray], shocks: np.ndarray, regime: np.ndarray, halted: np.ndarray) -> None:
        out |= {"shocks": shocks, "regime": regime, "halted": halted}
        parts = []
        for hours, law in self.laws_in(self.hours, self.hours + BLOCK_HOURS):
            parts.append(self._returns_of(law, {k: v[hours] for k, v in out.items()}))
        del out["shocks"]
        out |= {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}

    def _returns_of(self, law: Law, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns, variances and filtered probabilities of consecutive hours under one law; the states go on from it."""
        a3 = law.planted.a[2]
        before = self._last_e.copy()
        e, h, known = returns_path(
            rows["exogenous"],
            rows["latent"],
            rows["shocks"],
            rows["regime"],
            rows["halted"],
            law.lead,
            a3,
            law.second_moment,
            self._last_e,
            self._variance,
        )
        out = {"e": e, "variance": h, "known": known, "last_e": np.concatenate([before[None], e[:-1]])}
        core = slice(0, CORE)
        seen = {k: np.ascontiguousarray((rows | out)[k][:, core]) for k in ("e", "known", "extra_variance", "latent", "halted")}
        x, mean, extra, quiet = seen["e"], seen["known"], seen["extra_variance"], seen["halted"]
        informed, certain = mean + seen["latent"], np.zeros_like(extra)
        out["p_regime"] = hamilton(x, mean, extra, quiet, a3, self._filter, before[core].copy())
        out["p_regime_latent"] = hamilton(x, informed, certain, quiet, a3, self._filter_latent, before[core].copy())
        alone = hamilton_alone(e, known, rows["extra_variance"], rows["halted"], a3, self._filter_alone, before.copy())
        return out | {"p_regime_alone": alone}


def _halts(rng: np.random.Generator) -> np.ndarray:
    """One outage of one to three hours, of one coin, in every block: its venues trade nothing and the price stands still."""
    halted = np.zeros((BLOCK_HOURS, N), dtype=np.bool_)
    coin, start, length = rng.integers(N), rng.integers(24, BLOCK_HOURS - 24), rng.integers(1, 4)
    halted[start : start + length, coin] = True
    return halted
