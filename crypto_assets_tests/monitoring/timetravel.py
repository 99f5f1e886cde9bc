"""Months of the simulated market as a small panel: the published drivers are its features, so that a fit takes no time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import cache

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle, alone
from crypto_assets.evaluation.metrics import captured_share
from crypto_assets.evaluation.walkforward import fit_fold
from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.time import DAY, Window
from crypto_assets.monitoring.challenger import fold_until
from crypto_assets.monitoring.loop import State
from crypto_assets.sandbox.planting import Break
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket

START = EPOCH + 100 * DAY
FITTED = 120
"""Days of history the first champion has."""
BREAK = START + (FITTED + 40) * DAY + 7 * (DAY / 24)
COLUMNS = ("btc_last", "daily", "funding", "last", "level", "level_x_funding")


@cache
def market(seed: int, broken: bool) -> SimulatedMarket:
    return SimulatedMarket("standard", seed, breaks=(Break(BREAK),) if broken else ())


@cache
def world(seed: int, broken: bool, days: int = 260) -> Panel:
    """`days` days from START on."""
    window = Window(START, START + days * DAY)
    rows = market(seed, broken).truth(window.start, window.end).filter(pl.col("symbol").is_in(DEFAULT_SYMBOLS))
    ts = np.arange(window.hours) * np.timedelta64(1, "h") + np.datetime64(START.replace(tzinfo=None), "us")
    grid = {c: laid(rows, c) for c in ("level", "funding", "daily_mean", "last_e", "next_e")}
    btc = np.repeat(grid["last_e"][:, :1], len(DEFAULT_SYMBOLS), axis=1)
    columns = (btc, grid["daily_mean"], grid["funding"], grid["last_e"], grid["level"], grid["level"] * grid["funding"])
    r, ahead = grid["last_e"] / 200, grid["next_e"] / 200
    sums = {h: total(ahead, h) for h in (1, 4, 24)}
    median = np.median(sums[24], axis=1, keepdims=True)
    above = np.where(np.isnan(sums[24]), np.nan, (sums[24] > median).astype(float))
    labels = {**{f"ret_{h}h": v for h, v in sums.items()}, "above_median_24h": above, "rv_24h": total(ahead**2, 24)}
    x = np.stack(columns, axis=2).astype(np.float32)
    return Panel(ts, DEFAULT_SYMBOLS, COLUMNS, x, r, np.ones(r.shape, dtype=bool), labels)


def laid(rows: pl.DataFrame, column: str) -> np.ndarray:
    return np.stack([rows.filter(pl.col("symbol") == s)[column].to_numpy() for s in DEFAULT_SYMBOLS], axis=1)


def total(x: np.ndarray, hours: int) -> np.ndarray:
    """Sum of x at t ... t + hours - 1, NaN where that reaches over the end."""
    until = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    out = np.full(x.shape, np.nan)
    out[: len(x) - hours + 1] = until[hours:] - until[:-hours]
    return out


def champion(panel: Panel, until: datetime, name: str = "logistic") -> Bundle:
    """One model fitted on all history up to `until`."""
    fold = fold_until(START, until)
    return Bundle(name, {name: fit_fold(panel, fold, name, preset="debug", seed=0)}, alone(name))


def begin(seed: int, broken: bool) -> tuple[State, Panel, datetime]:
    """(state at the first day of the loop, panel, that day)."""
    panel, now = world(seed, broken), START + FITTED * DAY
    return State(champion(panel, now - DAY), now), panel, now


def kappa(bundle: Bundle, seed: int, broken: bool, window: Window) -> float:
    """Share of the best possible skill that a bundle captures over `window`."""
    from crypto_assets.evaluation.champion import predict

    panel = world(seed, broken)
    p = predict(bundle, panel, window).combined.p_up_HTN[0]
    best = market(seed, broken).oracle(window.start, window.end).filter(pl.col("symbol").is_in(DEFAULT_SYMBOLS))
    return captured_share(p.ravel(), laid(best, "p_up").ravel())


def replace_labels(panel: Panel, change) -> Panel:
    """The panel with other labels: `change(name, values)`."""
    return replace(panel, labels={name: change(name, values) for name, values in panel.labels.items()})
