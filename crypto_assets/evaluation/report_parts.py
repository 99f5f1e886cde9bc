"""The sections of the report about parts of the forecasts: by coin, regime and month; the surest of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crypto_assets.evaluation import charts_forecasts
from crypto_assets.evaluation import report_words as words
from crypto_assets.evaluation.report_findings import Findings
from crypto_assets.evaluation.report_page import chart, number, paragraph, section, table, tabs

KINDS = {"regime": "volatility before", "coin": "coin", "month": "month"}
LEAST_MONTHS = 2


def parts(findings: Findings) -> str:
    """Where the headline model is good and where it is not."""
    panes = {}
    for target, label in words.TARGETS.items():
        models = findings.scores.get("breakdown", {}).get(target, {})
        if findings.headline in models and models[findings.headline].get("coin"):
            panes[target] = (label, _pane(findings, target, models))
    if not panes:
        return ""
    return section(
        "Where is it good, and where not?",
        paragraph(
            f"{words.model_name(findings.headline)}, by volatility before the forecast (thirds of all earlier days), by coin "
            "and by month. The gain is the log-loss of the base rate less its own, in 10⁻⁴ nats; below zero it was worse "
            "than a constant. Small groups differ by luck: look for what holds in most of them."
        ),
        tabs("parts", panes),
    )


def _pane(findings: Findings, target: str, models: Mapping[str, Any]) -> str:
    lines = {
        words.model_name(m): {name: row["accuracy"] for name, row in models[m]["month"].items()}
        for m in dict.fromkeys((findings.headline, "lightgbm"))
        if m in models
    }
    figure = ""
    if len(next(iter(lines.values()))) >= LEAST_MONTHS:
        name = findings.put(f"by_month:{target}", charts_forecasts.by_month(lines))
        figure = "<h3>Month by month</h3>" + chart(name, f"accuracy by month, {words.TARGETS[target]}")
    mine, base = models[findings.headline], models.get("base_rate", {})
    tables = "".join(f"<div>{_kind(kind, mine[kind], base.get(kind, {}))}</div>" for kind in KINDS if mine.get(kind))
    return figure + f'<div class="three">{tables}</div>'


def _kind(kind: str, rows: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    cells = []
    for name, row in rows.items():
        gain = base[name]["log_loss"] - row["log_loss"] if name in base else None
        cells.append(
            [name, f"{row['n']:,}", number(row["accuracy"], ".1%"), number(None if gain is None else 1e4 * gain, "+.1f")]
        )
    return table([KINDS[kind], "forecasts", "right", "gain"], cells, narrow=True)
