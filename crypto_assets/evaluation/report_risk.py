"""The sections of the report about risk, and about the luck of having chosen the best of many."""

from __future__ import annotations

from crypto_assets.evaluation import charts_risk, report_data
from crypto_assets.evaluation import report_words as words
from crypto_assets.evaluation.performance import daily_returns
from crypto_assets.evaluation.report_findings import Findings
from crypto_assets.evaluation.report_page import bracket, chart, glossary, number, paragraph, section, table

LEAST_DAYS = 10


def risk(findings: Findings) -> str:
    """How bad the bad days were."""
    account, shown = findings.account, findings.shown
    if account is None or shown["days"] < LEAST_DAYS:
        return ""
    left = chart(
        findings.put(
            "days",
            charts_risk.days(daily_returns(account.equity), shown["value_at_risk_95_day"], shown["expected_shortfall_95_day"]),
        ),
        "distribution of daily returns",
    )
    lines = {
        words.strategy_name(account.strategy): report_data.rolling_volatility(account.equity),
        words.REFERENCES["buy_and_hold"]: report_data.rolling_volatility(account.buy_and_hold),
    }
    right = ""
    if all(rows.height > 1 for rows in lines.values()):
        figure = charts_risk.volatility(lines, report_data.VOLATILITY_DAYS)
        right = f"<div><h3>How much it moved</h3>{chart(findings.put('volatility', figure), 'rolling volatility')}</div>"
    return section(
        "How bad are the bad days?",
        paragraph(
            f"On one day in twenty the account lost more than {number(shown['value_at_risk_95_day'], '.1%')} (value at risk), "
            f"on average {number(shown['expected_shortfall_95_day'], '.1%')} on those days (CVaR). "
            f"{number(shown['win_rate_days'], '.0%')} of days and {number(shown['win_rate_trades'], '.0%')} of closing trades "
            f"won. Skewness of the daily returns {number(shown['skewness_day'], '.2f')}, kurtosis "
            f"{number(shown['kurtosis_day'], '.1f')}; a normal has 0 and 3."
        ),
        f'<div class="two"><div><h3>Every day</h3>{left}</div>{right}</div>',
    )


def luck(findings: Findings) -> str:
    """What the best account owes to the number of accounts."""
    found = findings.scores.get("selection")
    if not found or not findings.scores.get("backtest"):
        return ""
    rows: list[list[str]] = []
    marked: list[int] = []
    for model, row in findings.scores["backtest"].items():
        marked += [len(rows)] if model == findings.headline else []
        rows.append(
            [
                words.model_name(model),
                f"{number(row['sharpe_net'], '.2f')}|{bracket(row.get('sharpe_net_ci95'), '.1f')}",
                number(row.get("probabilistic_sharpe"), ".1%"),
                number(found["deflated_sharpe"].get(model), ".1%"),
            ]
        )
    said = [f"{found['trials']:,} trials stand in the ledger, {found['traded']:,} of them traded."]
    if found["expected_max_sharpe"] is not None:
        said.append(
            "The best of as many without any skill, if their ratios scattered as widely as these "
            f"({number(found['sharpe_spread'], '.1f')}), would show a Sharpe ratio of "
            f"{number(found['expected_max_sharpe'], '.1f')} by luck alone; the deflated column is the chance that the true "
            "ratio is above that."
        )
    if found["pbo"] is not None:
        said.append(
            f"Choosing the best of these {found['accounts']} accounts in one half of the days, it came below the median in the "
            f"other half in {number(found['pbo'], '.0%')} of all halvings (probability of backtest overfitting; half the time "
            f"means the choice is worth nothing), and lost money in {number(found['pbo_loss'], '.0%')}."
        )
    return section(
        "Luck of choosing",
        paragraph(" ".join(said)),
        table(["model", "Sharpe net", "P(Sharpe > 0)", "deflated"], rows, marked, narrow=True),
        glossary(words.LUCK_TERMS),
    )
