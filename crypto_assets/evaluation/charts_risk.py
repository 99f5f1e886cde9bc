"""Figures of the report about an account's risk. See `charts` for the rules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import polars as pl

from crypto_assets.evaluation.charts import BLUE, ORANGE, RED, blank, legend

MOST_BINS = 40


def days(returns: np.ndarray, value_at_risk: float, shortfall: float) -> go.Figure:
    """How often each daily return came, with the loss exceeded on 5 % of days and the mean of those (both positive)."""
    figure = blank(320, hovermode="closest", showlegend=False, bargap=0.05)
    count, edges = np.histogram(returns, bins=min(MOST_BINS, max(8, int(np.sqrt(len(returns)) * 1.5))))
    middle = (edges[1:] + edges[:-1]) / 2
    figure.add_bar(
        x=middle, y=count, width=np.diff(edges) * 0.92, marker={"color": np.where(middle >= 0, BLUE, RED).tolist()},
        hovertemplate="around %{x:.1%}: %{y} days<extra></extra>",
    )  # fmt: skip
    for at, text, dash, y in ((-value_at_risk, "VaR 95 %", "dash", 1.0), (-shortfall, "CVaR 95 %", "dot", 1.09)):
        figure.add_vline(x=at, line={"dash": dash, "color": ORANGE, "width": 1.5})
        figure.add_annotation(x=at, y=y, yref="paper", yanchor="bottom", text=text, showarrow=False)
    figure.update_layout(margin={"l": 50, "r": 16, "t": 52, "b": 44})
    figure.update_xaxes(title="return of the day, after costs", tickformat="+.1%")
    figure.update_yaxes(title="days")
    return figure


def volatility(lines: Mapping[str, pl.DataFrame], days_back: int) -> go.Figure:
    """Volatility a year over the last `days_back` days, account by account. Each frame: ts, volatility."""
    figure = blank(320, legend=legend(), margin={"l": 60, "r": 16, "t": 52, "b": 44})
    for (name, rows), color in zip(lines.items(), (BLUE, ORANGE), strict=False):
        figure.add_scatter(
            x=rows["ts"].dt.replace_time_zone(None).to_list(), y=rows["volatility"].to_numpy().astype(np.float32), name=name,
            line={"color": color, "width": 1.6}, hovertemplate="%{y:.0%}",
        )  # fmt: skip
    figure.update_yaxes(title=f"a year, over {days_back} days", tickformat=".0%", rangemode="tozero")
    return figure
