"""The page around the report: style, script, and the few pieces of HTML it is built from. No number is made here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

_CSS = """
:root{--bg:#f6f7f9;--card:#fff;--text:#1a2130;--soft:#5a6577;--line:#dfe3ea;--accent:#2563eb;--good:#0b7a3e;--bad:#b42318;
--warn:#fff4e0;--warnline:#f0b04a;--mark:#eef4ff;--shade:#1a213033}
:root[data-theme=dark]{--bg:#10141b;--card:#181e28;--text:#e8ecf3;--soft:#a0abbd;--line:#2c3543;--accent:#7eabff;--good:#57d08c;
--bad:#ff8a80;--warn:#33270f;--warnline:#8a6420;--mark:#1d2a42;--shade:#00000099}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:20px 16px 60px}
header{display:flex;gap:16px;align-items:flex-start;justify-content:space-between}
h1{font-size:1.7rem;line-height:1.2;margin:.2em 0}h2{font-size:1.25rem;margin:0 0 .4em}h3{font-size:1rem;margin:1.4em 0 .2em}
p{margin:.4em 0 .8em}.soft{color:var(--soft)}small{color:var(--soft)}a{color:var(--accent)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px;margin:18px 0}
section>p,.pane>p,.notes{max-width:78ch}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:12px;margin:18px 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.card b{display:block;font-size:1.75rem;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
.card span{display:block;font-weight:600;font-size:.92rem;line-height:1.3;margin-bottom:4px}
.card small{display:block;line-height:1.4;margin-top:4px}
.good{color:var(--good)}.bad{color:var(--bad)}
.banner{background:var(--warn);border:1px solid var(--warnline);border-radius:12px;padding:10px 16px;margin:14px 0}
.scroll{overflow-x:auto;margin:8px 0;background:
linear-gradient(90deg,transparent,var(--card) 50%) 100% 0/60px 100% no-repeat local,
linear-gradient(270deg,var(--shade),transparent) 100% 0/16px 100% no-repeat scroll}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:6px 9px;text-align:right;border-bottom:1px solid var(--line);vertical-align:top;line-height:1.35}
td{white-space:nowrap}th{font-weight:600;color:var(--soft);vertical-align:bottom}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card)}
td small{display:block;font-size:.85em}tr.mark td,tr.mark td:first-child{background:var(--mark)}
tbody tr:last-child td{border-bottom:0}table.narrow{width:auto}
button,select{font:inherit;font-size:.88rem;color:var(--text);background:var(--card);border:1px solid var(--line);
border-radius:8px;padding:6px 12px;cursor:pointer;min-height:36px}
button[aria-selected=true]{background:var(--accent);border-color:var(--accent);color:var(--card);font-weight:600}
button:focus-visible,select:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.tabs{display:flex;flex-wrap:wrap;gap:6px;margin:8px 0 12px}.pane[hidden]{display:none}
.chart{width:100%;min-width:0}.two{display:grid;grid-template-columns:1fr 1fr;gap:22px}.two>div,.three>div{min-width:0}
.three{display:flex;flex-wrap:wrap;gap:8px 40px;align-items:flex-start}
details{margin:.8em 0}summary{cursor:pointer;color:var(--accent)}
dl{display:grid;grid-template-columns:auto 1fr;gap:4px 16px;font-size:.9rem}dt{font-weight:600}dd{margin:0}li{margin:.3em 0}
@media(max-width:760px){.two{grid-template-columns:1fr;gap:4px}section{padding:14px 12px}h1{font-size:1.35rem}
main{padding:12px 8px 40px}.cards{grid-template-columns:1fr 1fr;gap:8px}.card{padding:10px 12px}.card b{font-size:1.35rem}
dl{grid-template-columns:1fr}dd{margin-bottom:8px}th,td{padding:5px 7px}table{font-size:.82rem}
td:first-child{white-space:normal;min-width:112px}.tabs{gap:5px}.tabs button,select{padding:6px 9px}.notes{padding-left:20px}}
@media print{body{background:#fff;font-size:10.5pt}main{max-width:none;padding:0}section{padding:8px 0;border:0}
.card,.chart,tr,.banner{break-inside:avoid}h2,h3{break-after:avoid}#theme,select,.tabs button[aria-selected=false]{display:none}
.scroll{overflow:visible}table{font-size:7pt}th,td{padding:3px 4px}.cards{grid-template-columns:repeat(4,1fr)}
.card b{font-size:1.2rem}@page{margin:12mm}}
"""

_JS = """
const root=document.documentElement,coarse=matchMedia('(pointer:coarse)').matches;
function color(name){return getComputedStyle(root).getPropertyValue(name).trim()}
function themed(figure,width){
  const layout={xaxis:{},yaxis:{},...structuredClone(figure.layout)},small=width<560,text=color('--text'),line=color('--line');
  Object.assign(layout,{paper_bgcolor:'rgba(0,0,0,0)',plot_bgcolor:'rgba(0,0,0,0)',autosize:true,dragmode:coarse?false:'zoom',
    font:{family:'system-ui,sans-serif',size:small?11:13,color:text},
    hoverlabel:{bgcolor:color('--card'),bordercolor:line,font:{color:text}}});
  if(small&&layout.margin)layout.margin={...layout.margin,l:Math.min(layout.margin.l??60,52),r:8};
  for(const key of Object.keys(layout))if(/^[xy]axis/.test(key))
    Object.assign(layout[key],{gridcolor:line,linecolor:line,zerolinecolor:color('--soft'),zerolinewidth:1,fixedrange:coarse,
      automargin:true,tickfont:{size:small?10:12}},layout[key].showgrid===false?{zeroline:false}:{},
      layout[key].title?.text?{title:{...layout[key].title,standoff:small?4:10,font:{size:small?11:13}}}:{});
  return layout}
function draw(node){
  if(!node.offsetParent&&!node.clientWidth)return;
  const figure=FIGURES[node.dataset.figure];
  Plotly.react(node,structuredClone(figure.data),themed(figure,node.clientWidth),{responsive:true,displaylogo:false,
    displayModeBar:false,scrollZoom:false,doubleClick:'reset'})}
function drawAll(within){(within||document).querySelectorAll('.chart').forEach(draw)}
document.querySelectorAll('.tabs[data-group]').forEach(bar=>bar.addEventListener('click',event=>{
  const button=event.target.closest('button');if(!button)return;
  bar.querySelectorAll('button').forEach(b=>b.setAttribute('aria-selected',b===button));
  document.querySelectorAll(`.pane[data-group="${bar.dataset.group}"]`).forEach(pane=>{
    pane.hidden=pane.dataset.pane!==button.dataset.pane;if(!pane.hidden)drawAll(pane)})}));
const coin=document.getElementById('coin'),view=document.getElementById('view');
function chosen(){const node=document.getElementById('coin-chart');
  node.dataset.figure=`coin:${coin.value}:${view.value}`;draw(node)}
if(coin){coin.addEventListener('change',chosen);view.addEventListener('change',chosen)}
function theme(name){root.dataset.theme=name;drawAll()}
const dark=matchMedia('(prefers-color-scheme:dark)');let picked=null;
dark.addEventListener('change',()=>{if(!picked)theme(dark.matches?'dark':'light')});
document.getElementById('theme').addEventListener('click',()=>{picked=root.dataset.theme==='dark'?'light':'dark';theme(picked)});
addEventListener('beforeprint',()=>{theme('light');document.querySelectorAll('details').forEach(d=>d.open=true)});
addEventListener('afterprint',()=>theme(picked||(dark.matches?'dark':'light')));
theme(dark.matches?'dark':'light');
"""


def page(title: str, body: str, figures: Mapping[str, go.Figure], head: str = "") -> str:
    """The whole document, with plotly.js inlined where there are figures; nothing is fetched.

    `figures`: name -> figure, as `chart` names them. `head`: further elements of the document's head.
    """
    from plotly.offline import get_plotlyjs

    library = f"<script>{get_plotlyjs()}</script>\n" if figures else ""
    return (
        f'<!doctype html>\n<html lang="en" data-theme="light">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{head}<title>{escape(title)}</title>'
        f"<style>{_CSS}</style></head>\n<body><main>\n{body}\n"
        "<noscript><p>The charts need JavaScript, which is inside this file; the tables do not.</p></noscript></main>\n"
        f"{library}<script>const FIGURES={_figures(figures)};{_JS}</script>\n</body></html>\n"
    )


def _figures(figures: Mapping[str, go.Figure]) -> str:
    """JSON that may stand inside a script element: no `</` and no raw line separators."""
    parts = []
    for name, figure in figures.items():
        spec = json.loads(figure.to_json())
        spec["layout"].pop("template", None)
        parts.append(f"{json.dumps(name)}:{json.dumps(spec, separators=(',', ':'))}")
    text = "{" + ",".join(parts) + "}"
    return text.replace("</", "<\\/").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def chart(name: str, says: str, node: str = "") -> str:
    """Where a figure goes; `says` is its name for screen readers."""
    at = f' id="{node}"' if node else ""
    label, figure = escape(says, quote=True), escape(name, quote=True)
    return f'<div class="chart"{at} role="img" aria-label="{label}" data-figure="{figure}"></div>'


def section(title: str, *parts: str) -> str:
    """A titled block."""
    name = re.sub(r"[^a-z]+", "-", title.lower()).strip("-")
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def card(title: str, value: str, note: str, tone: str = "") -> str:
    """A headline figure; `tone`: good, bad or nothing."""
    figure = f'<b class="{tone}">{escape(value)}</b>'
    return f'<div class="card"><span>{escape(title)}</span>{figure}<small>{escape(note)}</small></div>'


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    marked: Sequence[int] = (),
    narrow: bool = False,
    links: Sequence[str] = (),
) -> str:
    """A table; a cell `value|note` shows the note small. Rows in `marked` stand out; `links` are HTML before each row."""
    head = "".join(f"<th scope='col'>{escape(h)}</th>" for h in header)
    body = "".join(
        f"<tr{' class=mark' if i in marked else ''}>"
        + "".join(f"<td>{cell}</td>" for cell in (*links[i : i + 1], *map(_cell, row)))
        + "</tr>"
        for i, row in enumerate(rows)
    )
    kind = ' class="narrow"' if narrow else ""
    return f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    value, _, note = text.partition("|")
    return escape(value) + (f" <small>{escape(note)}</small>" if note else "")


def tabs(group: str, panes: Mapping[str, tuple[str, str]]) -> str:
    """Buttons that choose one of several panes: name -> (label, html). The first is open."""
    first = next(iter(panes), None)
    buttons = "".join(
        f'<button type="button" role="tab" data-pane="{escape(name, quote=True)}" aria-selected="{str(name == first).lower()}">'
        f"{escape(label)}</button>"
        for name, (label, _) in panes.items()
    )
    bodies = "".join(
        f'<div class="pane" data-group="{group}" data-pane="{escape(name, quote=True)}"{" hidden" * (name != first)}>'
        f"{html}</div>"
        for name, (_, html) in panes.items()
    )
    return f'<div class="tabs" role="tablist" data-group="{group}">{buttons}</div>{bodies}'


def glossary(terms: Mapping[str, str]) -> str:
    """What the words mean, folded away."""
    inside = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in terms.items())
    return f"<details><summary>What the words mean</summary><dl>{inside}</dl></details>"


def bullets(items: Sequence[str]) -> str:
    """A list of plain sentences."""
    return '<ul class="notes">' + "".join(f"<li>{escape(i)}</li>" for i in items) + "</ul>"


def number(value: Any, form: str, none: str = "–") -> str:
    """The formatted number with a true minus sign (none before a zero), or a dash where it does not exist."""
    if value is None:
        return none
    text = format(value, form)
    return text.replace("-", "−") if any(c in "123456789" for c in text) else text.lstrip("-")


def chance(p: float) -> str:
    """A p-value in words: `p 0.17`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.01 else f"p {p:.2f}"


def bracket(ends: Sequence[float] | None, form: str) -> str:
    """`low to high`, or nothing."""
    return "" if ends is None else f"{number(ends[0], form)} to {number(ends[1], form)}"
