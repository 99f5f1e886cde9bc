"""What the report draws, as small frames: outcomes beside forecasts, calibration bins, thinned series.

Numbers that are drawn here agree with those of `metrics` and `performance`: same bins, same clusters, same drawdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_assets.evaluation import metrics, statistics
from crypto_assets.evaluation.performance import HOURS_A_YEAR, drawdown, hourly_gross_returns, hourly_returns, sharpe
from crypto_assets.trading.backtest import Backtest

Array = np.ndarray

MAX_POINTS = 1200
"""Points of a drawn series: more than the pixels of a wide screen show, few enough for a phone."""
RECENT = timedelta(days=30)
LEAST_IN_BIN = 100
"""Forecasts a confidence bin needs before its accuracy is drawn."""
COVERAGES = (0.01, 0.02, 0.05, 0.10, 0.20, 0.30, 0.50, 0.75, 1.0)
VOLATILITY_DAYS = 14
MAX_WEIGHTS = 400
BLOCK_DAYS = {"1h": 1, "4h": 1, "24h": 5, "24h_relative": 5}


@dataclass(frozen=True)
class Scored:
    """Forecasts of one target that have an outcome: `p`, `y` (1 or 0) and `ts` (datetime64), flat."""

    p: Array
    y: Array
    ts: Array

    @property
    def hit(self) -> Array:
        """1 where the forecast side came true, half where it took none."""
        return metrics.hits(self.p, self.y)


def scored(forecasts: pl.DataFrame, labels: pl.DataFrame, target: str) -> Scored:
    """The rows of one target (`1h`, `4h`, `24h`, `24h_relative`) with forecast and outcome; exact zero returns left out."""
    is_relative = target == "24h_relative"
    column, horizon = ("p_beats_median", "24h") if is_relative else ("p_up", target)
    ret = pl.col(f"ret_{horizon}")
    outcome = pl.col("above_median_24h") if is_relative else pl.when(ret != 0).then((ret > 0).cast(pl.Float64))
    truth = labels.select("symbol", "ts", y=outcome)
    rows = forecasts.filter(pl.col("horizon") == horizon).select("symbol", "ts", p=pl.col(column))
    rows = rows.join(truth, on=["symbol", "ts"], how="inner").drop_nulls().filter(pl.col("p").is_not_nan()).sort("ts", "symbol")
    return Scored(rows["p"].to_numpy(), rows["y"].to_numpy(), rows["ts"].dt.replace_time_zone(None).to_numpy())


def reliability(rows: Scored, target: str, bins: int = metrics.ECE_BINS) -> pl.DataFrame:
    """Equal-mass bins of the forecast: p (mean forecast), share (what happened), low, high (95 %, clustered by day), n."""
    order = np.argsort(rows.p, kind="stable")
    blocks = statistics.day_blocks(rows.ts, BLOCK_DAYS[target])
    found = []
    for part in np.array_split(order, bins):
        if len(part):
            e = statistics.clustered_mean(rows.y[part], blocks[part])
            found.append((float(rows.p[part].mean()), e.value, e.low, e.high, len(part)))
    return pl.DataFrame(found, schema={"p": float, "share": float, "low": float, "high": float, "n": int}, orient="row")


def confidence(rows: Scored, target: str, most_bins: int = 40) -> pl.DataFrame:
    """Bins of confidence = max(p, 1 - p): middle, width, share of forecasts, accuracy with 95 % interval (null when rare)."""
    sure = np.maximum(rows.p, 1 - rows.p)
    top = float(sure.max()) if len(sure) else 0.5
    steps = np.array([0.0025, 0.005, 0.01, 0.02, 0.025, 0.05])
    width = float(steps[np.argmax((top - 0.5) / steps <= most_bins)])
    which = np.minimum(((sure - 0.5) / width + 1e-9).astype(int), int(0.5 / width) - 1)
    blocks, hit = statistics.day_blocks(rows.ts, BLOCK_DAYS[target]), rows.hit
    found = []
    for b in range(int(which.max()) + 1 if len(which) else 0):
        here = which == b
        n = int(here.sum())
        e = statistics.clustered_mean(hit[here], blocks[here]) if n >= LEAST_IN_BIN else None
        values = (e.value, e.low, e.high) if e else (None, None, None)
        found.append((0.5 + (b + 0.5) * width, width, n / len(sure), float(sure[here].mean()) if n else None, *values))
    columns = ("middle", "width", "share", "mean", "accuracy", "low", "high")
    return pl.DataFrame(found, schema=dict.fromkeys(columns, float), orient="row")


def coverage(rows: Scored, target: str) -> pl.DataFrame:
    """Accuracy on the surest share of the forecasts with its 95 % interval: coverage, accuracy, low, high.

    The rows of a share are those with the largest |p - 1/2|; shares under `LEAST_IN_BIN` rows, and shares that equal
    confidence makes the same, are left out.
    """
    order = np.argsort(-np.abs(rows.p - 0.5), kind="stable")
    blocks, hit = statistics.day_blocks(rows.ts, BLOCK_DAYS[target]), rows.hit
    confidence = np.abs(rows.p - 0.5)[order]
    found = {}
    for share in COVERAGES:
        n = int(np.ceil(share * len(order)))
        if n < LEAST_IN_BIN:
            continue
        n = int(np.searchsorted(-confidence, -confidence[n - 1], side="right"))  # all rows of the same confidence
        e = statistics.clustered_mean(hit[order[:n]], blocks[order[:n]])
        found[n] = (n / len(order), e.value, e.low, e.high)
    return pl.DataFrame(
        list(found.values()), schema=dict.fromkeys(("coverage", "accuracy", "low", "high"), float), orient="row"
    )


def rolling_volatility(equity: pl.DataFrame, days: int = VOLATILITY_DAYS) -> pl.DataFrame:
    """Annualised standard deviation of the hourly returns of the last `days` days, one row a day: ts, volatility."""
    rows = pl.DataFrame({"ts": equity["ts"][1:], "r": hourly_returns(equity)})
    found = rows.with_columns(volatility=pl.col("r").rolling_std(days * 24) * np.sqrt(HOURS_A_YEAR)).drop_nulls()
    return found.gather_every(24).select("ts", "volatility")


def thin_weights(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean weight of each member over stretches of equal length, at most a few hundred: ts, member, weight, sorted."""
    times = rows["ts"].unique().sort()
    every = max(1, -(-len(times) // MAX_WEIGHTS))
    stretch = pl.DataFrame({"ts": times, "at": times.gather_every(every).gather([i // every for i in range(len(times))])})
    return rows.join(stretch, on="ts").group_by(ts="at", member="member").agg(pl.col("weight").mean()).sort("ts", "member")


def logit_correlation(forecasts: dict[str, pl.DataFrame], target: str) -> tuple[list[str], Array]:
    """Correlation of the models' log-odds on the rows all of them forecast: (models that vary, matrix)."""
    column, horizon = ("p_beats_median", "24h") if target == "24h_relative" else ("p_up", target)
    wide: pl.DataFrame | None = None
    for model, table in forecasts.items():
        rows = table.filter(pl.col("horizon") == horizon).select("symbol", "ts", pl.col(column).alias(model)).drop_nulls()
        if rows.is_empty() or rows[model].n_unique() < 3:
            continue
        wide = rows if wide is None else wide.join(rows, on=["symbol", "ts"], how="inner")
    models = [c for c in wide.columns if c not in ("symbol", "ts")] if wide is not None and len(wide) > 1 else []
    if wide is None or len(models) < 2:
        return [], np.empty((0, 0))
    p = np.clip(wide.select(models).to_numpy(), 1e-6, 1 - 1e-6)
    with np.errstate(invalid="ignore", divide="ignore"):
        return models, np.nan_to_num(np.corrcoef(np.log(p / (1 - p)), rowvar=False))


def curve(equity: pl.DataFrame) -> pl.DataFrame:
    """A thinned account: ts, value, drawdown (the worst of each stretch, so no trough is lost)."""
    rows = equity.select("ts", value="equity_usd").with_columns(drawdown=drawdown(equity["equity_usd"].to_numpy()))
    return _thin(rows, pl.col("value").last(), pl.col("drawdown").max())


def gross_curve(equity: pl.DataFrame) -> pl.DataFrame:
    """What the same account would have become had its gross returns compounded: ts, value."""
    start = float(equity["equity_usd"][0])
    value = start * np.cumprod(np.append(1.0, 1 + hourly_gross_returns(equity)))
    return _thin(equity.select("ts").with_columns(value=value), pl.col("value").last())


def cost_rows(sensitivity: dict[float, pl.DataFrame]) -> pl.DataFrame:
    """One row a cost multiple: multiple, sharpe, total_return."""
    found = []
    for multiple, equity in sorted(sensitivity.items()):
        value, ratio = equity["equity_usd"], sharpe(hourly_returns(equity))
        found.append((multiple, ratio if np.isfinite(ratio) else 0.0, value[-1] / value[0] - 1))
    return pl.DataFrame(found, schema=dict.fromkeys(("multiple", "sharpe", "total_return"), float), orient="row")


@dataclass(frozen=True)
class CoinView:
    """One coin over one stretch, on an even time grid. `price` (USD), `p` (probability), `weight` (share of equity held) are
    float32, NaN = none.
    """

    start: datetime
    step_hours: int
    price: Array
    p: Array
    weight: Array


def coin_views(
    candles: pl.DataFrame,
    forecasts: pl.DataFrame,
    column: str,
    horizon: str,
    result: Backtest | None,
    start: datetime,
    end: datetime,
) -> dict[str, dict[str, CoinView]]:
    """By symbol, then "whole" or "recent": a view of the closes, of `column` at `horizon`, and of the position held.

    `start` to `end`: the test period, decision times. `recent` is its last thirty days hour by hour; `whole` is thinned.
    """
    closes = candles.select("symbol", ts=pl.col("ts") + pl.duration(hours=1), price="close")
    said = forecasts.filter(pl.col("horizon") == horizon).select("symbol", "ts", p=pl.col(column))
    rows = closes.join(said, on=["symbol", "ts"], how="left").filter(pl.col("ts").is_between(start, end))
    held = result.positions.select("symbol", "ts", "weight") if result is not None else None
    rows = (
        rows.join(held, on=["symbol", "ts"], how="left")
        if held is not None
        else rows.with_columns(weight=pl.lit(None, pl.Float64))
    )
    rows = rows.with_columns(pl.col("weight").fill_null(0.0) if held is not None else pl.col("weight")).sort("symbol", "ts")
    hours = int((end - start).total_seconds() // 3600) + 1
    every = max(1, -(-hours // MAX_POINTS))
    since = max(start, end - RECENT)
    return {
        str(symbol[0]): {
            "whole": _view(part, start, end, every),
            "recent": _view(part.filter(pl.col("ts") >= since), since, end, 1),
        }
        for symbol, part in rows.partition_by("symbol", as_dict=True, maintain_order=True).items()
    }


def _view(rows: pl.DataFrame, start: datetime, end: datetime, every: int) -> CoinView:
    size = int((end - start).total_seconds() // 3600) // every + 1
    at = ((rows["ts"] - start).dt.total_hours() // every).cast(pl.Int64)
    binned = rows.with_columns(at=at).group_by("at").agg(pl.col("price").last(), pl.col("p").mean(), pl.col("weight").mean())
    out = {}
    for column in ("price", "p", "weight"):
        out[column] = np.full(size, np.nan, dtype=np.float32)
        out[column][binned["at"].to_numpy()] = binned[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return CoinView(start, every, out["price"], out["p"], out["weight"])


def _thin(rows: pl.DataFrame, *columns: pl.Expr) -> pl.DataFrame:
    """The first row, then one row a stretch of equal length, at its last ts; at most `MAX_POINTS` rows."""
    every = max(1, -(-(len(rows) - 1) // (MAX_POINTS - 1)))
    bins = rows.with_row_index("i").with_columns(i=(pl.col("i").cast(pl.Int64) + every - 1) // every)
    return bins.group_by("i", maintain_order=True).agg(pl.col("ts").last(), *columns).drop("i")
