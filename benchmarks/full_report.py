"""Sixteen coins, four years of hours: all strategies traded, all statistics, the whole page, in twenty seconds on two cores?

    python benchmarks/full_report.py [--repeats 3]

Made-up walks and forecasts (35,064 hours). Measured: every strategy's account with its tables and references, the account at
four multiples of the costs, `performance` of each, the HTML page. Checked first: the accounts balance and the page names
every strategy. Wall and CPU seconds; the first repeat loads numba's cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from _record import keep, median, require

from crypto_assets.evaluation.performance import performance
from crypto_assets.evaluation.report import write_report
from crypto_assets.evaluation.report_words import strategy_name
from crypto_assets.trading.backtest import backtest, cost_sensitivity
from crypto_assets.trading.strategy import STRATEGIES

HOURS, COINS = 4 * 8766, 16


def world() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Candles, funding and forecasts of three horizons."""
    rng = np.random.default_rng(0)
    hours = np.datetime64("2020-01-01T00", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
    ts = pl.Series("ts", hours).dt.replace_time_zone("UTC")
    candles, funding, forecasts = [], [], []
    for n in range(COINS):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.008, HOURS)))
        opens = np.append(close[:1], close[:-1])
        frame = pl.DataFrame(
            {"ts": ts, "open": opens, "high": np.maximum(opens, close), "low": np.minimum(opens, close), "close": close}
        )
        candles.append(frame.with_columns(symbol=pl.lit(f"C{n:02d}"), quote_volume_usd=pl.lit(1e7)))
        funding.append(pl.DataFrame({"ts": ts[::8]}).with_columns(symbol=pl.lit(f"C{n:02d}"), funding_rate=pl.lit(1e-4)))
        for horizon in ("1h", "4h", "24h"):
            p = 0.5 + 0.05 * rng.standard_normal(HOURS - 1).clip(-3, 3)
            rows = pl.DataFrame({"ts": ts[1:], "p_up": p, "p_beats_median": p}).with_columns(
                pl.lit(f"C{n:02d}").alias("symbol"), pl.lit(horizon).alias("horizon"), pl.lit(0.0).alias("mean"),
                pl.lit(-9.0).alias("log_var"), pl.lit(1e-3).alias("realised_var"),
            )  # fmt: skip
            forecasts.append(rows)
    return pl.concat(candles), pl.concat(funding), pl.concat(forecasts).sort("symbol", "horizon", "ts")


def once(candles: pl.DataFrame, funding: pl.DataFrame, forecasts: pl.DataFrame) -> str:
    """Trade, measure, write; gives the page."""
    accounts = [backtest(forecasts, candles, funding, s, model="fused") for s in STRATEGIES.values()]
    costs = cost_sensitivity(forecasts, candles, funding, STRATEGIES["relative_24h"], model="fused")
    for account in accounts:
        found = performance(account)
        paid = account.equity["fees_usd"].sum() + account.equity["slippage_usd"].sum() + account.equity["funding_usd"].sum()
        net = account.equity["gross_equity_usd"][-1] - account.equity["equity_usd"][-1]
        require(abs(net - paid) < 0.01 and found["days"] > 1400, "the accounts do not balance")
    truths = ("ret_1h", "ret_4h", "ret_24h", "above_median_24h", "rv_24h")
    labels = pl.DataFrame(schema={"symbol": pl.String, "ts": pl.Datetime("us", "UTC"), **dict.fromkeys(truths, pl.Float64)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        scores = {"data": {"world": "sandbox"}, "backtest": {}, "direction": {}, "volatility": {}}
        write_report(path, scores=scores, forecasts={"fused": forecasts}, candles=candles, labels=labels, backtests=accounts,
                     sensitivity=costs, headline="fused", weights=None)  # fmt: skip
        return path.read_text()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    tables = world()
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        page = once(*tables)
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
        missing = [name for name in STRATEGIES if strategy_name(name) not in page]
        require(not missing, f"the page does not name {missing}")
    keep("full_report", {"hours": HOURS, "coins": COINS, "strategies": len(STRATEGIES), "cpu_s": median(cpu, 2),
                         "wall_s": median(wall, 2), "page_mb": round(len(page) / 1e6, 2)})  # fmt: skip


if __name__ == "__main__":
    main()
