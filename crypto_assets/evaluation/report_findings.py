"""What a report is about: the evaluation, its tables and accounts, and what several sections need of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import plotly.graph_objects as go
import polars as pl

from crypto_assets.evaluation.performance import performance
from crypto_assets.trading.backtest import Backtest


@dataclass(frozen=True)
class Findings:
    """What the report is about, and the figures its sections leave behind (name -> figure).

    `weights`: ts, target, member, weight of the fused forecast, where they are known.
    """

    scores: Mapping[str, Any]
    forecasts: dict[str, pl.DataFrame]
    candles: pl.DataFrame
    labels: pl.DataFrame
    backtests: tuple[Backtest, ...]
    sensitivity: dict[float, pl.DataFrame]
    headline: str
    weights: pl.DataFrame | None
    figures: dict[str, go.Figure] = field(repr=False)

    @cached_property
    def account(self) -> Backtest | None:
        """The headline account."""
        return next((b for b in self.backtests if b.model == self.headline), self.backtests[0] if self.backtests else None)

    @cached_property
    def performances(self) -> list[dict[str, Any]]:
        """One a backtest, in their order."""
        return [performance(b) for b in self.backtests]

    @property
    def shown(self) -> dict[str, Any]:
        """The headline account's performance."""
        return next((p for b, p in zip(self.backtests, self.performances, strict=True) if b is self.account), {})

    @property
    def is_real(self) -> bool:
        """Whether the prices are the real market's."""
        return self.scores.get("data", {}).get("world") != "sandbox"

    def of(self, target: str) -> dict[str, Any]:
        """Per model, the metrics of one direction target; only models that were scored."""
        return {m: s for m, s in self.scores.get("direction", {}).get(target, {}).items() if s.get("accuracy") is not None}

    def put(self, name: str, figure: go.Figure) -> str:
        """Keep a figure for the page; gives its name."""
        self.figures[name] = figure
        return name
