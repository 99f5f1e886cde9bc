"""Figures of the report about forecasts: selectivity, captured share, months, members' weights. See `charts` for the rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import polars as pl

from crypto_assets.evaluation.charts import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, TEAL, blank, legend

MEMBERS = (BLUE, PURPLE, TEAL, GREEN, RED, ORANGE, GREY)


def coverage(curves: Mapping[str, pl.DataFrame]) -> go.Figure:
    """Accuracy when only the surest share is acted on, by model. Each frame: coverage, accuracy, low, high."""
    figure = blank(360, hovermode="x", legend=legend(), margin={"l": 60, "r": 16, "t": 40, "b": 48})
    for (model, rows), color in zip(curves.items(), (BLUE, GREY, PURPLE, TEAL), strict=False):
        value = rows["accuracy"].to_numpy()
        figure.add_scatter(
            x=rows["coverage"], y=value, name=model, mode="lines+markers", line={"color": color, "width": 1.5},
            marker={"size": 7},
            error_y={"type": "data", "symmetric": False, "array": rows["high"].to_numpy() - value,
                     "arrayminus": value - rows["low"].to_numpy(), "thickness": 1, "width": 2},
            hovertemplate="%{y:.1%} right on the surest %{x:.0%}",
        )  # fmt: skip
    figure.add_hline(y=0.5, line={"dash": "dash", "color": ORANGE, "width": 1.5})
    shares = [0.01, 0.05, 0.1, 0.2, 0.5, 1.0]
    figure.update_xaxes(
        title="share of the forecasts, the surest first", type="log", tickvals=shares, ticktext=[f"{s:.0%}" for s in shares]
    )
    figure.update_yaxes(title="share that were right", tickformat=".0%")
    return figure


def captured(rows: Sequence[tuple[str, float]]) -> go.Figure:
    """κ of each (label, value), top to bottom; the line is the best anyone could do."""
    figure = blank(80 + 26 * len(rows), hovermode="closest", showlegend=False)
    value = np.array([v for _, v in rows])
    low = float(min(value.min(), 0))
    figure.add_bar(
        x=np.maximum(value, -1), y=[label for label, _ in rows], orientation="h",
        marker={"color": np.where(value > 0, BLUE, RED).tolist()}, text=[f"{v:.0%}" for v in value], textposition="outside",
        cliponaxis=False, hovertemplate="%{y}: %{text}<extra></extra>",
    )  # fmt: skip
    figure.add_vline(x=1, line={"dash": "dash", "color": ORANGE, "width": 1.5})
    figure.add_annotation(x=1, y=1, yref="paper", yanchor="bottom", xanchor="right", text="best possible", showarrow=False)
    figure.update_layout(margin={"l": 10, "r": 30, "t": 28, "b": 44})
    figure.update_xaxes(
        title="κ, share of the possible skill", tickformat=".0%", range=[max(low, -1) - (0.14 if low < 0 else 0), 1.08]
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def by_month(rows: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Accuracy of each month, model by model: model -> month -> accuracy."""
    figure = blank(300, legend=legend(), margin={"l": 60, "r": 16, "t": 40, "b": 44})
    for (model, months), color in zip(rows.items(), (BLUE, GREY, PURPLE), strict=False):
        figure.add_scatter(
            x=list(months), y=list(months.values()), name=model, mode="lines+markers", line={"color": color, "width": 1.5},
            hovertemplate="%{y:.1%}",
        )  # fmt: skip
    figure.add_hline(y=0.5, line={"dash": "dash", "color": ORANGE, "width": 1.5})
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="share that were right", tickformat=".1%")
    return figure


def weights(rows: pl.DataFrame, names: Mapping[str, str]) -> go.Figure:
    """Share of each member over time, stacked. `rows`: ts, member, weight, one row a time and member, summing to 1."""
    figure = blank(320, legend=legend(), margin={"l": 60, "r": 16, "t": 60, "b": 44})
    order = rows.group_by("member").agg(pl.col("weight").mean()).sort("weight", "member", descending=[True, False])["member"]
    for member, color in zip(order, MEMBERS * 3, strict=False):
        part = rows.filter(pl.col("member") == member).sort("ts")
        figure.add_scatter(
            x=part["ts"].dt.replace_time_zone(None).to_list(), y=part["weight"].to_numpy().astype(np.float32),
            name=names.get(member, member), stackgroup="all", mode="lines", line={"color": color, "width": 0.5, "shape": "hv"},
            hovertemplate="%{y:.1%}",
        )  # fmt: skip
    figure.update_yaxes(title="weight", tickformat=".0%", range=[0, 1])
    return figure
