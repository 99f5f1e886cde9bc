"""The daily page of a paper account: what it is worth, the curve so far, the day's orders and fills, what went wrong. One
file.

A page is a function of the ledger alone, so it may be made later, or again, and says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from crypto_assets.lake.store import write_bytes
from crypto_assets.market.time import DAY, midnight
from crypto_assets.trading.paper import Plan
from crypto_assets.trading.paper_ledger import PaperLedger, all_of

WIDTH, HEIGHT = 960, 220
LATE_S = 300
"""An hour that was traded later than this after its close could not have been filled at the next open."""
STYLE = """
:root{color-scheme:light dark;--text:#1a2130;--soft:#5a6577;--line:#dfe3ea;--card:#fff;--bg:#f6f7f9;--accent:#2563eb}
@media(prefers-color-scheme:dark){:root{--text:#e8ecf3;--soft:#a0abbd;--line:#2c3543;--card:#181e28;--bg:#10141b;--accent:#7eabff}}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:auto;padding:20px}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 20px;margin:16px 0;overflow-x:auto}
h1{font-size:1.6rem;margin:.2em 0}h2{font-size:1.15rem;margin:0 0 .5em}.soft{color:var(--soft)}
.cards{display:flex;flex-wrap:wrap;gap:12px 36px}.cards b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 9px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft)}
th:nth-child(-n+2),td:nth-child(-n+2),td:last-child,th:last-child{text-align:left}svg{width:100%;height:auto}
"""


def reports_folder(root: Path, name: str) -> Path:
    """Where the pages of an account lie."""
    return root / "reports" / "paper" / name


def write_due(root: Path, ledger: PaperLedger, plan: Plan) -> list[Path]:
    """Write the page of every day that is over and has none; returns them."""
    folder = reports_folder(root, plan.name)
    missing = [(folder / f"{day.isoformat()}.html", day) for day in ledger.days()]
    written = [path for path, day in missing if not path.exists() and write_bytes(path, page(ledger, plan, day).encode())]
    if written:
        write_bytes(folder / "latest.html", written[-1].read_bytes())
    return written


def page(ledger: PaperLedger, plan: Plan, day: date) -> str:
    """The page of one UTC day. Its hours are those that closed after its midnight, up to the next one."""
    start, end = midnight(day), midnight(day) + DAY
    hours = ledger.hours().filter(pl.col("ts") <= end)
    today = hours.filter(pl.col("ts") > start)
    before = hours.filter(pl.col("ts") <= start)
    opened = float(before["equity_usd"][-1]) if before.height else plan.capital_usd
    equity = float(today["equity_usd"][-1])
    spent = {name: float(today[f"{name}_usd"].sum()) for name in ("fees", "slippage", "funding", "turnover")}
    cards = {
        "equity, USD": f"{equity:,.2f}",
        "the day": f"{equity / opened - 1:+.2%}" if opened > 0 else "-",
        "since the start": f"{equity / plan.capital_usd - 1:+.2%}",
        "gross / net": f"{today['gross_exposure'][-1]:.0%} / {today['net_exposure'][-1]:+.0%}",
        "turnover, USD": f"{spent['turnover']:,.0f}",
        "fees, slippage, funding, USD": " ".join(f"{spent[n]:,.2f}" for n in ("fees", "slippage", "funding")),
    }
    orders = ledger.orders(start, end)
    trades = ledger.trades(start, end)
    said = all_of(ledger.complaints(start + DAY / 86400, end + DAY / 86400))
    late = today.filter(pl.col("delay_s") > LATE_S).height
    if late:
        said.append(
            f"{late} hours were traded more than {LATE_S / 60:g} minutes after they closed: nobody could have filled those"
        )
    if today["is_killed"].sum():
        said.append("the kill switch was on")
    title = f"{plan.name}, {day.isoformat()}"
    return "".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>',
            f"<h1>Paper account {escape(title)}</h1>",
            f'<p class="soft">{escape(plan.strategy)} on {escape(plan.model)}, {len(plan.symbols)} coins, '
            f"{plan.capital_usd:,.0f} USD since {plan.begins:%Y-%m-%d %H:%M} UTC. No money was traded.</p>",
            '<section class="cards">' + "".join(f"<div>{escape(k)}<b>{v}</b></div>" for k, v in cards.items()) + "</section>",
            f"<section><h2>Equity at each hour's close</h2>{curve(hours['equity_usd'].to_list(), plan.capital_usd)}</section>",
            f"<section><h2>Orders of the day ({orders.height})</h2>{_table(_ORDERS, _orders(orders))}</section>",
            f"<section><h2>Fills of the day ({trades.height})</h2>{_table(_FILLS, _fills(trades))}</section>",
            f"<section><h2>What was missing, left out or late</h2>{_list(said)}</section>",
            "</main></body></html>\n",
        ]
    )


def curve(values: Sequence[float], capital: float) -> str:
    """A line of the values, with the capital as a dashed one and the range beside it."""
    low, high = min([*values, capital]), max([*values, capital])
    span = (high - low) or max(abs(high), 1.0) * 0.01

    def y(value: float) -> float:
        return 12 + (HEIGHT - 24) * (1 - (value - low) / span)

    step = (WIDTH - 110) / max(len(values) - 1, 1)
    points = " ".join(f"{100 + n * step:.1f},{y(value):.1f}" for n, value in enumerate(values))
    text = "".join(
        f'<text x="92" y="{y(v) + 4:.1f}" text-anchor="end" font-size="13" fill="currentColor">{v:,.0f}</text>'
        for v in dict.fromkeys((low, high))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="equity from {values[0]:,.2f} to {values[-1]:,.2f} USD">{text}'
        f'<line x1="100" x2="{WIDTH - 10}" y1="{y(capital):.1f}" y2="{y(capital):.1f}" stroke="var(--soft)" '
        f'stroke-dasharray="4 4"/><polyline points="{points}" fill="none" stroke="var(--accent)" stroke-width="2"/></svg>'
    )


_ORDERS = ("decided", "coin", "quantity", "filled", "limit", "status", "why")
_FILLS = ("bar", "coin", "side", "quantity", "price", "fee", "slippage", "realised", "why")


def _orders(rows: pl.DataFrame) -> Iterator[list[str]]:
    for r in rows.to_dicts():
        numbers = [
            f"{r['quantity']:+.6g}",
            f"{r['filled']:+.6g}",
            "" if r["limit_price"] is None else f"{r['limit_price']:.6g}",
        ]
        yield [f"{r['ts']:%H:%M}", r["symbol"], *numbers, r["status"], r["reason"]]


def _fills(rows: pl.DataFrame) -> Iterator[list[str]]:
    for r in rows.to_dicts():
        money = [f"{r[c]:,.2f}" for c in ("fee_usd", "slippage_usd", "realised_pnl_usd")]
        yield [f"{r['ts']:%H:%M}", r["symbol"], r["side"], f"{r['quantity']:.6g}", f"{r['price']:.6g}", *money, r["reason"]]


def _table(names: Sequence[str], rows: Iterator[list[str]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else '<p class="soft">None.</p>'


def _list(lines: Sequence[Any]) -> str:
    return (
        "<ul>" + "".join(f"<li>{escape(str(text))}</li>" for text in lines) + "</ul>"
        if lines
        else '<p class="soft">Nothing.</p>'
    )
