"""How much of the best account is the luck of having tried many: deflated Sharpe ratios by the ledger, overfitting by CSCV."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.evaluation.ledger import Ledger
from crypto_assets.evaluation.performance import period_returns
from crypto_assets.evaluation.selection import blocks_for, deflated_sharpe, expected_max_sharpe, overfitting
from crypto_assets.trading.backtest import Backtest

DAYS_A_YEAR = 365


def luck(accounts: Mapping[str, Backtest], ledger: Ledger) -> dict[str, Any]:
    """What the trials of the ledger and the comparison of `accounts` (model -> account, one strategy) say about choosing.

    `trials` counts the ledger, `traded` those with a Sharpe ratio, `sharpe_spread` is the standard deviation of these and
    `expected_max_sharpe` the best that as many would show without skill (both a year); `deflated_sharpe` has, by model, the
    probability that the true ratio is above that. `pbo` is the probability of backtest overfitting over the days that all
    accounts share, `pbo_loss` the probability that the chosen account loses, from `pbo_blocks` blocks. Null where it does not
    exist: fewer than two traded trials, or too few days.
    """
    trials = ledger.trials()
    found = [(row["results"].get("backtest") or {}).get("sharpe_net") for row in trials]
    ratios = np.array([x for x in found if x is not None]) / np.sqrt(DAYS_A_YEAR)
    spread = float(ratios.std(ddof=1)) if len(ratios) > 1 else None
    days = {model: period_returns(account.equity, "1d") for model, account in accounts.items()}
    best = expected_max_sharpe(len(trials), spread) if spread is not None else None
    return {
        "trials": len(trials),
        "traded": len(ratios),
        "sharpe_spread": None if spread is None else float(spread * np.sqrt(DAYS_A_YEAR)),
        "expected_max_sharpe": None if best is None else float(best * np.sqrt(DAYS_A_YEAR)),
        "deflated_sharpe": {
            model: _finite(deflated_sharpe(rows["return"].to_numpy(), len(trials), spread)) if spread is not None else None
            for model, rows in days.items()
        },
        **_overfitting(days),
    }


def _overfitting(days: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    tables = [rows.rename({"return": model}) for model, rows in days.items()]
    shared = reduce(lambda a, b: a.join(b, on="start"), tables).sort("start").drop("start") if tables else pl.DataFrame()
    blocks = blocks_for(shared.height)
    if blocks < 2 or shared.width < 2:
        return {"pbo": None, "pbo_loss": None, "pbo_blocks": None, "days": shared.height, "accounts": shared.width}
    result = overfitting(shared.to_numpy(), blocks)
    return {
        "pbo": result.pbo,
        "pbo_loss": result.loss,
        "pbo_blocks": blocks,
        "days": shared.height,
        "accounts": shared.width,
    }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
