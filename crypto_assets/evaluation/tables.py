"""The evaluate JSON as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from crypto_assets.evaluation.measures import BAR, ORACLE

_TITLES = {
    "1h": "1 h direction",
    "4h": "4 h direction",
    "24h": "24 h direction",
    "24h_relative": "24 h, against the cross-sectional median",
}


def show(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Print every table of an evaluate JSON, what was scored above and what was counted below."""
    out = console or Console()
    data = result["data"]
    out.print(f"{data['world']} · {len(data['symbols'])} coins · {data['from']} → {data['to']} · {data['rows']:,} coin-hours")
    for target, models in result["direction"].items():
        if any(model != ORACLE for model in models):
            out.print(direction_table(result, target))
    if result["volatility"]:
        out.print(volatility_table(result))
    if result["backtest"]:
        out.print(backtest_table(result))
    out.print(footnote(result))


def direction_table(result: Mapping[str, Any], target: str) -> Table:
    """One row a model: accuracy with its interval, AUC, skill, calibration, selectivity, ranking, against LightGBM.

    Differences of log-loss are in 10⁻⁴ nats. The column κ appears where there is an oracle; the last one shows accuracy
    without the crash days.
    """
    models, calm = result["direction"][target], result["crash_days"]["direction"][target]
    excluded = result["excluded_zero_returns"][target]
    what = "ties" if target == "24h_relative" else "zero returns"
    table = _table(f"{_TITLES[target]} (n = {result['rows'][target]['scored']:,}; {excluded:,} {what} left out)")
    kappa = any(row.get("kappa") is not None for row in models.values())
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "accuracy": lambda r: _percent(r["accuracy"]),
        "95 %": lambda r: _interval(r["accuracy_ci95"]),
        "AUC": lambda r: _fixed(r["auc"], 3),
        "log-loss": lambda r: _fixed(r["log_loss"], 5),
        "skill": lambda r: _percent(r["log_loss_skill"], 3),
        **({"κ": lambda r: _percent(r["kappa"], 1)} if kappa else {}),
        "ECE": lambda r: _fixed(r["ece"], 4),
        "top 10 %": lambda r: _percent(r["accuracy_top10"]),
        "rank IC": lambda r: _fixed(r["rank_ic"], 3),
        **({"Δ LightGBM ×10⁴ (p)": lambda r: _against(r["vs_lightgbm"])} if BAR in models else {}),
    }
    for name in (*columns, "without crashes"):
        table.add_column(name, justify="right")
    for model, row in models.items():
        if row["accuracy"] is not None:
            quiet = _percent(calm.get(model, {}).get("accuracy"))
            table.add_row(model, *(show_(row) for show_ in columns.values()), quiet, style=_style(model))
    return table


def volatility_table(result: Mapping[str, Any]) -> Table:
    """One row a model: QLIKE, R² of the log, Diebold-Mariano against log-HAR."""
    calm = result["crash_days"]["volatility"]
    table = _table(f"Variance of the next 24 h (n = {result['rows']['volatility']['scored']:,})")
    for name in ("QLIKE", "R² log RV", "Δ HAR", "DM p", "without crashes"):
        table.add_column(name, justify="right")
    for model, row in result["volatility"].items():
        table.add_row(
            model,
            _fixed(row["qlike"], 4),
            _fixed(row["r2_log"], 3),
            _fixed(row["qlike_diff_vs_har"], 4, sign=True),
            _fixed(row["dm_vs_har_p"], 3),
            _fixed(calm.get(model, {}).get("qlike"), 4),
            style=_style(model),
        )
    return table


def backtest_table(result: Mapping[str, Any]) -> Table:
    """One row a model, net of costs; P(Sharpe > 0) is for the account alone, deflated for the best of all trials."""
    table = _table("Backtest, net of costs")
    deflated = (result.get("selection") or {}).get("deflated_sharpe", {})
    for name in (
        "Sharpe gross",
        "Sharpe net",
        "P(Sharpe > 0)",
        "deflated",
        "return net",
        "max drawdown",
        "turnover/day",
        "trades",
    ):
        table.add_column(name, justify="right")
    for model, row in result["backtest"].items():
        table.add_row(
            model,
            _fixed(row.get("sharpe_gross"), 2),
            _fixed(row.get("sharpe_net"), 2),
            _percent(row.get("probabilistic_sharpe"), 1),
            _percent(deflated.get(model), 1),
            _percent(row.get("total_return_net"), 1),
            _percent(row.get("max_drawdown"), 1),
            _fixed(row.get("turnover_per_day"), 2),
            "–" if row.get("trades") is None else f"{row['trades']:,}",
        )
    return table


def footnote(result: Mapping[str, Any]) -> str:
    """What the numbers rest on: trials, crash days, the luck of choosing, reads of the hold-out."""
    crash = result["crash_days"]
    parts = [f"{result['trials']} trials in the ledger", f"{result['seconds']:.0f} s"]
    if crash["days"]:
        parts.append(
            f"crash days: {len(crash['days'])} with |24 h return| ≥ {crash['threshold']:.3f} ({', '.join(crash['days'])})"
        )
    chosen = result.get("selection") or {}
    if chosen.get("pbo") is not None:
        parts.append(f"probability of backtest overfitting {chosen['pbo']:.0%} ({chosen['accounts']} accounts)")
    locked = result["holdout_declared"]
    if locked:
        here = "this run among them" if result["holdout"] else "not by this run"
        parts.append(f"locked hold-out {locked['from']} → {locked['to']}: read {locked['reads']}×, {here}")
    return "; ".join(parts)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model", no_wrap=True)
    return table


def _style(model: str) -> str:
    return {"fused": "bold", ORACLE: "cyan"}.get(model, "")


def _fixed(value: float | None, digits: int, *, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _interval(value: list[float] | None) -> str:
    return "–" if value is None else f"{100 * value[0]:.1f}–{100 * value[1]:.1f}"


def _against(value: Mapping[str, Any]) -> str:
    if value["log_loss_diff"] is None or value["p"] is None:
        return "–"
    return f"{1e4 * value['log_loss_diff']:+.2f} ({value['p']:.2f})"
