"""Claim: the models capture a stated share (kappa) of the skill that is there, on markets whose best forecast is known.

How: the tables of `SimulatedMarket` go straight into the functions that assets and `evaluate` call (`dataset.assemble`, the
panel, `evaluation.walkforward.run`, `evaluation.score`), with no server and no Dagster. One 70/30 split in time: the first
70 % of the hours to fit, with the last part of them held out for early stopping and calibration, both ends purged by 24 h;
the last 30 % to test, once. As in any walk-forward there is a fold behind: members fitted on the first 60 % forecast the next
10 %, for the combination `fused` alone. It is fitted on those forecasts, and again after one, two, three and four weeks of the
test part, then every four, on the members' forecasts of what lies behind, whose outcomes are known by then. `pool_of_all`
averages their logits. A figure called
20k is 20,000 hours x 8 coins. kappa is the share of the optimal log-loss skill at 1 h, by the expected loss under the true
probability, so that it holds no label noise: `kappa` against the optimum
given all that was published, `kappa_latent` against the one that also sees the noise in the texts. A seed is a market and the
seed of the fits; what is printed is the median over seeds, and every seed's own row.

Checked first: the features of every coin are there in the test window, the optimum scored as a forecast has kappa 1, and its
realised log-loss is the expected one within four clustered standard errors.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from _record import keep, median, require

from crypto_assets.dataset.assemble import Assembled, assemble
from crypto_assets.dataset.folds import PURGE, VALID_DAYS, VALID_SHARE, Fold
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.evaluation import metrics, statistics
from crypto_assets.evaluation.fusing import FUSED
from crypto_assets.evaluation.score import score
from crypto_assets.evaluation.walkforward import COMBINATIONS, run
from crypto_assets.features import families
from crypto_assets.lake import Frames
from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.models.registry import DIRECTION, MODELS
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket
from crypto_assets.settings import MARKETS

WARMUP = 416 * DAY
"""Daily history that the simulated market has before its first bar."""
TRAIN_SHARE, BEHIND_SHARE = 0.7, 0.6
KEPT = ("n", "kappa", "kappa_latent", "accuracy", "log_loss", "log_loss_skill", "auc", "ece")


def main() -> None:
    """Fit, score and print, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--market", choices=MARKETS, default="standard")
    parser.add_argument("--hours", type=int, default=20_000, help="hours of history, 20000 or 60000 in figures (default 20000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7], help="seeds (default 7)")
    parser.add_argument("--preset", choices=("debug", "small", "full"), default="small", help="of the nets (default small)")
    parser.add_argument("--models", nargs="+", default=list(DIRECTION), choices=list(MODELS), help="default: all of direction")
    given = parser.parse_args()
    require(given.hours >= 2_000, f"--hours {given.hours}: 2,000 is the least that leaves something to fit")
    by_seed = {seed: one_seed(given, seed) for seed in given.seeds}
    show(by_seed, given.hours)
    result = {
        "market": given.market,
        "hours": given.hours,
        "coins": len(DEFAULT_SYMBOLS),
        "preset": given.preset,
        "seeds": given.seeds,
        "median": over_seeds(by_seed),
        "by_seed": by_seed,
    }
    keep(f"kappa_{given.market}_{given.hours // 1000}k_{given.preset}", result)


def one_seed(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One market, one split: its scores by model, and the seconds it took."""
    market, window = SimulatedMarket(given.market, seed), Window(EPOCH, EPOCH + given.hours * HOUR)
    started = time.perf_counter()
    panel = panel_of(assembled(market, window))
    prepared = time.perf_counter()
    fold = split(window)
    best = market.oracle(fold.test.start, fold.test.end).filter(pl.col("symbol").is_in(DEFAULT_SYMBOLS))
    check(panel, fold, best)
    spent: dict[str, float] = {}

    def told(model: str, _fold: str, seconds: float) -> None:
        spent[model] = round(spent.get(model, 0.0) + seconds, 1)
        if _fold == fold.name:
            print(f"seed {seed}: {model} {seconds:.1f} s", file=sys.stderr)

    folds = tested_in_parts(fold)
    pools = {**COMBINATIONS, "pool_of_all": replace(COMBINATIONS[FUSED], table="")}
    forecasts = run(
        panel, [fold_behind(window), *folds], given.models, preset=given.preset, seed=seed, progress=told, extra_members=pools
    )
    for model, rows_of in forecasts.items():
        forecasts[model] = rows_of.filter(pl.col("ts") >= fold.test.start)
    with tempfile.TemporaryDirectory() as lake:
        study = forecasts.study(panel, folds, "sandbox")
        found = score(forecasts, panel, study=study, lake=lake, oracle=best)
    rows = found["direction"]["1h"]
    scores = {model: {k: rounded(row.get(k)) for k in KEPT} for model, row in rows.items() if model != "oracle"}
    expected = ("accuracy", "log_loss", "expected_accuracy", "expected_log_loss")
    latent = ("expected_accuracy_latent", "expected_log_loss_latent")
    scores["oracle"] = {k: rounded(rows["oracle"][k]) for k in (*expected, *latent)}
    qlike = {m: {k: rounded(row[k]) for k in ("qlike", "captured_share")} for m, row in found["volatility"].items()}
    return {
        "direction_1h": scores,
        "volatility": qlike,
        "features": len(panel.columns),
        "features_seconds": round(prepared - started, 1),
        "seconds_by_model": spent,
    }


def assembled(market: SimulatedMarket, window: Window) -> Assembled:
    """Matrix and labels of the simulated history, by the functions that the assets call."""
    tables = market.tables(window.start - WARMUP, window.end)
    return assemble(Frames(tables), window, list(families().values()))


def panel_of(made: Assembled) -> Panel:
    """The dense panel of the eight coins."""
    return from_tables(made.matrix, made.labels, DEFAULT_SYMBOLS)


def split(window: Window) -> Fold:
    """70 % to fit and 30 % to test, with a purge of 24 h before the test and before the validation part."""
    return _tested_on("70-30", window.start, Window(window.start + int(TRAIN_SHARE * window.hours) * HOUR, window.end))


def fold_behind(window: Window) -> Fold:
    """The fold before: its forecasts are scored nowhere; the combination learns from them."""
    start, end = (window.start + int(share * window.hours) * HOUR for share in (BEHIND_SHARE, TRAIN_SHARE))
    first = midnight(start.date()) + DAY
    return _tested_on("behind", window.start, Window(first, end))


def _tested_on(name: str, start: datetime, test: Window) -> Fold:
    until = test.start - PURGE
    held_out = min(VALID_DAYS * 24, int(VALID_SHARE * Window(start, until).hours))
    valid = Window(until - held_out * HOUR, until)
    return Fold(name, Window(start, valid.start - PURGE), valid, test)


def tested_in_parts(fold: Fold) -> list[Fold]:
    """The fold with its test window in parts that begin at midnight: the same fits, and a combination for each part."""
    first = midnight(fold.test.start.date()) + DAY
    marks = [fold.test.start, *(first + d * DAY for d in (7, 14, 21, *range(28, fold.test.hours // 24, 28)))]
    marks = [m for m in marks if m < fold.test.end]
    names = [fold.name, *(f"{fold.name} {m:%Y-%m-%d}" for m in marks[1:])]
    ends = [*marks[1:], fold.test.end]
    return [replace(fold, name=n, test=Window(a, b)) for n, a, b in zip(names, marks, ends, strict=True)]


def check(panel: Panel, fold: Fold, best: pl.DataFrame) -> None:
    """The panel is there, and the optimum is one."""
    tested = panel.cut(fold.test)
    known = np.isfinite(tested.x_TNF[tested.listed_TN]).mean(axis=0)
    require(tested.listed_TN.mean() > 0.99, f"only {tested.listed_TN.mean():.1%} of the test rows have a bar")
    require(float(np.median(known)) > 0.95, f"half of the features are known in {np.median(known):.1%} of the test rows")
    up = pl.DataFrame(
        {
            "symbol": np.tile(np.asarray(panel.symbols), len(tested.ts)),
            "ts": np.repeat(tested.ts, len(panel.symbols)),
            "up": tested.up("1h").ravel(),
        }
    ).with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
    rows = up.filter(pl.col("up").is_finite()).join(best, on=["symbol", "ts"])
    p, y = rows["p_up"].to_numpy(), rows["up"].to_numpy()
    surprise = metrics.log_losses(p, y) - metrics.log_losses(p, p)
    estimate = statistics.clustered_mean(surprise, rows["ts"].to_physical().to_numpy(), 0.9999)
    require(estimate.low <= 0 <= estimate.high, f"the optimum's log-loss misses the expected one by {estimate}")
    skill = float(np.log(2) - metrics.log_losses(p, p).mean())
    if skill > 1e-5:
        require(abs(metrics.captured_share(p, p) - 1) < 1e-9, "the optimum does not capture all of its own skill")


def over_seeds(by_seed: dict[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median over seeds of every figure of every model."""
    rows = [found["direction_1h"] for found in by_seed.values()]
    return {
        model: {
            key: median([row[model][key] for row in rows], 6)
            for key in rows[0][model]
            if all(row[model][key] is not None for row in rows)
        }
        for model in rows[0]
    }


def show(by_seed: dict[int, dict[str, Any]], hours: int) -> None:
    """The table on standard error; standard output is for the JSON."""
    table = over_seeds(by_seed)
    print(f"\n{hours:,} hours x {len(DEFAULT_SYMBOLS)} coins, median of seeds {list(by_seed)}", file=sys.stderr)
    print(f"{'model':14} {'kappa':>8} {'latent':>8} {'accuracy':>9} {'log-loss':>9}", file=sys.stderr)
    for model, row in sorted(table.items(), key=lambda item: -item[1].get("kappa", -9)):
        if model == "oracle":
            continue
        print(f"{model:14} {cells(row, ('kappa', 'kappa_latent', 'accuracy', 'log_loss'))}", file=sys.stderr)
    best = table["oracle"]
    print(f"{'optimum':14} {cells(best, ('', '', 'expected_accuracy', 'expected_log_loss'))}", file=sys.stderr)
    print(f"{'  latent':14} {cells(best, ('', '', 'expected_accuracy_latent', 'expected_log_loss_latent'))}", file=sys.stderr)


def cells(row: dict[str, float], keys: Sequence[str]) -> str:
    """Figures right-aligned, blank where there is none."""
    widths = (8, 8, 9, 9)
    return " ".join(f"{row[k]:{w}.5f}" if k in row else " " * w for k, w in zip(keys, widths, strict=True))


def rounded(value: Any) -> Any:
    """Six decimals are more than any sampling error here."""
    return round(value, 6) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
