"""The report: one self-contained HTML page on how good the forecasts were, what they would have earned, and why to believe it.

Works from the evaluate JSON and the tables it was made from; it measures nothing that `score` and `performance` do not. Reads
on a phone, in the dark, on paper, and without a network. Import lazily: plotly is heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from crypto_assets.evaluation import report_accounts as accounts
from crypto_assets.evaluation import report_parts as parts
from crypto_assets.evaluation import report_risk as risk
from crypto_assets.evaluation import report_sections as sections
from crypto_assets.evaluation.report_findings import Findings
from crypto_assets.evaluation.report_index import meta, summary
from crypto_assets.evaluation.report_page import page
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.backtest import Backtest


def write_report(
    path: Path | str,
    *,
    scores: Mapping[str, Any],
    forecasts: Mapping[str, pl.DataFrame],
    candles: pl.DataFrame,
    labels: pl.DataFrame,
    backtests: Sequence[Backtest] = (),
    sensitivity: Mapping[float, pl.DataFrame] | None = None,
    headline: str | None = None,
    weights: pl.DataFrame | None = None,
    title: str = "Crypto forecasts: what they knew and what they earned",
    notes: Sequence[str] = (),
) -> Path:
    """Write the page to `path` (atomically) and return it.

    `scores`: the evaluate JSON. `forecasts`: model -> rows of `forecasts/<model>`. `candles`: curated/candles over the test
    period. `labels`: labels/targets. `backtests`: any number of accounts; the first of the headline model is drawn as the
    headline account. `sensitivity`: `trading.backtest.cost_sensitivity` of that account. `headline`: the model in the
    spotlight, by default `fused`, else the first backtest's, else the first forecast's. `weights`: of the fused members
    (ts, target, member, weight), where they are known. `notes`: further sentences for the last section.

    The same input gives the same bytes. Raises SettingsError when there is no forecast or the headline has none.
    """
    if not forecasts:
        raise SettingsError("a report needs at least one model's forecasts: evaluate a model first")
    chosen = headline or _headline(forecasts, backtests)
    if chosen not in forecasts:
        raise SettingsError(f"headline model {chosen!r} has no forecasts; there are {', '.join(forecasts)}")
    findings = Findings(
        scores, dict(forecasts), candles, labels, tuple(backtests), dict(sensitivity or {}), chosen, weights, {}
    )
    body = "\n".join(
        part
        for part in (
            _top(findings, title),
            sections.warnings(findings),
            sections.cards(findings),
            sections.forecasts(findings),
            sections.coins(findings),
            accounts.accounts(findings),
            risk.risk(findings),
            risk.luck(findings),
            sections.calibration(findings),
            parts.parts(findings),
            sections.members(findings),
            accounts.implied(findings),
            accounts.honesty(findings, notes),
        )
        if part
    )
    target = Path(path)
    write_bytes(target, page(title, body, findings.figures, meta(summary(scores, chosen))).encode())
    return target


def _headline(forecasts: Mapping[str, pl.DataFrame], backtests: Sequence[Backtest]) -> str:
    if "fused" in forecasts:
        return "fused"
    traded = [b.model for b in backtests if b.model in forecasts]
    return traded[0] if traded else next(iter(forecasts))


def _top(findings: Findings, title: str) -> str:
    data = findings.scores.get("data", {})
    symbols = data.get("symbols", [])
    period = f"Tested {data.get('from', '?')} to {data.get('to', '?')} on {len(symbols)} coins, hour by hour"
    return (
        f'<header><div><h1>{escape(title)}</h1><p class="soft">{escape(period)}: {escape(", ".join(symbols))}</p></div>'
        f'<button id="theme" type="button" aria-label="switch between light and dark">◐</button></header>'
    )
