"""Log-HAR: the terms, the exogenous inputs of HAR-X, and least squares on the log of next-day realised variance.

HAR: Corsi, A simple approximate long-memory model of realized volatility (2009); in logs, pooled over coins with a constant
for each (Branco, Rubesam & Zevallos 2024; "HARd to beat", arXiv 2406.08041). Here day and week are 24 and 168 hours, and the
last hour's squared return stands for the intraday term.

Missing hours: a term is the mean square of the known hours of its span; with too few of them it takes the next longer
term, and the longest takes the coin's training mean. So a forecast exists wherever a coin is listed.
"""

from __future__ import annotations

import numpy as np

from crypto_assets.dataset.panel import Panel
from crypto_assets.models import _realised as realised
from crypto_assets.models._rows import BLOCK, Rows

HAR_HOURS = (1, 24, 168)
WIDE_HOURS = (1, 6, 24, 72, 168, 720)
KNOWN_SHARE = 0.75
"""Least share of known hours in a span."""
FLOOR = 0.01
"""A term is at least this share of the next longer one: an hour without a move has no log."""
DAY_HOURS = 24
WEEK_HOURS = 168
HARMONICS = 14
"""Of the hour of the week: the 7th is the daily cycle, the 14th the half-daily one."""


def coin_means(panel: Panel, rows: Rows) -> np.ndarray:
    """`mean_N`: mean squared hourly return of each coin over training; the mean of all for a coin without one."""
    r = panel.r_TN[rows.t[rows.train], rows.n[rows.train]]
    known, n = np.isfinite(r), rows.n[rows.train]
    size = len(panel.symbols)
    total = np.bincount(n, weights=np.where(known, r, 0) ** 2, minlength=size)
    count = np.bincount(n, weights=known, minlength=size)
    pooled = max(total.sum() / max(count.sum(), 1), realised.TINY)
    return np.where((count > 0) & (total > 0), total / np.maximum(count, 1), pooled)


def terms(r_TN: np.ndarray, mean_N: np.ndarray, hours: tuple[int, ...]) -> np.ndarray:
    """`term_TNJ`: log mean squared hourly return over each of `hours` (rising), always finite."""
    out = np.empty((*r_TN.shape, len(hours)))
    longer = np.broadcast_to(mean_N, r_TN.shape)
    for j in range(len(hours) - 1, -1, -1):
        square = realised.trailing_mean_square(r_TN, hours[j], least=int(np.ceil(KNOWN_SHARE * hours[j])))
        longer = np.maximum(np.where(np.isnan(square), longer, square), FLOOR * longer)
        out[..., j] = np.log(longer)
    return out


def exogenous(panel: Panel, term_TNJ: np.ndarray) -> np.ndarray:
    """`x_TNE` float32: what other coins' and past signed returns and the clock add to a coin's own terms.

    Mean over listed coins and Bitcoin's value of the 6 h, 24 h and 168 h terms (less the coin's own), share of negative
    semivariance and scaled return over 24 h and 168 h and the last hour's loss (leverage), harmonics of the hour of week.
    """
    r = np.nan_to_num(panel.r_TN)
    listed = panel.listed_TN[..., None]
    picked = term_TNJ[..., [WIDE_HOURS.index(h) for h in (6, DAY_HOURS, WEEK_HOURS)]]
    market = np.where(listed, picked, 0).sum(axis=1, keepdims=True) / np.maximum(listed.sum(axis=1, keepdims=True), 1)
    leader = picked[:, [panel.symbols.index("BTC")]] if "BTC" in panel.symbols else market
    parts = [market - picked, leader - picked]
    for hours in (DAY_HOURS, WEEK_HOURS):
        square = realised.trailing_mean_square(r, hours, least=1) + realised.TINY
        parts.append((realised.trailing_mean_square(np.minimum(r, 0), hours, least=1) / square)[..., None])
        parts.append((_trailing_sum(r, hours) / np.sqrt(hours * square))[..., None])
    parts.append(np.clip(np.minimum(r, 0) / np.exp(term_TNJ[..., -2] / 2), -10, 0)[..., None])
    clock = _clock(panel.ts)[:, None, :]
    parts.append(np.broadcast_to(clock, (*r.shape, clock.shape[-1])))
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def _trailing_sum(r_TN: np.ndarray, hours: int) -> np.ndarray:
    total = np.zeros_like(r_TN)
    for lag in range(min(hours, len(r_TN))):
        total[lag:] += r_TN[: len(r_TN) - lag]
    return total


def _clock(ts: np.ndarray) -> np.ndarray:
    """Sines and cosines of the hour of the week, `[T, 2 HARMONICS]`."""
    hour = (ts.astype("datetime64[h]").astype(np.int64) % WEEK_HOURS)[:, None]
    angle = 2 * np.pi * hour * np.arange(1, HARMONICS + 1) / WEEK_HOURS
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def log_target(panel: Panel, rows: Rows) -> np.ndarray:
    """`y_R`: log of next-24 h realised variance, NaN where unknown or zero."""
    rv = panel.labels["rv_24h"][rows.t, rows.n]
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(rv)
    return np.where(np.isfinite(y), y, np.nan)


def moments(x_RF: np.ndarray, y_R: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """`X'X`, `X'y` and the number of rows whose `y` is known, in float64 over blocks."""
    gram, cross, count = np.zeros((x_RF.shape[1],) * 2), np.zeros(x_RF.shape[1]), 0
    for at in range(0, len(x_RF), BLOCK):
        known = np.isfinite(y_R[at : at + BLOCK])
        x = x_RF[at : at + BLOCK][known]
        gram += x.T @ x
        cross += x.T @ y_R[at : at + BLOCK][known].astype(x.dtype)
        count += len(x)
    return gram, cross, count


def variances(log_variance: np.ndarray, factor: float) -> np.ndarray:
    """`factor * exp(log_variance)`, at least TINY."""
    return np.maximum(factor * np.exp(log_variance), realised.TINY)
