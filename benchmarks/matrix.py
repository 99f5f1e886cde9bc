"""Claim: all features of 16 coins x 4 years take two minutes of one core; of 2,000 coins x 90 days a quarter hour, in 3 GB.

How: random bars with holes and every other table the families read (for 16 coins). `years`: 16 coins, all families and the
matrix by `derive`, a year at a time, to Parquet. `wide`: `--coins` in a lake of daily files; every family and the matrix by
`in_pieces` and `Lake.write`, as the assets do. One thread, CPU seconds and peak resident memory of a process of its own, input
included.

Checked first, on a small market in small pieces: the files are those of everything at once, byte for byte. Checked on `years`:
the row of the newest hour by itself, from its lookback alone, is the batch's row in every column, to the last bit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _peer import limited
from _record import keep, require

sys.path.insert(0, str(Path(__file__).parent.parent))

from crypto_assets.features import families
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, Lake, derive
from crypto_assets.lake.pieces import CELLS, in_pieces
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.time import HOUR, Window
from crypto_assets_tests.features.market import candles, random_market

COINS = ("BTC", "ETH", "SOL", "BNB", "XRP", "ADA", "DOGE", "DOT", *(f"C{k:04}" for k in range(8)))
FIRST = date(2022, 1, 1)


class Files:
    """A reader of candles in Parquet files, and of the other tables in memory."""

    def __init__(self, paths: Sequence[Path], others: dict[str, pl.DataFrame]) -> None:
        self.paths, self.others = list(paths), Frames(others)

    def scan(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.LazyFrame:
        """Rows of `table` with `start <= ts < end`."""
        if table != "curated/candles":
            return self.others.scan(table, start, end)
        return Frames({table: pl.concat([pl.read_parquet(p) for p in self.paths])}).scan(table, start, end)


def market(folder: Path, coins: int, days: int, batch: int) -> Files:
    """Candles of `coins`, a file for each `batch` of them, and every other table."""
    tables = random_market(COINS, FIRST, days, before=400)
    bars = tables.pop("curated/candles")
    rng, start = np.random.default_rng(1), bars["ts"].min().replace(hour=0)
    paths = []
    for k in range(0, coins, batch):
        names = tuple(f"C{n:04}" for n in range(max(k, len(COINS)), min(k + batch, coins)))
        parts = [bars.filter(pl.col("symbol").is_in(COINS[k : k + batch]))] if k < len(COINS) else []
        parts += [candles(rng, names, start, days)] if names else []
        paths.append(folder / f"candles_{k:05}.parquet")
        pl.concat(parts, how="diagonal").select(bars.columns).write_parquet(paths[-1])
    return Files(paths, tables)


def lake_of(reader: Files, root: Path, window: Window) -> Frames:
    """The candles in a lake of daily files, beside the other tables in memory."""
    lake, bars = Lake(root), pl.scan_parquet(reader.paths)
    for day in window.chunks(1):
        rows = bars.filter(pl.col("ts").is_between(day.start, day.end, closed="left")).sort("symbol", "ts").collect()
        write_parquet(lake.path("curated/candles", day.start.date()), rows)
    return Frames(reader.others.frames, base=lake)


def all_families(reader: Files, window: Window) -> pl.DataFrame:
    """The matrix of `window`, at once."""
    chosen, frames = families(), Frames(base=reader)
    for name, family in chosen.items():
        frames.frames[f"features/{name}"] = derive(family.derivation(), reader, window)
    return derive(matrix(chosen.values()), frames, window)


def written(reader: Frames, window: Window, cells: int = CELLS) -> dict[str, dict[str, float]]:
    """Every family and the matrix, written to the lake in pieces; CPU seconds, pieces and the peak so far by table."""
    lake, took = reader.base, {}
    for step in [*(family.derivation() for family in families().values()), matrix(families().values())]:
        started, n = time.process_time(), 0
        for piece, rows in in_pieces(step, reader, window, spill=lake.root / "cache", cells=cells):
            lake.write(step.table, rows, piece)
            n += 1
        seconds = round(time.process_time() - started, 1)
        took[step.name.split("/")[1]] = {"cpu_s": seconds, "pieces": n, "peak_mb": peak_mb()}
        print(step.name, took[step.name.split("/")[1]], file=sys.stderr, flush=True)
    return took


def check() -> None:
    """Pieces are the whole."""
    with tempfile.TemporaryDirectory() as name:
        reader = market(Path(name), 24, 60, 6)
        window = Window.of_days(FIRST, FIRST + timedelta(days=59))
        whole = all_families(reader, window)
        frames = lake_of(reader, Path(name) / "lake", window)
        took = written(frames, window, cells=300_000)
        require(all(t["pieces"] > 1 for t in took.values()), f"all in one piece: {took}")
        once = Lake(Path(name) / "once")
        once.write(matrix(families().values()).table, whole, window)
        for path in sorted(once.root.rglob("*.parquet")):
            same = path.read_bytes() == (frames.base.root / path.relative_to(once.root)).read_bytes()
            require(same, f"the matrix made in pieces differs from the one made at once: {path.relative_to(once.root)}")


def compared(one: pl.DataFrame, other: pl.DataFrame) -> dict[str, Any]:
    """Two matrices of the same rows: values, those alike to the bit, and the largest difference (relative above 1)."""
    names = [c for c in one.columns if one.schema[c] == pl.Float64]
    rows = [frame.sort("symbol", "ts").select("symbol", "ts", *names) for frame in (one, other)]
    require(rows[0].height > 0 and rows[0].select("symbol", "ts").equals(rows[1].select("symbol", "ts")), "other rows")
    a, b = (frame.select(names).to_numpy() for frame in rows)
    require(bool((np.isnan(a) == np.isnan(b)).all()), "other values are known")
    known = np.isfinite(b)
    difference = np.nan_to_num(np.abs(a - b) / np.maximum(1, np.abs(b)))
    return {
        "values": int(known.sum()),
        "same_bits": int(((a == b) & known).sum()),
        "largest_difference": float(difference.max()),
        "in": names[int(difference.max(axis=0).argmax())],
    }


def measured(part: str, coins: int, days: int) -> dict[str, Any]:
    """One part, in this process."""
    window = Window.of_days(FIRST, FIRST + timedelta(days=days - 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader = market(folder, coins, days, 50)
        first = Window(window.start, window.start + timedelta(days=10))
        all_families(Files(reader.paths[:1], reader.others.frames), first)
        lake = lake_of(reader, folder / "lake", window) if part == "wide" else None
        input_mb, started = peak_mb(), time.process_time()
        if part == "years":
            paths = [folder / f"matrix_{k}.parquet" for k, _ in enumerate(window.chunks(366))]
            for path, chunk in zip(paths, window.chunks(366), strict=True):
                all_families(reader, chunk).write_parquet(path)
        else:
            tables = written(lake, window)
            paths = sorted((folder / "lake" / "features" / "matrix").rglob("*.parquet"))
        result = {"coins": coins, "days": days, "cpu_s": round(time.process_time() - started, 1), "peak_mb": peak_mb()}
        rows = pl.scan_parquet(paths)
        result |= {
            "rows": rows.select(pl.len()).collect().item(),
            "columns": len(rows.collect_schema()),
            "input_peak_mb": input_mb,
        }
        if part == "wide":
            disk = sum(path.stat().st_size for path in (folder / "lake" / "features").rglob("*.parquet"))
            result |= {"tables": tables, "written_gb": round(disk / 2**30, 1)}
        if part == "years":
            hour = rows.select(pl.col("ts").max()).collect().item()
            newest = rows.filter(pl.col("ts") == hour).collect()
            result["streaming"] = compared(all_families(reader, Window(hour, hour + HOUR)), newest)
            require(
                result["streaming"]["same_bits"] == result["streaming"]["values"],
                f"the newest hour by itself: {result['streaming']}",
            )
    return result


def peak_mb() -> int:
    """Most resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Check, measure each part in a process of its own, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=4, help="years of the 16 coins (default 4)")
    parser.add_argument("--coins", type=int, default=2_000, help="coins of the wide market (default 2000)")
    parser.add_argument("--days", type=int, default=90, help="days of the wide market (default 90)")
    parser.add_argument("--part", choices=("years", "wide"), help="one part in this process, printed and not kept")
    given = parser.parse_args()
    limited()
    size = {"years": (len(COINS), 365 * given.years + 1), "wide": (given.coins, given.days)}
    if given.part:
        print(json.dumps(measured(given.part, *size[given.part])))
        return
    check()
    result = {}
    for part in size:
        done = subprocess.run([sys.executable, *sys.argv, "--part", part], capture_output=True, text=True, check=False)
        require(done.returncode == 0, f"{part}:\n{done.stderr[-2000:]}")
        result[part] = json.loads(done.stdout.splitlines()[-1])
    keep("matrix", result)


if __name__ == "__main__":
    main()
