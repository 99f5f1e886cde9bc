"""How good the served forecasts are: measured once their labels have closed, estimated before.

Measured: accuracy, log-loss, skill against a coin, calibration error and coverage of the 90 % interval, over windows of days
that end with the newest label, with intervals from a bootstrap of blocks of days (coins and hours of a day share their luck).

Estimated: a calibrated probability p is right with probability max(p, 1 - p) and has the expected loss H(p), so the newest
forecasts say themselves how well they should do before anything has happened (confidence-based performance estimation). The
assumption is that they are still calibrated: the estimate sees that the forecasts became less sure, not that the market
changed its law. The `excess`, measured loss less expected loss on closed rows, is what tests the assumption: its mean is zero
while it holds, whatever the market does to the confidence of the forecasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from crypto_assets.evaluation.metrics import ECE_BINS, hits, log_losses
from crypto_assets.evaluation.statistics import block_rows, clustered_mean
from crypto_assets.market.time import HORIZONS

Array = np.ndarray

TARGETS = (*HORIZONS, "24h_relative")
WINDOWS = (7, 30)
"""Days; the longer one has intervals that say something, the shorter one is news."""
_Z = 1.6448536269514722
"""Half width of the central 90 % interval of a standard normal."""
METRICS = ("accuracy", "log_loss", "skill", "ece", "coverage", "expected_accuracy", "expected_log_loss", "excess")
BOUNDS = ("low_90", "high_90")
"""The 90 % interval of a table that has one (`fusion/fused`); elsewhere mean and variance give a Gaussian one."""


@dataclass(frozen=True)
class Rows:
    """Closed or pending rows of one target in time order, flat; NaN where unknown.

    `ts` datetime64, `p` in (0, 1), `y` 1 or 0, `covered` 1 where the return fell into the interval, 0 where not.
    """

    ts: Array
    p: Array
    y: Array
    covered: Array

    @property
    def loss(self) -> Array:
        """Log-loss of each row, NaN where it has not closed."""
        return np.where(np.isnan(self.y), np.nan, log_losses(self.p, np.nan_to_num(self.y)))

    @property
    def expected_loss(self) -> Array:
        """H(p): what the loss is on average where p is calibrated."""
        return log_losses(self.p, self.p)

    def closed(self, start: datetime | None = None, end: datetime | None = None) -> Rows:
        """Rows with a label and `start <= ts < end`."""
        return self.where(~np.isnan(self.y) & self._between(start, end))

    def pending(self) -> Rows:
        """Rows after the last one that has closed; those without a label before it are ties or holes, and stay so."""
        done = self.ts[~np.isnan(self.y)]
        return self.where(self.ts > done[-1]) if len(done) else self

    def where(self, mask: Array) -> Rows:
        """Some of the rows."""
        return Rows(self.ts[mask], self.p[mask], self.y[mask], self.covered[mask])

    def _between(self, start: datetime | None, end: datetime | None) -> Array:
        inside = np.ones(len(self.ts), dtype=bool)
        if start is not None:
            inside &= self.ts >= np.datetime64(start.replace(tzinfo=None), "us")
        if end is not None:
            inside &= self.ts < np.datetime64(end.replace(tzinfo=None), "us")
        return inside


class Measured(NamedTuple):
    """One number with its 95 % interval (NaN where there is none), over `n` rows of `days` days."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    days: int


def rows_of(forecasts: pl.DataFrame, labels: pl.DataFrame, target: str) -> Rows:
    """Forecasts of one model (schema `forecasts/<model>`) beside `labels/targets`; rows without a probability are left out."""
    horizon, column = (target, "p_up") if target in HORIZONS else ("24h", "p_beats_median")
    both = forecasts.filter(pl.col("horizon") == horizon, pl.col(column).is_not_null())
    both = both.join(labels.select("symbol", "ts", f"ret_{horizon}", "above_median_24h"), on=["symbol", "ts"], how="left").sort(
        "ts", "symbol"
    )
    ret = pl.col(f"ret_{horizon}")
    truth = pl.when(ret != 0).then((ret > 0).cast(pl.Float64)) if target in HORIZONS else pl.col("above_median_24h")
    low, high = _bounds(both.columns)
    inside = ret.is_between(low, high).cast(pl.Float64)
    found = both.select(ts="ts", p=pl.col(column), y=truth, covered=inside)
    values = {c: found[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in ("p", "y", "covered")}
    return Rows(found["ts"].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"), **values)


def measure(rows: Rows, days: int, *, draws: int = 500, seed: int = 0) -> list[Measured]:
    """Every metric over the last `days` days that have closed rows; nothing where none has closed.

    `excess` has the interval of a day-clustered mean instead of a bootstrap one: it is what a decision hangs on.
    """
    seen = rows.closed()
    if not len(seen.ts):
        return []
    end = seen.ts[-1].astype("datetime64[us]").item()
    seen = seen.closed(start=end - timedelta(days=days) + timedelta(microseconds=1))
    totals = _by_day(seen)
    D, n = len(totals["n"]), len(seen.ts)
    drawn = block_rows(D, min(2, D), draws, np.random.default_rng(seed))
    spread = _metrics({k: v[drawn].sum(axis=1) for k, v in totals.items()})
    found = []
    for name, value in _metrics({k: v.sum(axis=0) for k, v in totals.items()}).items():
        low, high = np.nanquantile(spread[name], [0.025, 0.975]) if D > 2 and np.isfinite(value) else (np.nan, np.nan)
        found.append(Measured(name, float(value), float(low), float(high), n, D))
    return [m for m in (*found, excess(seen)) if np.isfinite(m.value)]


def excess(closed: Rows, block_days: int = 1) -> Measured:
    """Mean of measured less expected loss, with its 95 % interval clustered by blocks of days."""
    cluster = _day(closed.ts) // block_days
    told = clustered_mean(closed.loss - closed.expected_loss, cluster)
    return Measured("excess", told.value, told.low, told.high, len(closed.ts), told.clusters * block_days)


def estimate(rows: Rows) -> Mapping[str, float]:
    """Expected accuracy and log-loss of the rows that have not closed yet; empty where all have."""
    pending = rows.pending()
    if not len(pending.ts):
        return {}
    sure = np.maximum(pending.p, 1 - pending.p)
    return {"rows": len(sure), "accuracy": float(sure.mean()), "log_loss": float(pending.expected_loss.mean())}


def as_of(labels: pl.DataFrame) -> datetime | None:
    """The midnight up to which labels have closed and forecasts may be judged; None without a label."""
    last: datetime | None = labels.filter(pl.col("ret_24h").is_not_null()).select(pl.col("available_at").max()).item()
    return None if last is None else last.replace(hour=0, minute=0, second=0, microsecond=0)


def _bounds(columns: list[str]) -> tuple[pl.Expr, pl.Expr]:
    if set(BOUNDS) <= set(columns):
        return pl.col(BOUNDS[0]), pl.col(BOUNDS[1])
    reach = _Z * (pl.col("log_var") / 2).exp()
    return pl.col("mean") - reach, pl.col("mean") + reach


def _day(ts: Array) -> Array:
    day = ts.astype("datetime64[D]").astype(np.int64)
    return day - day[0] if len(day) else day


def _by_day(seen: Rows) -> dict[str, Array]:
    """Sums of each day, days without a row left out; `bins_p` and `bins_y` `[D, bins]` are for the calibration error."""
    _, day = np.unique(_day(seen.ts), return_inverse=True)
    D = int(day.max()) + 1
    told = ~np.isnan(seen.covered)
    values = {
        "n": np.ones(len(day)),
        "hits": hits(seen.p, seen.y),
        "loss": seen.loss,
        "sure": np.maximum(seen.p, 1 - seen.p),
        "expected": seen.expected_loss,
        "covered": np.where(told, seen.covered, 0.0),
        "told": told.astype(np.float64),
    }
    sums = {k: np.bincount(day, v, D) for k, v in values.items()}
    edges = np.unique(np.quantile(seen.p, np.arange(1, ECE_BINS) / ECE_BINS))
    flat = day * ECE_BINS + np.searchsorted(edges, seen.p, side="left")
    for name, v in (("bins_p", seen.p), ("bins_y", seen.y)):
        sums[name] = np.bincount(flat, v, D * ECE_BINS).reshape(D, ECE_BINS)
    return sums


def _metrics(total: Mapping[str, Array]) -> dict[str, Array]:
    n = total["n"]
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": total["hits"] / n,
            "log_loss": total["loss"] / n,
            "skill": 1 - total["loss"] / n / np.log(2),
            "ece": np.abs(total["bins_p"] - total["bins_y"]).sum(axis=-1) / n,
            "coverage": total["covered"] / total["told"],
            "expected_accuracy": total["sure"] / n,
            "expected_log_loss": total["expected"] / n,
        }


def by_target(forecasts: pl.DataFrame, labels: pl.DataFrame) -> Iterator[tuple[str, Rows]]:
    """The rows of every target that the forecasts speak of."""
    for target in TARGETS:
        rows = rows_of(forecasts, labels, target)
        if len(rows.ts):
            yield target, rows
