"""Everything said about a set of forecasts: traded net of costs, scored, entered in the ledger, put on one page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from crypto_assets.evaluation.alignment import Labels
from crypto_assets.evaluation.intervals import intervals
from crypto_assets.evaluation.ledger import Ledger, Study
from crypto_assets.evaluation.luck import luck
from crypto_assets.evaluation.performance import performance
from crypto_assets.evaluation.score import score
from crypto_assets.trading.backtest import Backtest, backtest, cost_sensitivity
from crypto_assets.trading.strategy import STRATEGIES, Strategy

STRATEGY = "relative_24h"
"""What every model is traded with: relative performance over a day is where honest skill is largest, and where turnover can
be paid for. It was fixed before any result was seen."""
FEATURED = "fused"
"""The forecast that is traded with every strategy."""


@dataclass(frozen=True)
class Assessment:
    """The evaluate JSON, and what it was made from.

    `backtests`: the accounts by (model, strategy). `sensitivity`: equity of the featured account at 0, 1, 2, 4 times the costs.
    """

    result: dict[str, Any]
    forecasts: Mapping[str, pl.DataFrame]
    candles: pl.DataFrame
    backtests: dict[tuple[str, str], Backtest]
    sensitivity: dict[float, pl.DataFrame]

    def report(self, path: Path, labels: pl.DataFrame, weights: pl.DataFrame | None = None) -> Path:
        """Write the HTML report of this assessment.

        `labels` is `labels/targets` over the test windows; `weights`: ts, target, member, weight of the fused forecast.
        """
        from crypto_assets.evaluation.report import write_report

        headline = FEATURED if FEATURED in self.forecasts else next(iter(self.forecasts))
        order = sorted(self.backtests, key=lambda key: (key[0] != headline, key[1] != STRATEGY, key))
        return write_report(
            path,
            scores=self.result,
            forecasts=self.forecasts,
            candles=self.candles,
            labels=labels,
            backtests=[self.backtests[key] for key in order],
            sensitivity=self.sensitivity,
            headline=headline,
            weights=weights,
        )


def assess(
    forecasts: Mapping[str, pl.DataFrame],
    labels: Labels,
    candles: pl.DataFrame,
    funding: pl.DataFrame,
    *,
    study: Study,
    lake: Path,
    oracle: pl.DataFrame | None = None,
    seconds: float = 0.0,
    strategies: Mapping[str, Strategy] = STRATEGIES,
) -> Assessment:
    """Trade and score `forecasts` over the test windows of `study`.

    `backtest` in the result has one entry a model, traded with STRATEGY; `selection` says what is luck among these; `intervals`
    whether those of FEATURED cover what they promise;
    `strategies` in the result has FEATURED traded with each of `strategies`.
    """
    accounts = {}
    for model, rows in forecasts.items():
        chosen = strategies if model == FEATURED else {STRATEGY: STRATEGIES[STRATEGY]}
        for name, strategy in chosen.items():
            if (
                rows.filter(horizon=strategy.horizon)[strategy.column].null_count()
                < rows.filter(horizon=strategy.horizon).height
            ):
                accounts[model, name] = backtest(rows, candles, funding, strategy, model=model)
    measured = {key: performance(account) for key, account in accounts.items()}
    result = score(
        forecasts,
        labels,
        study=study,
        lake=lake,
        oracle=oracle,
        backtest={model: found for (model, name), found in measured.items() if name == STRATEGY},
        seconds=seconds,
    )
    result["selection"] = luck(
        {model: account for (model, name), account in accounts.items() if name == STRATEGY}, Ledger(lake)
    )
    result["intervals"] = intervals(forecasts[FEATURED], labels) if FEATURED in forecasts else {}
    result["strategies"] = {name: found for (model, name), found in measured.items() if model == FEATURED}
    sensitivity = {}
    if (FEATURED, STRATEGY) in accounts:
        sensitivity = cost_sensitivity(forecasts[FEATURED], candles, funding, STRATEGIES[STRATEGY], model=FEATURED)
    return Assessment(result, forecasts, candles, accounts, sensitivity)
