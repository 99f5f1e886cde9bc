"""Many accounts in one pass: the engine's plain case compiled for sweeps over strategies, parameters and coins.

Plain means what `engine.run` does with a taker's terms and the gross limit alone: funding, targets sized by known prices,
band, fills at the next open with fee and slippage, missing bars, delistings, marked at the close. No margin, lots, volume
shares, resting orders or other limits; a test holds both to the same cents. Nothing is kept of the way but sums, so ten
thousand accounts need no more memory than their targets. The first sweep of a process, if it is a small one, is made in numpy:
that takes less time than loading what was compiled, and gives the same bits.

Shapes: S accounts, T bars, N coins an account, M coins of the market.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.costs import BPS, Costs
from crypto_assets.trading.grid import Market

COLUMNS = (
    "final_value_usd", "mean_return", "sd_return", "max_drawdown", "turnover_usd", "fees_usd", "slippage_usd", "funding_usd",
    "trades",
)  # fmt: skip
OVERHEAD, SMALL = 1750, 8_000_000
"""A step of a coin costs in numpy as much as that of so many accounts more; sweeps below so many are done before the compiled
pass is loaded, which takes 0.4 s."""
_first = iter([True])


def sweep(
    market: Market,
    target_STN: np.ndarray,
    costs: Costs,
    *,
    coins_SN: np.ndarray | None = None,
    band: float = 0.0,
    gross: float = 1.0,
    capital: float = 10_000.0,
    threads: int | None = None,
) -> pl.DataFrame:
    """One row an account: final value, mean and standard deviation of its bar returns, worst drawdown (a positive fraction),
    USD turned over and paid, number of fills.

    `target_STN`: fractions of equity, row t decided at the bar's open, NaN = leave alone. `coins_SN`: which coins of the market
    an account holds; the first N by default. `band`: smallest change worth a trade. `threads`: one a core by default. Raises
    SettingsError when shapes or coins do not fit the market, or the costs have an impact, which needs the engine.
    """
    S, T, N = target_STN.shape
    coins = np.broadcast_to(np.arange(N), (S, N)).copy() if coins_SN is None else np.asarray(coins_SN, dtype=np.int64)
    if len(market.ts_T) != T or coins.shape != (S, N) or (coins < 0).any() or (coins >= len(market.symbols)).any():
        raise SettingsError(
            f"targets {target_STN.shape} and coins {coins.shape} must be (accounts, {len(market.ts_T)} bars, coins) "
            f"and name coins below {len(market.symbols)}"
        )
    if costs.impact:
        raise SettingsError("a sweep knows no impact: set Costs(impact=0), or run the engine")
    rate = market.rate_TN if costs.is_funding_paid else np.zeros_like(market.rate_TN)
    mark = np.where(market.mark_TN > 0, market.mark_TN, np.nan)
    grids = [np.ascontiguousarray(x.T) for x in (market.open_TN, market.close_TN, rate, mark, market.delisted_TN)]
    targets = np.ascontiguousarray(target_STN, dtype=np.float64)
    numbers = (float(capital), costs.taker_fee_bps * BPS, costs.slippage_bps * BPS, float(band), float(gross))
    out = np.zeros((S, len(COLUMNS)))
    workers = min(threads or os.cpu_count() or 1, S) or 1
    edges = np.linspace(0, S, workers + 1).astype(int)
    if next(_first, False) and T * N * (S + OVERHEAD) < SMALL:
        workers, edges, kernel = 1, np.array([0, S]), _plain()
    else:
        kernel = _compiled()
    parts = [(targets[a:b], coins[a:b], out[a:b]) for a, b in pairwise(edges)]
    if workers == 1:
        kernel(*grids, *parts[0], *numbers)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda part: kernel(*grids, *part, *numbers), parts))
    return pl.DataFrame(out, schema=list(COLUMNS), orient="row").with_columns(pl.col("trades").cast(pl.Int64))


def _plain() -> Any:
    from crypto_assets.trading import sweep_plain

    return sweep_plain.accounts


def _compiled() -> Any:
    from crypto_assets.trading import sweep_kernel

    return sweep_kernel.accounts
