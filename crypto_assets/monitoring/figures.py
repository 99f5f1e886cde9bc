"""Small pictures for the pages of assets and checks: SVG written by hand, a few kilobytes, without a drawing library."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

Array = np.ndarray

WIDTH, ROW, LEFT, PLOT = 640, 18, 230, 340
MOST_LIMITS = 5
INK, QUIET, GOOD, BAD = "#334155", "#cbd5e1", "#0f766e", "#b91c1c"


def as_markdown(title: str, svg: str) -> str:
    """The picture inside Markdown, as a data URI."""
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def bars(title: str, rows: Sequence[tuple[str, float]], limit: float = 1.0) -> str:
    """A horizontal bar a row, the line of `limit`; what is beyond it is red, and drawn no longer than five limits."""
    top = min(max([limit * 1.2, *(v for _, v in rows)]), MOST_LIMITS * limit)
    height = 40 + ROW * max(len(rows), 1)
    parts = [_text(8, 18, title, bold=True)]
    for n, (name, value) in enumerate(rows):
        y, width = 30 + ROW * n, PLOT * min(value / top, 1.0)
        parts.append(_text(LEFT - 8, y + 12, name[:34], anchor="end"))
        parts.append(f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="12" fill="{BAD if value > limit else GOOD}"/>')
        parts.append(_text(LEFT + width + 6, y + 12, f"{value:.2f}"))
    if not rows:
        parts.append(_text(LEFT, 42, "nothing to compare yet"))
    x = LEFT + PLOT * limit / top
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="26" y2="{height - 8}" stroke="{INK}" stroke-dasharray="4 3"/>')
    return _svg(height, parts)


def line(
    title: str, days: Sequence[str], values: Array, level: float | None = None, band: tuple[Array, Array] | None = None
) -> str:
    """A line over days with an optional band of an interval, and the level it is compared with."""
    height, bottom, top, left, right = 220, 190, 34, 70, WIDTH - 20
    told = [values, *(band or ()), np.array([level] if level is not None else [])]
    every = np.concatenate([np.asarray(x, dtype=float) for x in told])
    every = every[np.isfinite(every)]
    parts = [_text(8, 18, title, bold=True)]
    if not len(every) or not len(days):
        return _svg(60, [*parts, _text(left, 42, "nothing to show yet")])
    low, high = float(every.min()), float(every.max())
    span = (high - low) or 1.0

    def place(n: int, value: float) -> str:
        x = left + (right - left) * (n / max(len(days) - 1, 1))
        return f"{x:.1f},{bottom - (bottom - top) * (value - low) / span:.1f}"

    if band is not None:
        upper = [place(n, v) for n, v in enumerate(band[1]) if np.isfinite(v)]
        lower = [place(n, v) for n, v in enumerate(band[0]) if np.isfinite(v)]
        parts.append(f'<polygon points="{" ".join([*upper, *lower[::-1]])}" fill="{QUIET}" opacity="0.6"/>')
    if level is not None:
        y = place(0, level).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="{INK}" stroke-dasharray="4 3"/>')
    points = " ".join(place(n, v) for n, v in enumerate(values) if np.isfinite(v))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{GOOD}" stroke-width="2"/>')
    parts += [_text(left - 6, bottom, f"{low:.4f}", anchor="end"), _text(left - 6, top + 8, f"{high:.4f}", anchor="end")]
    parts += [_text(left, bottom + 18, days[0]), _text(right, bottom + 18, days[-1], anchor="end")]
    return _svg(height, parts)


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>{escape(text)}</text>'


def _svg(height: int, parts: Sequence[str]) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{paper}{"".join(parts)}</svg>'
