"""The sections of the report about forecasts, in reading order: findings in, HTML out, or nothing where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.evaluation import charts, charts_forecasts, report_data
from crypto_assets.evaluation import report_words as words
from crypto_assets.evaluation.report_findings import Findings
from crypto_assets.evaluation.report_page import bracket, card, chance, chart, glossary, number, paragraph, section, table, tabs

SUSPICIOUS_ACCURACY = 0.60
"""One-hour accuracy on real data above which a leak is the first explanation (design, section 6)."""
SUSPICIOUS_SHARPE = 2.0
IN_THE_SET = 0.05
"""p-value from which a model is in the 95 % confidence set."""
COPY = 0.98
"""Correlation of log-odds from which a member is called a copy of another."""
MAX_COINS = 30
"""Coins whose series are drawn; more would make the file heavy."""


def warnings(findings: Findings) -> str:
    """What a reader must know before any number."""
    found = []
    if not findings.is_real:
        found.append(
            "This is a simulated market with planted, known predictability. It shows that the machinery finds what is there "
            "and nothing else; it says nothing about what real markets pay."
        )
    best = max((s["accuracy"] for s in findings.of("1h").values()), default=0.0)
    if findings.is_real and best > SUSPICIOUS_ACCURACY:
        found.append(
            f"An accuracy of {best:.1%} one hour ahead on real data is a leak until proven otherwise: run the audit before "
            "believing anything below."
        )
    highest = max((p["sharpe_net"] or 0.0 for p in findings.performances), default=0.0)
    if findings.is_real and highest > SUSPICIOUS_SHARPE:
        found.append(f"A net Sharpe ratio of {highest:.1f} is rare: look for a leak or an unpaid cost first.")
    return "".join(f'<div class="banner">{text}</div>' for text in found)


def cards(findings: Findings) -> str:
    """The figures at a glance."""
    found = []
    for target in ("1h", "24h_relative"):
        row = findings.of(target).get(findings.headline)
        if row:
            low = (row.get("accuracy_ci95") or [0.0])[0]
            found.append(
                card(
                    f"Right side, {words.TARGETS[target]}",
                    number(row["accuracy"], ".1%"),
                    f"95 %: {bracket(row.get('accuracy_ci95'), '.1%')}; a coin toss is 50 %",
                    "good" if low > 0.5 else "",
                )
            )
    kappa = findings.of("1h").get(findings.headline, {}).get("kappa")
    if kappa is not None:
        found.append(
            card("κ, share of the possible", number(kappa, ".0%"), "of the best skill anyone could have, 1 hour ahead")
        )
    found += _account_cards(findings)
    if findings.scores.get("trials") is not None:
        found.append(card("Trials counted", number(findings.scores["trials"], ",d"), "every fit ever evaluated in this lake"))
    return f'<div class="cards">{"".join(found)}</div>'


def _account_cards(findings: Findings) -> list[str]:
    shown, account = findings.shown, findings.account
    if account is None:
        return []
    hold = shown["versus"]["buy_and_hold"]["total_return_net"]
    interval = shown["sharpe_net_ci95"]
    luck = "; contains 0: may be luck" if interval and interval[0] <= 0 <= interval[1] else ""
    total = shown["total_return_net"]
    return [
        card(
            "Sharpe ratio after costs",
            number(shown["sharpe_net"], ".2f"),
            f"95 %: {bracket(interval, '.1f')}{luck}" if interval else "too short or too quiet for an interval",
            "good" if interval and interval[0] > 0 else "bad" if interval and interval[1] < 0 else "",
        ),
        card(
            "Return after costs",
            number(total, "+.1%"),
            f"{shown['days']} days, {words.strategy_name(account.strategy).lower()}; buy and hold {number(hold, '+.1%')}",
            "good" if total > 0 else "bad" if total < 0 else "",
        ),
        card("Largest loss from a high", number(-shown["max_drawdown"], ".1%"), f"{shown['trades']:,} trades"),
    ]


def forecasts(findings: Findings) -> str:
    """Every model at every horizon."""
    panes = {}
    for target, label in words.TARGETS.items():
        rows = findings.of(target)
        if rows:
            panes[target] = (label, _direction_pane(findings, target, rows))
    if findings.scores.get("volatility"):
        panes["volatility"] = ("size of moves, 24 hours", _volatility_pane(findings.scores["volatility"]))
    if not panes:
        return ""
    return section(
        "How good are the forecasts?",
        paragraph(
            "Every model and every simple rule, on exactly the same hours and coins, all of them after the data they learned "
            "from. A dot right of the dashed line with its whole bar is better than a coin toss beyond doubt."
        ),
        tabs("targets", panes),
        glossary(words.FORECAST_TERMS),
    )


def _direction_pane(findings: Findings, target: str, rows: dict[str, Any]) -> str:
    dots = [
        (words.short_name(m), s["accuracy"], *(s.get("accuracy_ci95") or (s["accuracy"], s["accuracy"])))
        for m, s in rows.items()
    ]
    name = findings.put(f"accuracy:{target}", charts.intervals(dots, 0.5, "share of forecasts that were right", "coin toss"))
    has_kappa = any(s.get("kappa") is not None for s in rows.values())
    header = ["model", "accuracy", "most confident", "skill", "AUC", "calibration error", "rank IC", "against LightGBM",
              "among the best"]  # fmt: skip
    cells = []
    for model, s in rows.items():
        versus = s.get("vs_lightgbm") or {}
        cells.append(
            [
                words.model_name(model),
                f"{number(s['accuracy'], '.2%')}|{bracket(s.get('accuracy_ci95'), '.1%')}",
                number(s.get("accuracy_top10"), ".1%"),
                f"{number(s.get('log_loss_skill'), '+.2%')}|{bracket(s.get('log_loss_skill_ci95'), '+.2%')}",
                number(s.get("auc"), ".3f"),
                number(s.get("ece"), ".2%"),
                number(s.get("rank_ic"), "+.3f"),
                f"{number(versus.get('log_loss_diff'), '+.5f')}|{chance(versus['p'])}"
                if versus.get("p") is not None and model != "lightgbm"
                else "–",
                _among(s.get("mcs_p")),
                *([number(s.get("kappa"), ".0%")] if has_kappa else []),
            ]
        )
    marked = [i for i, m in enumerate(rows) if m == findings.headline]
    count = max(s.get("n") or 0 for s in rows.values())
    kappas = [(words.short_name(m), s["kappa"]) for m, s in rows.items() if s.get("kappa") is not None and m != "oracle"]
    captured = ""
    if kappas:
        figure = findings.put(f"kappa:{target}", charts_forecasts.captured(kappas))
        captured = "<h3>Share of the possible that each captured</h3>" + chart(figure, "κ of each model")
    return (
        chart(name, f"accuracy of each model, {words.TARGETS[target]}")
        + captured
        + table(header + ["κ"] * has_kappa, cells, marked)
        + paragraph(f"{count:,} forecasts a model.")
    )


def _among(p: float | None) -> str:
    return "–" if p is None else f"{'yes' if p >= IN_THE_SET else 'no'}|{chance(p)}"


def _volatility_pane(rows: Mapping[str, Any]) -> str:
    cells = [
        [
            words.model_name(m),
            number(s.get("qlike"), ".4f"),
            number(s.get("r2_log"), ".2f"),
            number(s.get("dm_vs_har_p"), ".3f"),
            _among(s.get("mcs_p")),
        ]
        for m, s in rows.items()
        if s.get("qlike") is not None
    ]
    best = [i for i, c in enumerate(cells) if c[1] == min(c[1] for c in cells)]
    return paragraph("Variance of the next 24 hours; HAR is the baseline to beat.") + table(
        ["model", "QLIKE, lower is better", "R² of log", "p against HAR", "among the best"], cells, best, narrow=True
    )


def coins(findings: Findings) -> str:
    """Price, forecast and position of one coin at a time."""
    account = findings.account
    is_relative = account is not None and account.strategy.startswith("relative")
    column = "p_beats_median" if is_relative else "p_up"
    horizon = account.strategy.split("_")[1] if account is not None and not is_relative else "24h" if is_relative else "1h"
    table_of = findings.forecasts[findings.headline].filter(
        pl.col("horizon") == horizon, pl.col(column).is_not_null(), pl.col(column).is_not_nan()
    )
    if table_of.is_empty():
        return ""
    start, end = table_of["ts"].min(), table_of["ts"].max()
    views = report_data.coin_views(findings.candles, table_of, column, horizon, account, start, end)  # type: ignore[arg-type]
    views = dict(list(views.items())[:MAX_COINS])
    says = "beats the median coin in 24 h" if is_relative else f"price higher in {words.TARGETS[horizon].split(' ahead')[0]}"
    for symbol, pair in views.items():
        for which, view in pair.items():
            findings.put(f"coin:{symbol}:{which}", charts.coin(view, f"chance: {says}"))
    first = _first_coin(views)
    options = "".join(f"<option{' selected' * (s == first)}>{escape(s)}</option>" for s in views)
    return section(
        "Price, forecast and position",
        paragraph(
            f"Top: the price. Middle: how far the forecast probability ({says}) lies above or below 50 %. Bottom: what the "
            f"account held in this coin, as a share of its value; below zero is a short position."
        ),
        f'<div class="tabs"><select id="coin" aria-label="coin">{options}</select>'
        '<select id="view" aria-label="period"><option value="recent">last 30 days, hourly</option>'
        '<option value="whole">whole test period</option></select></div>',
        chart(f"coin:{first}:recent", "price, forecast and position of the chosen coin", "coin-chart"),
    )


def _first_coin(views: dict[str, dict[str, report_data.CoinView]]) -> str:
    """BTC where it was traded lately, else the coin that was traded most."""

    def held(symbol: str) -> float:
        return float(np.nansum(np.abs(views[symbol]["recent"].weight)))

    return "BTC" if "BTC" in views and held("BTC") > 0 else max(views, key=held)


def calibration(findings: Findings) -> str:
    """Whether 60 % means 60 %."""
    panes = {}
    for target, label in words.TARGETS.items():
        bins = {}
        for model in dict.fromkeys((findings.headline, "lightgbm")):
            rows = (
                report_data.scored(findings.forecasts[model], findings.labels, target) if model in findings.forecasts else None
            )
            if rows is not None and len(rows.p) >= report_data.LEAST_IN_BIN and len(np.unique(rows.p)) > 1:
                bins[words.model_name(model)] = report_data.reliability(rows, target)
        rows = report_data.scored(findings.forecasts[findings.headline], findings.labels, target)
        if not bins or not len(rows.p):
            continue
        left = chart(findings.put(f"reliability:{target}", charts.reliability(bins)), f"reliability, {label}")
        sure = charts.confidence(report_data.confidence(rows, target))
        right = chart(findings.put(f"confidence:{target}", sure), f"confidence, {label}")
        panes[target] = (
            label,
            f'<div class="two"><div><h3>What was said, and what happened</h3>{left}</div>'
            f"<div><h3>How sure it was, and how often it was right</h3>{right}</div></div>{_coverage(findings, target)}",
        )
    if not panes:
        return ""
    return section(
        "Can the probabilities be believed?",
        paragraph(
            "If a model says 53 %, it should happen 53 times in 100. Left: groups of forecasts of equal size; on the dashed "
            "line every probability is exactly right. Right: accuracy by confidence, and how often each confidence is reached. "
            "Bars are 95 % intervals."
        ),
        tabs("calibration", panes),
    )


def _coverage(findings: Findings, target: str) -> str:
    curves = {}
    for model in dict.fromkeys((findings.headline, "lightgbm")):
        if model in findings.forecasts:
            rows = report_data.coverage(report_data.scored(findings.forecasts[model], findings.labels, target), target)
            if rows.height > 1:
                curves[words.model_name(model)] = rows
    if not curves:
        return ""
    figure = findings.put(f"coverage:{target}", charts_forecasts.coverage(curves))
    return "<h3>If only the surest were acted on</h3>" + chart(figure, f"accuracy by coverage, {words.TARGETS[target]}")


def members(findings: Findings) -> str:
    """What each member brings to the fused forecast."""
    panes = {}
    for target, label in words.TARGETS.items():
        rows = {m: s for m, s in findings.of(target).items() if s.get("log_loss_skill") is not None and m != "base_rate"}
        names, matrix = report_data.logit_correlation(findings.forecasts, target)
        if len(rows) < 2:
            continue
        dots = [
            (words.short_name(m), s["log_loss_skill"], *(s.get("log_loss_skill_ci95") or (s["log_loss_skill"],) * 2))
            for m, s in rows.items()
        ]
        figure = charts.intervals(dots, 0.0, "skill against the base rate", "nothing learned", "+.2%")
        left = chart(findings.put(f"skill:{target}", figure), f"skill of each member, {label}")
        right = ""
        if names:
            right = chart(
                findings.put(f"similarity:{target}", charts.similarity([words.short_name(n) for n in names], matrix)),
                f"similarity of the members, {label}",
            )
            right = f"<div><h3>How alike they are (correlation)</h3>{right}</div>"
        pane = f'<div class="two"><div><h3>What each has learned</h3>{left}</div>{right}</div>'
        panes[target] = (label, pane + "".join(paragraph(text) for text in _remarks(rows, names, matrix)))
    if not panes:
        return ""
    return section(
        "The members",
        paragraph(
            "The fused forecast is made of these. A member helps when it has skill of its own and is not a copy of the others."
        ),
        tabs("members", panes),
        _weights(findings),
    )


def _remarks(rows: Mapping[str, Mapping[str, Any]], names: Sequence[str], matrix: Any) -> list[str]:
    """Which members have shown no skill, and which are as good as copies of each other."""
    members = [m for m in rows if m not in ("fused", "pool", "oracle")]
    idle = [words.short_name(m) for m in members if (rows[m].get("log_loss_skill_ci95") or (0,))[0] <= 0]
    pairs = [
        f"{words.short_name(a)} and {words.short_name(b)}"
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j and a in members and b in members and matrix[i][j] >= COPY
    ]
    found = []
    if idle:
        found.append(f"No skill shown, the interval reaches 0: {', '.join(idle)}.")
    if pairs:
        found.append(f"As good as copies, correlation {COPY} or more: {', '.join(pairs)}. Two such votes are one.")
    return found


def _weights(findings: Findings) -> str:
    rows = findings.weights
    if rows is None or rows.is_empty():
        return ""
    panes = {}
    for target, label in {**words.TARGETS, "volatility": "size of moves, 24 hours"}.items():
        part = rows.filter(pl.col("target") == target)
        if part.height:
            names = {m: words.short_name(m) for m in part["member"].unique().to_list()}
            figure = findings.put(f"weights:{target}", charts_forecasts.weights(report_data.thin_weights(part), names))
            panes[target] = (label, chart(figure, f"weights of the members over time, {label}"))
    return "<h3>Weights in the fused forecast over time</h3>" + tabs("weights", panes) if panes else ""
