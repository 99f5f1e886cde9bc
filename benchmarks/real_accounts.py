"""What the forecasts are worth on real history, net of costs: the relative strategy by cost and holding time, and the best
trade-off.

    python benchmarks/real_accounts.py CANDLES FUNDING FORECASTS FUSED [--work DIR]

CANDLES, FUNDING: parquet of curated/candles and raw/binance_funding. FORECASTS: a folder with one folder a model and in it
one parquet a fold. FUSED: a folder of the fused forecasts, one parquet a fold (`real_fused.py`). --work: where finished
accounts are kept, so that the script goes on where it was killed. Rows from 2024-11 on are cut off on reading.

First part, 2023-01 to 2024-10: cohorts renewed every hour and held 4 h to 3 d (so every account is the average over all hours
at which one could rebalance), 2 to 20 bp a side: net Sharpe ratio with its interval, deflated by all trials of this file,
turnover, and the probability of overfitting of choosing the best; with one rebalancing a day beside it, by the hour of the
day. Second part: holding time, abstention, no-trade band and maker orders, chosen on 2023-01 to 2024-06 alone, and the choice
stated on 2024-07 to 2024-10.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _record import keep, require

from crypto_assets.evaluation.performance import (
    annual_return,
    hourly_gross_returns,
    hourly_returns,
    max_drawdown,
    period_returns,
    sharpe,
    sharpe_interval,
    turnover_per_day,
)
from crypto_assets.evaluation.selection import blocks_for, deflated_sharpe, overfitting
from crypto_assets.market.time import Window
from crypto_assets.trading.backtest import backtest, cost_sensitivity
from crypto_assets.trading.costs import PERPETUAL, Costs
from crypto_assets.trading.grid import lay_out, market
from crypto_assets.trading.strategy import Relative, rank_weights
from crypto_assets.trading.sweep import sweep
from crypto_assets.trading.venues import Rules

END = datetime(2024, 11, 1, tzinfo=UTC)
WHOLE = Window(datetime(2023, 1, 1, tzinfo=UTC), END)
CHOOSE = Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
STATE = Window(datetime(2024, 7, 1, tzinfo=UTC), END)
MODELS = ("fused", "lightgbm", "logistic", "transformer", "coin_prior")
BPS = (2.0, 5.0, 10.0, 20.0)
HOLDS = (4, 12, 24, 48, 72)
TRADE_OFF = {"hold": (24, 72, 168, 336), "least": (0.0, 0.02, 0.04), "drift": (0.1, 0.5), "maker": (False, True)}
MAKER = Rules(is_maker=True)
DAYS_A_YEAR = 365


class Desk:
    """The data, and the accounts that are finished."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.candles = pl.read_parquet(given.candles).filter(pl.col("ts") < END)
        funding = pl.read_parquet(given.funding).filter(pl.col("ts") < END).with_columns(pl.col("ts").dt.round("1h"))
        self.funding = funding.sort("symbol", "ts", "source").unique(["symbol", "ts"], keep="first", maintain_order=True)
        folders = {m: given.fused if m == "fused" else given.forecasts / m for m in MODELS}
        self.forecasts = {m: read(folder) for m, folder in folders.items()}
        self.work = given.work or Path(tempfile.mkdtemp())
        self.work.mkdir(parents=True, exist_ok=True)

    def kept(self, what: dict[str, Any], make: Any) -> pl.DataFrame:
        """The equity of an account, computed once."""
        path = self.work / f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]}.parquet"
        if not path.exists():
            make().write_parquet(path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
        return pl.read_parquet(path)

    def by_cost(self, model: str, hold: int) -> dict[float, pl.DataFrame]:
        """Equity at each cost a side, all of it taken as fee; the same decisions."""
        made: dict[float, pl.DataFrame] = {}

        def make(bps: float) -> pl.DataFrame:
            if not made:
                unit = Costs(1.0, 0.0)
                made.update(
                    cost_sensitivity(
                        self.forecasts[model],
                        self.candles,
                        self.funding,
                        Relative(hold),
                        unit,
                        model=model,
                        multiples=BPS,
                        window=WHOLE,
                    )
                )
            return made[bps]

        return {bps: self.kept({"model": model, "hold": hold, "bps": bps}, lambda bps=bps: make(bps)) for bps in BPS}

    def account(self, model: str, window: Window, hold: int, least: float, drift: float, maker: bool) -> pl.DataFrame:
        """Equity of one trade-off at the usual costs: 5 + 2 bp taking, 2 bp resting."""

        def make() -> pl.DataFrame:
            strategy, rules = Relative(hold, drift=drift, least=least), MAKER if maker else Rules()
            made = backtest(
                self.forecasts[model], self.candles, self.funding, strategy, PERPETUAL, model=model, rules=rules, window=window
            )
            return made.equity

        what = {"model": model, "from": str(window.start), "to": str(window.end), "hold": hold, "least": least, "drift": drift}
        return self.kept({**what, "maker": maker}, make)


def read(folder: Path) -> pl.DataFrame:
    """Rows of a model's forecasts before the end, by symbol and time."""
    columns = ["symbol", "ts", "horizon", "p_up", "p_beats_median"]
    rows = pl.concat([pl.read_parquet(f, columns=columns) for f in sorted(folder.glob("*.parquet"))])
    return rows.filter(pl.col("ts") < END, pl.col("horizon") == "24h").sort("symbol", "ts")


def daily(equity: pl.DataFrame) -> np.ndarray:
    """Net return of each day."""
    return period_returns(equity, "1d")["return"].to_numpy()


def stated(equity: pl.DataFrame) -> dict[str, Any]:
    """What is said about an account."""
    r, value = hourly_returns(equity), equity["equity_usd"].to_numpy()
    low, high = sharpe_interval(r, equity["ts"].to_numpy()[:-1])
    return {
        "sharpe_net": round(sharpe(r), 2),
        "ci95": [round(low, 2), round(high, 2)],
        "sharpe_gross": round(sharpe(hourly_gross_returns(equity)), 2),
        "annual_return_net": round(annual_return(value), 3),
        "max_drawdown": round(max_drawdown(value), 3),
        "turnover_per_day": round(turnover_per_day(equity), 3),
    }


def deflate(rows: list[dict[str, Any]], days: list[np.ndarray]) -> None:
    """Add to each row P(its true ratio exceeds what the best of all of them would show by luck)."""
    ratios = np.array([d.mean() / d.std(ddof=1) for d in days])
    for row, d in zip(rows, days, strict=True):
        row["deflated_sharpe"] = round(deflated_sharpe(d, len(days), float(ratios.std(ddof=1))), 4)


def pbo(days: list[np.ndarray]) -> dict[str, Any]:
    """Probability that the best of one half of the days lies below the median in the other."""
    table = np.column_stack(days)
    found = overfitting(table, blocks_for(len(table)))
    return {"pbo": round(found.pbo, 3), "loss": round(found.loss, 3), "accounts": table.shape[1], "days": len(table)}


def by_hour(desk: Desk, model: str) -> dict[str, float]:
    """Net Sharpe ratio of a portfolio that is renewed once a day, over the hour at which that is done, 5 bp a side."""
    grid = market(desk.candles, desk.funding)
    cut = slice(int(np.searchsorted(grid.ts_T, np.datetime64(WHOLE.start.replace(tzinfo=None), "us"))), len(grid.ts_T))
    start = int(grid.ts_T[0].astype("int64"))
    p = lay_out(desk.forecasts[model], "p_beats_median", grid.symbols, start, len(grid.ts_T), np.nan)[cut]
    traded, weights = grid.cut(cut), rank_weights(p)
    hour = (traded.ts_T.astype("int64") // 3_600_000_000) % 24
    targets = np.stack([np.where((hour == h)[:, None], weights, np.nan) for h in range(24)])
    rows = sweep(traded, targets, Costs(5.0, 0.0))
    ratios = (rows["mean_return"] / rows["sd_return"]).to_numpy() * np.sqrt(24 * DAYS_A_YEAR)
    return {
        "mean": round(float(ratios.mean()), 2),
        "least": round(float(ratios.min()), 2),
        "most": round(float(ratios.max()), 2),
    }


def first_part(desk: Desk) -> dict[str, Any]:
    """Every model, holding time and cost, over the whole time."""
    rows, days = [], []
    for model, hold in product(MODELS, HOLDS):
        for bps, equity in desk.by_cost(model, hold).items():
            rows.append({"model": model, "hold_hours": hold, "bps_a_side": bps, **stated(equity)})
            days.append(daily(equity))
    deflate(rows, days)
    reference = backtest(desk.forecasts["coin_prior"], desk.candles, desk.funding, Relative(), model="coin_prior", window=WHOLE)
    at = {bps: [d for d, row in zip(days, rows, strict=True) if row["bps_a_side"] == bps] for bps in BPS}
    return {
        "accounts": rows,
        "trials": len(rows),
        "overfitting_by_bps": {bps: pbo(found) for bps, found in at.items()},
        "one_rebalancing_a_day_5bps": {model: by_hour(desk, model) for model in MODELS},
        "buy_and_hold_7bps": stated(reference.buy_and_hold),
        "equal_weight_daily_7bps": stated(reference.equal_weight),
    }


def choices() -> Iterator[dict[str, Any]]:
    """The trade-offs of the second part."""
    for values in product(*TRADE_OFF.values()):
        yield dict(zip(TRADE_OFF, values, strict=True))


def second_part(desk: Desk) -> dict[str, Any]:
    """Choose on the earlier window, state on the later one."""
    found: dict[str, Any] = {"candidates": len(list(choices())), "at": "taker 5 + 2 bp, maker 2 bp a side"}
    for model in ("fused", "lightgbm", "coin_prior"):
        rows, days = [], []
        for choice in choices():
            equity = desk.account(model, CHOOSE, **choice)
            rows.append({**choice, **stated(equity)})
            days.append(daily(equity))
        deflate(rows, days)
        best = max(range(len(rows)), key=lambda i: rows[i]["sharpe_net"])
        chosen = {name: rows[best][name] for name in TRADE_OFF}
        later = desk.account(model, STATE, **chosen)
        taker = max((r for r in rows if not r["maker"]), key=lambda r: r["sharpe_net"])
        found[model] = {
            "chosen": rows[best],
            "overfitting": pbo(days),
            "stated_on_2024_07_to_2024_10": stated(later),
            "best_without_maker_orders": taker,
            "that_on_2024_07_to_2024_10": stated(desk.account(model, STATE, **{name: taker[name] for name in TRADE_OFF})),
            "default_24h_on_2024_07_to_2024_10": stated(desk.account(model, STATE, 24, 0.0, 0.1, False)),
        }
    reference = backtest(desk.forecasts["coin_prior"], desk.candles, desk.funding, Relative(), model="coin_prior", window=STATE)
    found["buy_and_hold_on_2024_07_to_2024_10"] = stated(reference.buy_and_hold)
    found["equal_weight_on_2024_07_to_2024_10"] = stated(reference.equal_weight)
    return found


def main() -> None:
    """Both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("candles", "funding", "forecasts", "fused"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--work", type=Path)
    desk = Desk(parser.parse_args())
    last = max(rows["ts"].max() for rows in desk.forecasts.values())  # type: ignore[type-var]
    require(last < END, f"forecasts reach {last}")  # type: ignore[operator]
    have = desk.funding["symbol"].unique().sort().to_list()
    keep("real_accounts", {"funding_known_for": have, "whole": first_part(desk), "trade_off": second_part(desk)})


if __name__ == "__main__":
    main()
