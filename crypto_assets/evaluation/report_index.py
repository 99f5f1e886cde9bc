"""The index of reports: one page that lists every report of a folder, newest first, with its headline numbers.

Each report carries its headline numbers in its head, so the index needs nothing but the reports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape, unescape
from pathlib import Path
from typing import Any

from crypto_assets.evaluation.report_page import bracket, number, page, paragraph, section, table
from crypto_assets.lake.store import write_bytes

INDEX, LATEST = "index.html", "latest.html"
META = "crypto-assets-report"
_HEAD_CHARACTERS = 16_384


def summary(scores: Mapping[str, Any], headline: str) -> dict[str, Any]:
    """The headline numbers of one evaluate JSON, plain JSON; null where there is none."""
    data = scores.get("data", {})
    direction = {t: scores.get("direction", {}).get(t, {}).get(headline, {}) for t in ("1h", "24h_relative")}
    account = scores.get("backtest", {}).get(headline, {})
    return {
        "world": data.get("world"),
        "from": data.get("from"),
        "to": data.get("to"),
        "coins": len(data.get("symbols", [])),
        "model": headline,
        "accuracy_1h": direction["1h"].get("accuracy"),
        "accuracy_24h_relative": direction["24h_relative"].get("accuracy"),
        "kappa": direction["1h"].get("kappa"),
        "sharpe_net": account.get("sharpe_net"),
        "sharpe_net_ci95": account.get("sharpe_net_ci95"),
        "total_return_net": account.get("total_return_net"),
        "deflated_sharpe": (scores.get("selection") or {}).get("deflated_sharpe", {}).get(headline),
        "trials": scores.get("trials"),
        "holdout_reads": (scores.get("holdout") or {}).get("reads"),
    }


def meta(found: Mapping[str, Any]) -> str:
    """The element that carries a summary in the head of a report."""
    return f'<meta name="{META}" content="{escape(json.dumps(found), quote=True)}">'


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary in the head of a report; None for any other page."""
    with path.open(encoding="utf-8", errors="replace") as handle:
        head = handle.read(_HEAD_CHARACTERS)
    _, _, rest = head.partition(f'<meta name="{META}" content="')
    try:
        found = json.loads(unescape(rest.partition('"')[0]))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def write_index(folder: Path | str) -> Path:
    """Write `index.html` of the reports in `folder` (atomically), by name, last first; other pages are left out."""
    folder = Path(folder)
    found = {p.name: read_summary(p) for p in folder.glob("*.html") if p.name not in (INDEX, LATEST)}
    reports = {name: row for name, row in sorted(found.items(), reverse=True) if row is not None}
    header = ["report", "right, 1 h", "right, 24 h relative", "κ", "Sharpe net", "deflated", "return net", "trials", "hold-out",
              "tested", "world", "model"]  # fmt: skip
    cells = [_cells(row) for row in reports.values()]
    links = [f'<a href="{escape(name, quote=True)}">{escape(name.removesuffix(".html"))}</a>' for name in reports]
    body = (
        '<header><div><h1>Reports</h1></div><button id="theme" type="button" aria-label="switch between light and dark">◐'
        "</button></header>"
        + section(
            f"{len(reports)} run{'s' * (len(reports) != 1)}",
            paragraph("Newest first. Results over other days or coins do not compare."),
            table(header, cells, links=links),
        )
    )
    target = folder / INDEX
    write_bytes(target, page("Reports", body, {}).encode())
    return target


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        number(row["accuracy_1h"], ".2%"),
        number(row["accuracy_24h_relative"], ".2%"),
        number(row["kappa"], ".0%"),
        f"{number(row['sharpe_net'], '.2f')}|{bracket(row['sharpe_net_ci95'], '.1f')}",
        number(row["deflated_sharpe"], ".1%"),
        number(row["total_return_net"], "+.1%"),
        number(row["trials"], ",d"),
        "–" if row["holdout_reads"] is None else f"read {row['holdout_reads']}",
        f"{row['from']} → {row['to']}|{row['coins']} coins",
        str(row["world"]),
        str(row["model"]),
    ]
