"""The figures of the report. Each takes a small frame and gives a plotly figure without colours of its theme.

Font, grid and background colours are set by the page, which knows whether it is light or dark; the series colours used here
read on both, and differ in lightness too, for readers who do not tell colours apart. Import lazily: plotly is heavy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from crypto_assets.evaluation.report_data import CoinView

BLUE, ORANGE, GREY, GREEN, RED, PURPLE, TEAL = "#3b82f6", "#f08c00", "#8a94a6", "#12a150", "#e5484d", "#9b6ef3", "#0f9f9f"
ACCOUNTS = (BLUE, PURPLE, TEAL, GREEN, RED)
DIVERGING = [[0.0, RED], [0.5, "rgba(138,148,166,0.12)"], [1.0, GREEN]]
SIMILARITY = [[0.0, ORANGE], [0.5, "rgba(138,148,166,0.12)"], [1.0, BLUE]]


def blank(height: int, **layout) -> go.Figure:
    """A figure of this height; `layout` overrides."""
    return go.Figure(
        layout={"template": "none", "height": height, "margin": {"l": 60, "r": 16, "t": 12, "b": 44}, "hovermode": "x unified"}
        | layout
    )


def legend() -> dict:
    """A legend above the figure."""
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}


def intervals(
    rows: Sequence[tuple[str, float, float, float]], reference: float, axis: str, says: str, form: str = ".1%"
) -> go.Figure:
    """A dot and its 95 % interval for each (label, value, low, high), top to bottom; `reference` is a dashed line."""
    figure = blank(70 + 30 * len(rows), hovermode="closest", showlegend=False)
    labels, values = [r[0] for r in rows], np.array([r[1] for r in rows])
    low, high = np.array([r[2] for r in rows]), np.array([r[3] for r in rows])
    colors = [GREEN if lo > reference else RED if hi < reference else GREY for lo, hi in zip(low, high, strict=True)]
    figure.add_scatter(
        x=values,
        y=labels,
        mode="markers",
        marker={"size": 10, "color": colors},
        error_x={"type": "data", "symmetric": False, "array": high - values, "arrayminus": values - low, "color": GREY},
        customdata=np.column_stack([low, high]),
        hovertemplate=f"%{{y}}: %{{x:{form}}}<br>95 %: %{{customdata[0]:{form}}} to %{{customdata[1]:{form}}}<extra></extra>",
    )
    figure.add_vline(x=reference, line={"dash": "dash", "color": ORANGE, "width": 1.5})
    figure.add_annotation(x=reference, y=1, yref="paper", yanchor="bottom", text=says, showarrow=False)
    figure.update_layout(margin={"l": 10, "r": 16, "t": 28, "b": 44})
    figure.update_xaxes(title=axis, tickformat=form)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def equity(curves: Mapping[str, pl.DataFrame], references: Mapping[str, pl.DataFrame]) -> go.Figure:
    """Account values on a logarithmic axis: equal heights are equal percentages."""
    figure = blank(420, legend=legend(), margin={"l": 70, "r": 16, "t": 40, "b": 44})
    for (name, rows), color in zip(curves.items(), ACCOUNTS * 3, strict=False):
        _line(figure, rows["ts"], rows["value"], name, color, 2.4)
    for (name, rows), color, dash in zip(references.items(), (ORANGE, GREY), ("solid", "dot"), strict=False):
        _line(figure, rows["ts"], rows["value"], name, color, 1.5, dash)
    every = [rows["value"] for rows in (*curves.values(), *references.values())]
    ticks = _log_ticks(min(float(v.min()) for v in every), max(float(v.max()) for v in every))  # type: ignore[arg-type]
    figure.update_yaxes(
        title="account value, US dollars (log scale)", type="log", tickvals=ticks, ticktext=[f"${t:,.0f}" for t in ticks]
    )
    return figure


def drawdowns(curves: Mapping[str, pl.DataFrame], references: Mapping[str, pl.DataFrame]) -> go.Figure:
    """How far below its highest value so far each account stood."""
    figure = blank(260, legend=legend(), margin={"l": 60, "r": 16, "t": 40, "b": 44})
    for i, (name, rows) in enumerate(curves.items()):
        figure.add_scatter(
            x=rows["ts"].dt.replace_time_zone(None).to_list(),
            y=-rows["drawdown"].to_numpy().astype(np.float32),
            name=name,
            line={"color": ACCOUNTS[i % len(ACCOUNTS)], "width": 1.5},
            fill="tozeroy" if len(curves) == 1 else None,
            hovertemplate="%{y:.1%}",
        )
    for (name, rows), color in zip(references.items(), (ORANGE, GREY), strict=False):
        figure.add_scatter(
            x=rows["ts"].dt.replace_time_zone(None).to_list(),
            y=-rows["drawdown"].to_numpy().astype(np.float32),
            name=name,
            line={"color": color, "width": 1.2},
            hovertemplate="%{y:.1%}",
        )
    figure.update_yaxes(title="below its high", tickformat=".0%")
    return figure


def _line(figure: go.Figure, ts: pl.Series, y: pl.Series, name: str, color: str, width: float, dash: str = "solid") -> None:
    figure.add_scatter(
        x=ts.dt.replace_time_zone(None).to_list(),
        y=np.maximum(y.to_numpy(), 1e-2).astype(np.float32),
        name=name,
        line={"color": color, "width": width, "dash": dash},
        hovertemplate="$%{y:,.0f}",
    )


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values that cover the range, between four and about nine of them."""
    low = max(low, 1.0)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        ticks = sorted({float(d * s) for d in decades for s in steps if low * 0.97 <= d * s <= high * 1.03})
        if len(ticks) >= 4:
            return ticks
    return [float(t) for t in np.linspace(low, max(high, low * 1.001), 5)]


def months(rows: pl.DataFrame) -> go.Figure:
    """Return of each month: a calendar where there are more than twelve, bars where there are fewer. `rows`: start, return."""
    if len(rows) <= 12:
        return _month_bars(rows)
    years = sorted(rows["start"].dt.year().unique().to_list())
    grid = np.full((len(years), 12), np.nan)
    for start, value in rows.iter_rows():
        grid[years.index(start.year), start.month - 1] = value
    bound = float(np.nanmax(np.abs(grid))) or 0.01
    text = [["" if np.isnan(v) else f"{v:+.1%}" for v in row] for row in grid]
    figure = blank(90 + 46 * len(years), hovermode="closest", margin={"l": 50, "r": 10, "t": 10, "b": 40})
    figure.add_heatmap(
        z=grid,
        x=["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"],
        y=[str(y) for y in years],
        text=text,
        texttemplate="%{text}",
        zmin=-bound,
        zmax=bound,
        colorscale=DIVERGING,
        showscale=False,
        xgap=3,
        ygap=3,
        hovertemplate="%{x} %{y}: %{text}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def _month_bars(rows: pl.DataFrame) -> go.Figure:
    value = rows["return"].to_numpy()
    figure = blank(260, hovermode="closest", showlegend=False)
    figure.add_bar(
        x=[d.strftime("%b %Y") for d in rows["start"]],
        y=value,
        marker={"color": np.where(value >= 0, GREEN, RED).tolist()},
        text=[f"{v:+.1%}" for v in value],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x}: %{y:+.2%}<extra></extra>",
    )
    figure.update_layout(margin={"l": 60, "r": 16, "t": 28, "b": 44})
    figure.update_yaxes(title="return of the month", tickformat=".0%")
    figure.update_xaxes(type="category")
    return figure


def cost_bars(rows: pl.DataFrame, base_bps: float) -> go.Figure:
    """Sharpe ratio and total return of the same decisions at multiples of the costs. `rows`: multiple, sharpe, total_return."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=["Sharpe ratio", "total return"], horizontal_spacing=0.16)
    labels = [f"{m:g}×<br>{m * base_bps:g} bp" for m in rows["multiple"]]
    for col, (column, form) in enumerate((("sharpe", ".2f"), ("total_return", "+.1%")), start=1):
        value = rows[column].to_numpy()
        figure.add_bar(
            x=labels,
            y=value,
            marker={"color": np.where(value >= 0, BLUE, RED).tolist()},
            text=[format(v, "+.0%" if abs(v) >= 0.1 and "%" in form else form) for v in value],
            textposition="outside",
            textangle=0,
            constraintext="none",
            cliponaxis=False,
            hovertemplate=f"%{{x}}: %{{y:{form}}}<extra></extra>",
            row=1,
            col=col,
        )
    figure.update_layout(template="none", height=300, showlegend=False, margin={"l": 50, "r": 16, "t": 48, "b": 60})
    figure.update_xaxes(type="category", tickangle=0)
    figure.update_yaxes(tickformat=".0%", col=2)
    return figure


def reliability(bins: Mapping[str, pl.DataFrame]) -> go.Figure:
    """Forecast probability against what happened, model by model; on the diagonal every probability is right."""
    figure = blank(420, hovermode="closest", legend=legend(), margin={"l": 60, "r": 16, "t": 40, "b": 48})
    ends = np.concatenate([np.r_[b["p"], b["share"], b["low"], b["high"]] for b in bins.values()])
    low, high = max(0.0, float(np.nanmin(ends)) - 0.01), min(1.0, float(np.nanmax(ends)) + 0.01)
    figure.add_scatter(x=[low, high], y=[low, high], mode="lines", line={"dash": "dash", "color": ORANGE}, name="exactly right",
                       hoverinfo="skip")  # fmt: skip
    for (model, rows), color in zip(bins.items(), (BLUE, GREY, PURPLE, TEAL), strict=False):
        share = rows["share"].to_numpy()
        figure.add_scatter(
            x=rows["p"],
            y=share,
            mode="lines+markers",
            name=model,
            marker={"color": color, "size": 8},
            line={"color": color, "width": 1},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": rows["high"].to_numpy() - share,
                "arrayminus": share - rows["low"].to_numpy(),
                "thickness": 1,
                "width": 2,
            },
            customdata=rows["n"],
            hovertemplate="said %{x:.1%}, happened %{y:.1%} (%{customdata:,} forecasts)",
        )
    figure.update_xaxes(title="probability that was forecast", tickformat=".0%", range=[low, high])
    figure.update_yaxes(title="share that came true", tickformat=".0%", range=[low, high])
    return figure


def confidence(rows: pl.DataFrame) -> go.Figure:
    """Above: accuracy by confidence, with the line of exact calibration. Below: how often each confidence is reached."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.06)
    known = rows.drop_nulls("accuracy")
    value = known["accuracy"].to_numpy()
    figure.add_scatter(
        x=known["mean"],
        y=value,
        mode="markers",
        name="accuracy",
        marker={"color": BLUE, "size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": known["high"].to_numpy() - value,
            "arrayminus": value - known["low"].to_numpy(),
            "thickness": 1,
            "width": 2,
        },
        hovertemplate="%{x:.1%} sure: %{y:.1%} right<extra></extra>",
        row=1,
        col=1,
    )
    ends = [0.5, float(known["mean"].max() or 0.51)]  # type: ignore[arg-type]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="exactly right",
        line={"dash": "dash", "color": ORANGE},
        hoverinfo="skip",
        row=1,
        col=1,
    )
    figure.add_bar(
        x=rows["middle"],
        y=rows["share"],
        width=rows["width"] * 0.92,
        marker={"color": GREY},
        name="share of forecasts",
        hovertemplate="around %{x:.1%}: %{y:.1%} of forecasts<extra></extra>",
        row=2,
        col=1,
    )
    figure.update_layout(template="none", height=420, legend=legend(), margin={"l": 60, "r": 16, "t": 40, "b": 48})
    figure.update_yaxes(tickformat=".0%")
    figure.update_yaxes(title="came true", row=1)
    figure.update_yaxes(title="of forecasts", row=2)
    figure.update_xaxes(tickformat=".1%")
    figure.update_xaxes(title="confidence: probability of the likelier side", row=2)
    return figure


def similarity(labels: Sequence[str], matrix: np.ndarray) -> go.Figure:
    """Correlation of the members' forecasts: near 1 they say the same thing, near 0 each adds something."""
    figure = blank(110 + 40 * len(labels), hovermode="closest", margin={"l": 10, "r": 10, "t": 10, "b": 10})
    figure.add_heatmap(
        z=matrix,
        x=list(labels),
        y=list(labels),
        text=[[f"{round(v, 2) + 0.0:.2f}" for v in row] for row in matrix],
        texttemplate="%{text}",
        zmin=-1,
        zmax=1,
        colorscale=SIMILARITY,
        showscale=False,
        xgap=3,
        ygap=3,
        hovertemplate="%{y} and %{x}: %{text}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", automargin=True, showgrid=False)
    figure.update_xaxes(automargin=True, showgrid=False)
    return figure


def coin(view: CoinView, says: str) -> go.Figure:
    """Price (log), forecast probability around one half, and the position held. `says`: what the probability is of."""
    heights = [0.5, 0.28, 0.22]
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, row_heights=heights, vertical_spacing=0.05)
    time = {"x0": view.start.strftime("%Y-%m-%d %H:%M"), "dx": view.step_hours * 3_600_000, "mode": "lines"}
    figure.add_scatter(
        y=view.price, name="price", line={"color": BLUE, "width": 1.5}, hovertemplate="$%{y:,.5~g}", row=1, col=1, **time
    )
    for side, color, name in ((np.fmax, GREEN, "more likely"), (np.fmin, RED, "less likely")):
        edge = np.where(np.isnan(view.p), np.nan, side(view.p, 0.5)).astype(np.float32) - np.float32(0.5)
        figure.add_scatter(
            y=edge, name=name, line={"color": color, "width": 1}, fill="tozeroy", hoverinfo="skip", row=2, col=1, **time
        )
    figure.add_scatter(
        y=view.p - np.float32(0.5), name=says, line={"width": 0}, opacity=0, customdata=view.p, row=2, col=1,
        hovertemplate="%{customdata:.1%}", **time,
    )  # fmt: skip
    figure.add_scatter(
        y=view.weight, name="position", line={"color": PURPLE, "width": 1.2, "shape": "hv"}, fill="tozeroy",
        hovertemplate="%{y:+.1%}", row=3, col=1, **time,
    )  # fmt: skip
    figure.update_layout(
        template="none", height=520, hovermode="x unified", showlegend=False, margin={"l": 66, "r": 16, "t": 12, "b": 36}
    )
    figure.update_yaxes(title="price, USD", type="log", nticks=6, tickformat=",.6~g", row=1)
    figure.update_yaxes(title="chance − 50 %", tickformat="+.0%", nticks=5, row=2)
    figure.update_yaxes(title="position", tickformat="+.0%", nticks=4, row=3)
    return figure
