"""Claim: which of the training switches help, if any; their defaults are set by this (docs/decisions/training-switches.md).

How: the small Transformer, everything else as it is, with one switch at a time. Planted: the 70/30 split of `kappa.py` on the
standard market, a market and a fit a seed. Real (`--lake`): whole months as walk-forward test folds, chosen among the
validation folds, never the locked ones. Every variant is scored by `evaluation.score`, which enters it in a ledger, and
compared row by row with the net as it is, under the same seed: the mean difference of the log-loss, clustered by day (by week
for the 24 h relative target, whose labels overlap), days of different seeds apart. Planted 1 h losses are expected ones under
the true probability, free of label noise. Negative is better. Interval: 95 %, one switch at a time; nine are tried, so one in
two ablations shows a false one. With `--work` it goes on where it was stopped.

Checked first: as in `kappa.py`; every variant forecasts the same rows.
"""

from __future__ import annotations

import argparse
import calendar
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _record import keep, require
from kappa import assembled, check, panel_of, split

from crypto_assets.dataset.folds import Fold, walk_forward
from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation import metrics, statistics
from crypto_assets.evaluation.ledger import HOLDOUT, Study
from crypto_assets.evaluation.score import score
from crypto_assets.evaluation.walkforward import fit_fold, predict_fold
from crypto_assets.market.time import HOUR, Window
from crypto_assets.models.training.config import Training
from crypto_assets.models.training.switches import Switches
from crypto_assets.models.transformer import Config
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket

BASE = "as it is"


def with_switches(**values: Any) -> Training:
    """The small preset's training with these switches on."""
    return replace(Config.small().training, switches=Switches(**values))


VARIANTS: dict[str, Training] = {
    BASE: Config.small().training,
    "one_cycle": with_switches(schedule="one_cycle"),
    "label_smoothing 0.1": with_switches(label_smoothing=0.1),
    "focal_gamma 2": with_switches(focal_gamma=2.0),
    "dropout_ramp": with_switches(dropout_ramp=True),
    "curriculum": with_switches(curriculum=True),
    "fgsm 0.05": with_switches(attack="fgsm"),
    "pgd 0.05": with_switches(attack="pgd"),
    "amsgrad": replace(Config.small().training, amsgrad=True),
    "members 3": replace(Config.small().training, members=3),
}


def main() -> None:
    """Fit what is missing, score, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=20_000, help="of the planted market (default 20000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9], help="default 7 8 9")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), help="default: all")
    parser.add_argument("--lake", type=Path, help="real history instead of the planted market")
    parser.add_argument("--months", nargs="+", default=["2024-07", "2024-08"], help="test folds with --lake")
    parser.add_argument("--train-from", type=date.fromisoformat, help="with --lake: earliest day used")
    parser.add_argument("--symbols", help="with --lake: coins, separated by commas")
    parser.add_argument("--work", type=Path, help="keep forecasts here, and take those that are there")
    given = parser.parse_args()
    names = list(dict.fromkeys([BASE, *given.variants]))
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        studies = real(given, names, work) if given.lake else planted(given, names, work)
    rows = pl.concat(studies)
    table = {name: compared(rows, name) for name in names}
    show(table)
    world = f"real_{'_'.join(given.months)}" if given.lake else f"standard_{given.hours // 1000}k"
    keep(f"ablation_{world}", {"seeds": given.seeds, "preset": "small", "variants": table})


def planted(given: argparse.Namespace, names: list[str], work: Path) -> list[pl.DataFrame]:
    """Losses of every variant on the standard market, seed by seed."""
    found = []
    for seed in given.seeds:
        market, window = SimulatedMarket("standard", seed), Window(EPOCH, EPOCH + given.hours * HOUR)
        panel, fold = panel_of(assembled(market, window)), split(window)
        best = market.oracle(fold.test.start, fold.test.end).filter(pl.col("symbol").is_in(list(panel.symbols)))
        check(panel, fold, best)
        folder = work / f"standard-{given.hours}-{seed}"
        found.append(losses(panel, [fold], names, seed, folder, "sandbox", best))
    return found


def real(given: argparse.Namespace, names: list[str], work: Path) -> list[pl.DataFrame]:
    """Losses of every variant on the chosen months of a lake."""
    from crypto_assets.cli import evaluate
    from crypto_assets.dataset.assemble import raw_reader, span
    from crypto_assets.dataset.panel import from_tables
    from crypto_assets.lake import Lake
    from crypto_assets.market.coins import COINS

    store = Lake(given.lake)
    reader = raw_reader(store, "archive", list(COINS))
    months = [date.fromisoformat(f"{month}-01") for month in given.months]
    last = max(months).replace(day=calendar.monthrange(max(months).year, max(months).month)[1])
    require(last < HOLDOUT.start.date(), f"{last} lies in the locked hold-out: ablate on earlier months")
    window = evaluate._window(span(reader), min(months), last, given.train_from)
    symbols = tuple(given.symbols.split(",")) if given.symbols else evaluate.complete_symbols(reader, window, last)
    made = evaluate._assemble(reader, window, symbols, [], store)
    dead = [c for c in made.matrix.columns if made.matrix[c].null_count() == made.matrix.height]
    panel = from_tables(made.matrix.drop(dead), made.labels, symbols)
    starts = {m.isoformat() for m in months}
    folds = [f for f in walk_forward(window.start.date(), min(months), last, "month") if f.name in starts]
    return [losses(panel, folds, names, seed, work / f"real-{seed}", "archive", None) for seed in given.seeds]


def losses(
    panel: Panel, folds: list[Fold], names: list[str], seed: int, work: Path, world: str, best: pl.DataFrame | None
) -> pl.DataFrame:
    """One row a scored forecast: variant, target, seed, ts, loss. Every variant goes through `score`."""
    tables: dict[str, pl.DataFrame] = {}
    configs: dict[str, dict[str, Any]] = {}
    for name in names:
        config = replace(Config.small(), training=VARIANTS[name])
        configs[name] = {"preset": "small", **json.loads(json.dumps(asdict(config)))}
        tables[name] = pl.concat([forecast(panel, fold, name, config, seed, work) for fold in folds])
    study = Study(world, panel.symbols, panel.columns, tuple(folds), configs)
    found = score(tables, panel, study=study, lake=work, oracle=best)
    for name in names:
        row = found["direction"]["1h"][name]
        print(f"seed {seed} {name}: log-loss {row['log_loss']:.6f} kappa {row.get('kappa')}", file=sys.stderr)
    return pl.concat([by_row(panel, tables[name], name, seed, best) for name in names])


def forecast(panel: Panel, fold: Fold, name: str, config: Config, seed: int, work: Path) -> pl.DataFrame:
    """The variant's forecast of a fold, from `work` where it was made before."""
    path = work / fold.name / f"{name}.parquet"
    started = time.process_time()
    if path.exists():
        return pl.read_parquet(path)
    checkpoint = fit_fold(panel, fold, "transformer", preset="small", seed=seed, config=config)
    rows = predict_fold(checkpoint, panel, fold)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(path)
    spent = time.process_time() - started
    print(f"seed {seed} {fold.name} {name}: {spent:.0f} s of CPU, best step {checkpoint.config['step']}", file=sys.stderr)
    return rows


def by_row(panel: Panel, table: pl.DataFrame, name: str, seed: int, best: pl.DataFrame | None) -> pl.DataFrame:
    """The losses at 1 h and 24 h relative, where there is a truth."""
    where = {
        "symbol": np.tile(np.asarray(panel.symbols), len(panel.ts)),
        "ts": np.repeat(panel.ts, len(panel.symbols)),
    }
    parts = []
    for target, horizon, column in (("1h", "1h", "p_up"), ("24h_relative", "24h", "p_beats_median")):
        truth = pl.DataFrame({**where, "y": panel.target(target).ravel()})
        truth = truth.with_columns(pl.col("ts").dt.replace_time_zone("UTC")).filter(pl.col("y").is_finite())
        rows = table.filter(pl.col("horizon") == horizon).select("symbol", "ts", p=column).join(truth, on=["symbol", "ts"])
        if best is not None and target == "1h":
            rows = rows.join(best.select("symbol", "ts", q="p_up"), on=["symbol", "ts"]).with_columns(y=pl.col("q"))
        rows = rows.sort("symbol", "ts")
        loss = metrics.log_losses(rows["p"].to_numpy(), rows["y"].to_numpy())
        parts.append(rows.select("symbol", "ts").with_columns(loss=loss, target=pl.lit(target)))
    return pl.concat(parts).with_columns(variant=pl.lit(name), seed=pl.lit(seed))


def compared(rows: pl.DataFrame, name: str) -> dict[str, Any]:
    """Mean loss of a variant, and its difference to the net as it is, paired by row."""
    found: dict[str, Any] = {}
    for target, days in (("1h", 1), ("24h_relative", 7)):
        of = rows.filter(pl.col("target") == target)
        mine, base = (of.filter(pl.col("variant") == v).sort("seed", "symbol", "ts") for v in (name, BASE))
        require(mine.select("seed", "symbol", "ts").equals(base.select("seed", "symbol", "ts")), f"{name}: other rows")
        block = (
            statistics.day_blocks(mine["ts"].dt.replace_time_zone(None).to_numpy(), days) + 100_000 * mine["seed"].to_numpy()
        )
        gap = statistics.paired_difference(mine["loss"].to_numpy(), base["loss"].to_numpy(), block)
        found[target] = {
            "log_loss": round(float(mine["loss"].mean()), 7),  # type: ignore[arg-type]
            "difference": round(gap.value, 7),
            "low": round(gap.low, 7),
            "high": round(gap.high, 7),
            "p": round(gap.p, 4),
            "rows": mine.height,
            "clusters": gap.clusters,
        }
    return found


def show(table: dict[str, Any]) -> None:
    """Differences in units of 1e-5 nats, on standard error."""
    print(f"\n{'variant':22} {'1 h':>28} {'24 h relative':>30}", file=sys.stderr)
    for name, row in table.items():
        cells = [f"{r['difference'] * 1e5:8.1f} [{r['low'] * 1e5:7.1f}, {r['high'] * 1e5:7.1f}]" for r in row.values()]
        print(f"{name:22} {cells[0]:>28} {cells[1]:>30}", file=sys.stderr)


if __name__ == "__main__":
    main()
