"""The sections of the report about money and honesty: accounts, what an accuracy is worth, where the numbers come from."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import polars as pl

from crypto_assets.evaluation import charts, report_data
from crypto_assets.evaluation import report_words as words
from crypto_assets.evaluation.performance import HOURS_A_YEAR, period_returns
from crypto_assets.evaluation.report_findings import Findings
from crypto_assets.evaluation.report_page import bracket, bullets, chart, glossary, number, paragraph, section, table
from crypto_assets.trading.backtest import EXPOSURE_CAP
from crypto_assets.trading.costs import PERPETUAL

YEAR_OF_DAYS = 365


def accounts(findings: Findings) -> str:
    """What trading on the forecasts would have earned."""
    account = findings.account
    if account is None:
        return ""
    same = [b for b in findings.backtests if b.model == account.model]
    curves = {f"{words.strategy_name(b.strategy)}, net": report_data.curve(b.equity) for b in same}
    references = {
        words.REFERENCES["buy_and_hold"]: report_data.curve(account.buy_and_hold),
        words.REFERENCES["equal_weight"]: report_data.curve(account.equal_weight),
    }
    main = {next(iter(curves)): curves[f"{words.strategy_name(account.strategy)}, net"]}
    hold = {k: v for k, v in references.items() if k == words.REFERENCES["buy_and_hold"]}
    months = period_returns(account.equity, "1mo")
    kind = account.strategy.split("_")[0]
    capital = account.equity["equity_usd"][0]
    return section(
        "What would it have earned?",
        paragraph(
            f"An account of ${capital:,.0f}. {words.STRATEGY_NOTES.get(kind, '')} Decided at the end of an hour, filled at the "
            f"next hour's opening price, with {account.costs.taker_fee_bps:g} bp fee and {account.costs.slippage_bps:g} bp "
            f"slippage each way and funding; no leverage (at most {EXPOSURE_CAP:.0%} of the account in positions)."
        ),
        f"<h3>Account value, all strategies of {escape(words.model_name(account.model))}, and the references</h3>",
        chart(findings.put("equity", charts.equity(curves, references)), "account value over time"),
        "<h3>Drawdown: how far below its highest value</h3>",
        chart(findings.put("drawdown", charts.drawdowns(main, hold)), "drawdown over time"),
        f"<h3>Month by month: {escape(words.strategy_name(account.strategy))}</h3>",
        chart(findings.put("months", charts.months(months)), "monthly returns"),
        _account_table(findings),
        _cost_part(findings),
        glossary(words.ACCOUNT_TERMS),
    )


def _account_table(findings: Findings) -> str:
    header = ["model and strategy", "Sharpe net", "Sharpe gross", "return net", "max drawdown", "turnover a day", "trades",
              "Sortino", "Calmar", "worst days", "days won", "fees, slippage, funding"
              ]  # fmt: skip
    rows = []
    for b, p in zip(findings.backtests, findings.performances, strict=True):
        paid = p["fees_usd"] + p["slippage_usd"] + p["funding_usd"]
        rows.append(
            [
                f"{words.model_name(b.model)}|{words.strategy_name(b.strategy)}",
                f"{number(p['sharpe_net'], '.2f')}|{bracket(p['sharpe_net_ci95'], '.1f')}",
                number(p["sharpe_gross"], ".2f"),
                f"{number(p['total_return_net'], '+.1%')}|${number(p['final_value_usd'], ',.0f')}",
                number(-p["max_drawdown"], ".1%"),
                number(p["turnover_per_day"], ".2f") + "×",
                number(p["trades"], ",d"),
                number(p["sortino_net"], ".2f"),
                number(p["calmar_net"], ".2f"),
                f"{_loss(p['expected_shortfall_95_day'])}|VaR {_loss(p['value_at_risk_95_day'])}",
                number(p["win_rate_days"], ".0%"),
                f"${number(paid, ',.0f')}",
            ]
        )
    marked = [i for i, b in enumerate(findings.backtests) if b is findings.account]
    for name, v in findings.shown["versus"].items():
        rows.append(
            [
                f"{words.REFERENCES[name]}|reference",
                number(v["sharpe_net"], ".2f"),
                "–",
                number(v["total_return_net"], "+.1%"),
                number(-v["max_drawdown"], ".1%"),
                *["–"] * 7,
            ]
        )
    ratio = number(findings.shown["versus"]["buy_and_hold"]["information_ratio"], ".2f")
    return (
        "<h3>Every account</h3>"
        + table(header, rows, marked)
        + paragraph(
            f"Information ratio of the marked account against buy and hold: {ratio}. References are held without funding."
        )
    )


def _loss(fraction: float | None) -> str:
    return number(None if fraction is None else -fraction, ".1%")


def _cost_part(findings: Findings) -> str:
    if not findings.sensitivity or findings.account is None:
        return ""
    rows = report_data.cost_rows(findings.sensitivity)
    base = findings.account.costs.taker_fee_bps + findings.account.costs.slippage_bps
    return (
        "<h3>If trading cost more, or less</h3>"
        + paragraph(
            "The same decisions with fee and slippage of each side multiplied. A result that only lives at 0× is no result."
        )
        + chart(findings.put("costs", charts.cost_bars(rows, base)), "Sharpe ratio and return at multiples of the costs")
    )


def implied(findings: Findings) -> str:
    """What an accuracy is worth, before anyone promises 80 %."""
    costs = findings.account.costs if findings.account is not None else PERPETUAL
    shown = findings.of("1h").get(findings.headline)
    accuracies = [(a, "") for a in words.IMPLIED_ACCURACIES]
    if shown and shown["accuracy"] > 0.5:
        accuracies = sorted([*accuracies, (shown["accuracy"], "measured here, 1 h")])
    rows = []
    for accuracy, note in accuracies:
        ic, surest, ratio = words.implied_by(accuracy)
        rows.append([f"{accuracy:.1%}|{note}", f"{ic:.3f}", f"{surest:.1%}", f"{ratio:.1f}"])
    marked = [i for i, (_, note) in enumerate(accuracies) if note]
    volatility = _yearly_volatility(findings.candles)
    needed = [
        [
            f"every {h} h" if h > 1 else "every hour",
            *(_accuracy(words.break_even(c * 1e-4, h, volatility)) for c in (4, 10, 14, 20)),
        ]
        for h in (1, 4, 24, 168)
    ]
    return section(
        "What an accuracy is worth",
        paragraph(
            "If forecast and return were jointly normal, and hits did not depend on the size of the move, an accuracy would "
            "imply these figures for a bet every hour, before costs. Three quarters right would be a Sharpe ratio near forty: "
            "no one has that. On real data accuracy has often earned far less than this: judge the account, not the accuracy."
        ),
        table(["accuracy", "correlation (IC)", "on the surest 10 %", "gross Sharpe, hourly bets"], rows, marked, narrow=True),
        "<h3>Accuracy needed to break even when each bet pays for going in and out</h3>",
        table(["bet", "4 bp", "10 bp", "14 bp", "20 bp"], needed, narrow=True),
        paragraph(
            f"For coins as volatile as these ({volatility:.0%} a year). Going in and out costs the accounts above "
            f"{costs.round_trip * 1e4:g} bp."
        ),
    )


def _accuracy(needed: float) -> str:
    return f"{needed:.1%}" if needed < 1 else "impossible"


def _yearly_volatility(candles: pl.DataFrame) -> float:
    """Median over the coins of the annualised standard deviation of hourly log returns."""
    r = candles.sort("symbol", "ts").select("symbol", r=pl.col("close").log().diff().over("symbol"))
    by_coin = r.group_by("symbol").agg(pl.col("r").std()).drop_nulls()["r"]
    return float(by_coin.median() or 0.0) * float(np.sqrt(HOURS_A_YEAR)) if len(by_coin) else 0.55  # type: ignore[arg-type]


def honesty(findings: Findings, notes: Sequence[str]) -> str:
    """Where the numbers come from and what they cannot say."""
    data, scores = findings.scores.get("data", {}), findings.scores
    items = [
        f"Data: {data.get('rows', 0):,} coin-hours with known outcomes, {data.get('from', '?')} to {data.get('to', '?')}, "
        f"world {data.get('world', '?')}; times are UTC.",
        "Every forecast was made by a model fitted only on earlier data, 24 hours or more before, refitted fold by fold.",
        "Intervals treat whole days (blocks of five for 24-hour targets) as the unit, since coins move together and hours "
        "follow one another.",
        "Accounts: sized by prices known at the decision, filled at the next open, marked every hour at the close; missing "
        "hours are not traded; a delisted coin is closed at its last price; funding is paid on what is held when it settles.",
        "Not modelled here: market impact beyond the slippage, exchange outages, taxes. These accounts hold no more than their "
        "equity, so no margin can be called; the engine knows liquidation for those that do.",
    ]
    excluded = scores.get("excluded_zero_returns") or {}
    if any(excluded.values()):
        left = ", ".join(f"{n:,} ({words.TARGETS.get(t, t)})" for t, n in excluded.items() if n)
        items.append(f"Rows without a side (unchanged, or exactly at the median) are left out of the direction scores: {left}.")
    if scores.get("trials") is not None:
        items.append(
            f"{scores['trials']:,} trials stand in the ledger. The best of many looks better than it is: the deflated Sharpe "
            "ratio is corrected for that, accuracies are not."
        )
    locked = scores.get("holdout_declared")
    if locked:
        here = "this report reads it too" if scores.get("holdout") else "this report does not reach into it"
        items.append(
            f"{locked['from']} to {locked['to']} is the locked hold-out: read {locked['reads']} times so far; {here}. Only a "
            "first read is a fresh result."
        )
    days = findings.shown.get("days")
    if days is not None and days < YEAR_OF_DAYS:
        items.append(f"The accounts run for {days} days only: yearly figures are scaled up from that and mean little.")
    counts = findings.account.counts if findings.account is not None else {}
    if counts:
        items.append(
            f"The headline account saw {counts['decisions']:,} forecasts, ignored {counts['ignored']:,} that no candle could "
            f"fill, met {counts['settlements']:,} funding settlements and missed {counts['missed']:,} fills for lack of a bar."
        )
    bitten = findings.account.notes if findings.account is not None else {}
    if bitten:
        said = ", ".join(f"{text} {number:,}" for text, number in bitten.items())
        items.append(f"Limits and rules that changed or stopped an order of the headline account, in coin-hours: {said}.")
    return section("Data and honesty", bullets([*items, *notes]))
