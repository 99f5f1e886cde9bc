"""Sweeps against vectorbt: is one compiled pass twice as fast warm, and five times from a cold start?

    python benchmarks/sweep.py [--repeats 5]

Two workloads: 360 strategies x 8 coins x 8,760 hourly bars, a change of position every fiftieth bar (2,880 accounts), and
1,000 accounts x 1,000 bars with an order in every slot. Both sides get the same targets (half the equity long or flat, sized
at the last close, filled at the next open, 5 bp fee, 2 bp slippage) and give total return, Sharpe ratio and maximum drawdown
of each account. vectorbt knows no funding, so parity is checked without it, to 1e-9 of the return; then ours is timed with
it. One thread each. A cold start is a new process, with both sides' compilation caches on disk filled by an earlier one: ours
counts from the birth of the process, vectorbt's from its import. Ours makes the first small sweep of a process in numpy, so
that the compiled pass need not be loaded; both must give the same bits. CPU seconds; wall seconds stand beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from _peer import limited, python_with, run
from _record import keep, median, require

from crypto_assets.trading import sweep as sweeps
from crypto_assets.trading.costs import Costs
from crypto_assets.trading.grid import Market
from crypto_assets.trading.sweep import sweep

FREE_OF_FUNDING = Costs(5.0, 2.0, is_funding_paid=False)
WITH_FUNDING = Costs(5.0, 2.0)
HOURS_A_YEAR = 8760
SIZES = {"360 strategies x 8 coins x 8760 bars": (360, 8, 8760, 0.02), "1000 x 1000 order slots": (1000, 1, 1000, 1.0)}

PEER = """
c0, w0 = time.process_time(), time.perf_counter()
import vectorbt as vbt
coin = data["coin"]
size = np.where(data["code"] == 0, np.nan, np.where(data["code"] == 2, 0.5, 0.0))
price, close = data["open"][:, coin], data["close"][:, coin]
known = np.vstack([close[:1], close[:-1]])
prepared = time.process_time(), time.perf_counter()

def once():
    account = vbt.Portfolio.from_orders(close, size=size, size_type="targetpercent", price=price, val_price=known, fees=5e-4,
                                        slippage=2e-4, init_cash=10_000.0, freq="1h")
    return [np.asarray(x, dtype=float) for x in (account.total_return(), account.sharpe_ratio(), account.max_drawdown())]

out["total"], out["sharpe"], out["drawdown"] = once()
cold = time.process_time(), time.perf_counter()
warm = []
for _ in range(int(data["repeats"])):
    c, w = time.process_time(), time.perf_counter()
    once()
    warm.append((time.process_time() - c, time.perf_counter() - w))
result = {"cold_cpu": cold[0] - c0, "cold_wall": cold[1] - w0, "warm": warm, "version": vbt.__version__}
"""


def workload(strategies: int, coins: int, bars: int, rate: float) -> dict[str, np.ndarray]:
    """Prices and codes: 0 = no order, 1 = flat, 2 = half the equity long, `[bars, strategies x coins]`."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.007, (bars, coins)), axis=0))
    opens = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.0005, (bars, coins)))
    accounts = strategies * coins
    code = np.where(rng.random((bars, accounts)) < rate, rng.integers(1, 3, (bars, accounts)), 0).astype(np.int8)
    code[0] = 0  # no price is known before the first bar
    return {"open": opens, "close": close, "code": code, "coin": np.tile(np.arange(coins), strategies)}


def ours(data: dict[str, np.ndarray]) -> tuple[Market, np.ndarray, np.ndarray]:
    """The same as a market, targets and coins; a settlement every eight hours."""
    T, M = data["close"].shape
    blank, ts = np.full((T, M), np.nan), (3_600_000_000 * np.arange(T)).astype("datetime64[us]")
    rate = np.where(np.arange(T) % 8 == 0, 1e-4, 0.0)[:, None] * np.ones(M)
    grid = Market(
        ts,
        tuple(f"C{m}" for m in range(M)),
        data["open"],
        blank,
        blank,
        data["close"],
        blank,
        rate,
        blank,
        np.zeros((T, M), bool),
    )
    code = np.ascontiguousarray(data["code"].T)[:, :, None]
    return grid, np.where(code == 0, np.nan, np.where(code == 2, 0.5, 0.0)), data["coin"][:, None]


def statistics(rows: pl.DataFrame) -> dict[str, np.ndarray]:
    """The three that vectorbt gives."""
    mean, spread = rows["mean_return"].to_numpy(), rows["sd_return"].to_numpy()
    return {
        "total": rows["final_value_usd"].to_numpy() / 10_000 - 1,
        "sharpe": np.divide(mean, spread, out=np.full(len(rows), np.nan), where=spread > 0) * np.sqrt(HOURS_A_YEAR),
        "drawdown": -rows["max_drawdown"].to_numpy(),
    }


def once(data: dict[str, np.ndarray], costs: Costs, prepared: Any = None) -> dict[str, np.ndarray]:
    """One sweep with its statistics."""
    grid, target, coins = prepared or ours(data)
    return statistics(sweep(grid, target, costs, coins_SN=coins, threads=1))


def cold(data: dict[str, np.ndarray]) -> dict[str, float]:
    """Import and first call in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data)
        done = subprocess.run([sys.executable, __file__, "--cold", str(path)], capture_output=True, text=True, check=False)
        require(done.returncode == 0, done.stderr[-2000:])
        found: dict[str, float] = json.loads(done.stdout)
        return found


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Parity, then warm and cold in turns."""
    data = workload(*SIZES[name])
    python = python_with("vectorbt", "vectorbt==1.2.0")
    peer, out = run(python, PEER, {**data, "repeats": np.array(0)})  # fills its cache
    sweeps._first = iter([True])  # as in a new process
    own, compiled = once(data, FREE_OF_FUNDING), once(data, FREE_OF_FUNDING)
    require(all(np.array_equal(own[k], compiled[k], equal_nan=True) for k in own), "the two passes of ours differ")
    off = {key: float(np.nanmax(np.abs(own[key] - out[key]))) for key in own}
    require(off["total"] < 1e-9 and off["drawdown"] < 1e-9, f"the two do not agree: {off}")
    cold(data)
    prepared, warm_cpu, warm_wall, ours_cold, peer_runs = ours(data), [], [], [], []
    for _ in range(repeats):
        c, w = time.process_time(), time.perf_counter()
        once(data, WITH_FUNDING, prepared)
        warm_cpu.append(time.process_time() - c)
        warm_wall.append(time.perf_counter() - w)
        ours_cold.append(cold(data))
        peer_runs.append(run(python, PEER, {**data, "repeats": np.array(2)})[0])
    peer_warm = [x for r in peer_runs for x in r["warm"]]
    found = {
        "accounts": data["code"].shape[1],
        "bars": data["code"].shape[0],
        "largest_difference": off,
        "warm_cpu_s": {"ours": median(warm_cpu), "vectorbt": median([x[0] for x in peer_warm])},
        "warm_wall_s": {"ours": median(warm_wall), "vectorbt": median([x[1] for x in peer_warm])},
        "cold_cpu_s": {"ours": median([x["cpu"] for x in ours_cold]), "vectorbt": median([r["cold_cpu"] for r in peer_runs])},
        "cold_wall_s": {
            "ours": median([x["wall"] for x in ours_cold]),
            "vectorbt": median([r["cold_wall"] for r in peer_runs]),
        },
        "vectorbt": peer["version"],
    }
    for kind in ("warm", "cold"):
        found[f"{kind}_times_faster"] = round(found[f"{kind}_cpu_s"]["vectorbt"] / found[f"{kind}_cpu_s"]["ours"], 1)
    return found


def main() -> None:
    """Measure, or be the new process of a cold start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cold", type=Path)
    given = parser.parse_args()
    if given.cold:
        data = dict(np.load(given.cold))
        once(data, WITH_FUNDING)
        print(json.dumps({"cpu": time.process_time(), "wall": time.time() - psutil.Process().create_time()}))
        return
    limited()
    keep("sweep", {name: measure(name, given.repeats) for name in SIZES})


if __name__ == "__main__":
    main()
