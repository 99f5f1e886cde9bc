"""Optimised portfolios on real history beside equal weight and inverse volatility, rebalanced weekly, net of costs.

    python benchmarks/real_portfolios.py CANDLES FUNDING FORECASTS [--model transformer]

CANDLES, FUNDING, FORECASTS as in `real_accounts.py`; the means are that model's 24 h ones. Long only, perpetuals, 5 + 2 bp a
side and funding where it is known. 2023-04 to 2024-10, after 90 days to know the risk; rows from 2024-11 on are cut off on
reading.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl
from _record import keep
from real_accounts import END, stated

from crypto_assets.market.time import Window
from crypto_assets.trading.backtest import backtest
from crypto_assets.trading.portfolio import METHODS, Optimised

DAYS_TO_KNOW = 90


def main() -> None:
    """Every method over the same hours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("candles", "funding", "forecasts"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--model", default="transformer")
    given = parser.parse_args()
    candles = pl.read_parquet(given.candles).filter(pl.col("ts") < END)
    funding = pl.read_parquet(given.funding).filter(pl.col("ts") < END).with_columns(pl.col("ts").dt.round("1h"))
    funding = funding.sort("symbol", "ts", "source").unique(["symbol", "ts"], keep="first", maintain_order=True)
    columns = ["symbol", "ts", "horizon", "mean"]
    rows = pl.concat([pl.read_parquet(f, columns=columns) for f in sorted((given.forecasts / given.model).glob("*.parquet"))])
    rows = rows.filter(pl.col("ts") < END, pl.col("horizon") == "24h").sort("symbol", "ts")
    found = {}
    for method in METHODS:
        made = backtest(rows, candles, funding, Optimised(method, lookback_days=DAYS_TO_KNOW), model=given.model)
        lived = made.equity.filter(pl.col("ts") >= made.trades["ts"].min())
        found[method] = {
            **stated(lived),
            "from": str(lived["ts"][0]),
            "gross_exposure": round(float(lived["gross_exposure"].mean()), 2),
        }  # type: ignore[arg-type]
    window = Window(lived["ts"][0], END)
    reference = backtest(rows, candles, funding, Optimised("equal", lookback_days=2), model=given.model, window=window)
    found["buy_and_hold"] = stated(reference.buy_and_hold)
    keep("real_portfolios", {"model": given.model, "rebalanced": "weekly", "portfolios": found})


if __name__ == "__main__":
    main()
