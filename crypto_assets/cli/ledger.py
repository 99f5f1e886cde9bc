"""`ledger`: what was tried in a lake, what came of it, and the locked hold-out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from crypto_assets.evaluation.ledger import Ledger, days_of
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import DAY, Window
from crypto_assets.settings import load

screen = Console()


def listing(lake: Path | None) -> dict[str, Any]:
    """Print every trial as a row of a table; returns `{"trials": [...], "holdout": ...}`."""
    ledger = _ledger(lake)
    rows = sorted((_summary(row) for row in ledger.trials()), key=lambda r: (r["from"], r["to"], r["model"], r["hash"]))
    screen.print(_table(rows) if rows else "no trial was evaluated in this lake yet")
    locked = _holdout(ledger)
    screen.print(f"{len(rows)} trials; {_says(locked)}", highlight=False)
    return {"trials": rows, "holdout": locked}


def show(name: str, lake: Path | None) -> dict[str, Any]:
    """Print one trial, named by the beginning of its hash; returns it. Raises SettingsError unless exactly one fits."""
    ledger = _ledger(lake)
    rows = [row for row in ledger.trials() if row["hash"].startswith(name)]
    if len(rows) != 1:
        raise SettingsError(
            f"{len(rows)} trials in {ledger.folder} begin with {name!r}, expected one: `crypto-assets ledger list` shows all"
        )
    row = rows[0]
    table = Table(show_header=False, box=None)
    for key, value in {**_summary(row), "symbols": " ".join(row["symbols"]), **_said(row["config"])}.items():
        table.add_row(key, "–" if value is None else f"{value:.5f}" if isinstance(value, float) else str(value))
    screen.print(table)
    return row


def holdout(lake: Path | None, first: date | None, last: date | None) -> dict[str, Any] | None:
    """Show the hold-out, or declare it where both days are given; returns it with its reads, None where there is none."""
    ledger = _ledger(lake)
    if (first is None) != (last is None):
        raise SettingsError("--from and --to go together: give both days to declare a hold-out, none to see it")
    if first is not None and last is not None:
        if last < first:
            raise SettingsError(f"--from {first} is after --to {last}: swap the two dates")
        ledger.declare(Window.of_days(first, last))
    found = _holdout(ledger)
    screen.print(_says(found), highlight=False)
    return found


def _ledger(lake: Path | None) -> Ledger:
    root = load(lake=lake).lake
    if not Path(root).is_dir():
        raise LakeError(f"no lake at {root}: name one with --lake, or make it with `crypto-assets demo` or `import`")
    return Ledger(root)


def _holdout(ledger: Ledger) -> dict[str, Any] | None:
    found = ledger.holdout
    return None if found is None else {**days_of(found), "reads": ledger.reads}


def _says(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "no hold-out declared (real history locks the default at its first evaluation)"
    return f"locked hold-out {found['from']} -> {found['to']}, read {found['reads']} times"


def _summary(row: Mapping[str, Any]) -> dict[str, Any]:
    """One trial as a flat row."""
    results, folds = row["results"], row["folds"]
    direction = results.get("direction") or {}
    return {
        "hash": row["hash"],
        "model": row["model"],
        "from": folds[0]["test"][0][:10] if folds else "",
        "to": (date.fromisoformat(folds[-1]["test"][1][:10]) - DAY).isoformat() if folds else "",
        "folds": len(folds),
        "coins": len(row["symbols"]),
        "features": len(row["features"]),
        "accuracy_1h": (direction.get("1h") or {}).get("accuracy"),
        "log_loss_1h": (direction.get("1h") or {}).get("log_loss"),
        "accuracy_24h_relative": (direction.get("24h_relative") or {}).get("accuracy"),
        "qlike": (results.get("volatility") or {}).get("qlike"),
        "sharpe_net": (results.get("backtest") or {}).get("sharpe_net"),
    }


def _said(config: Mapping[str, Any]) -> dict[str, str]:
    return {f"config.{key}": str(value) for key, value in config.items()}


def _table(rows: list[dict[str, Any]]) -> Table:
    """The hash is shown by its first eight digits, enough for `show`."""
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("trial", no_wrap=True)
    table.add_column("model", no_wrap=True)
    table.add_column("tested", min_width=10)
    forms = {"accuracy_1h": ".2%", "log_loss_1h": ".5f", "accuracy_24h_relative": ".2%", "qlike": ".4f", "sharpe_net": ".2f"}
    for name in ("1 h", "loss", "24 h rel", "QLIKE", "Sharpe"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        numbers = ("–" if row[key] is None else format(row[key], form) for key, form in forms.items())
        table.add_row(row["hash"][:8], row["model"], f"{row['from']} {row['to']}", *numbers)
    return table
