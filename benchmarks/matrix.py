"""Claim: the whole matrix of 16 coins x 4 years takes two minutes of one core; that of many coins is made in pieces of memory.

How: random bars with holes and every other table the families read (for 16 coins), in Parquet files; all families and the
matrix by `derive`, as the assets do, written to Parquet. `years`: 16 coins, a year at a time. `wide`: `--coins`; the families
that compare coins (`TOGETHER`) all coins at a time, a month at a time, then the others and the matrix, 50 coins at a time. One
thread, CPU seconds and peak resident memory of a process of its own, input included.

Checked first, on a small market: the matrix made in pieces is that of everything at once, to the last bit. Checked on `years`:
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
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import HOUR, Window
from crypto_assets_tests.features.market import candles, random_market

TOGETHER = ("attention", "cross_asset", "derivatives")
"""Families in which a coin's row depends on which others there are."""
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


def in_pieces(reader: Files, windows: Sequence[Window], folder: Path) -> list[Path]:
    """The matrix in Parquet files: families over all coins a window at a time, the others a file of candles at a time."""
    chosen = families()
    for name in TOGETHER:
        for k, window in enumerate(windows):
            derive(chosen[name].derivation(), reader, window).write_parquet(folder / f"{name}_{k:03}.parquet")
    whole, out = Window(windows[0].start, windows[-1].end), []
    for k, path in enumerate(reader.paths):
        some = Files([path], reader.others.frames)
        symbols = some.scan("curated/candles").select(pl.col("symbol").unique()).collect()["symbol"].to_list()
        kept = {
            f"features/{name}": pl.scan_parquet(folder / f"{name}_*.parquet").filter(pl.col("symbol").is_in(symbols)).collect()
            for name in TOGETHER
        }
        made = all_families(some, whole, kept)
        out.append(folder / f"matrix_{k:05}.parquet")
        made.write_parquet(out[-1])
    return out


def all_families(reader: Files, window: Window, made: dict[str, pl.DataFrame] | None = None) -> pl.DataFrame:
    """The matrix of `window`; families in `made` are taken from there."""
    chosen, frames = families(), Frames(made, base=reader)
    for name, family in chosen.items():
        if f"features/{name}" not in frames.frames:
            frames.frames[f"features/{name}"] = derive(family.derivation(), reader, window)
    return derive(matrix(chosen.values()), frames, window)


def check() -> None:
    """Pieces are the whole."""
    with tempfile.TemporaryDirectory() as name:
        reader = market(Path(name), 24, 40, 6)
        window = Window.of_days(FIRST, FIRST + timedelta(days=39))
        found = pl.concat([pl.read_parquet(p) for p in in_pieces(reader, list(window.chunks(15)), Path(name))])
        difference = compared(found, all_families(reader, window))["largest_difference"]
        require(difference == 0, f"the matrix made in pieces differs from the one made at once by {difference}")


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
        input_mb, started = peak_mb(), time.process_time()
        if part == "years":
            paths = [folder / f"matrix_{k}.parquet" for k, _ in enumerate(window.chunks(366))]
            for path, chunk in zip(paths, window.chunks(366), strict=True):
                all_families(reader, chunk).write_parquet(path)
        else:
            paths = in_pieces(reader, list(window.chunks(30)), folder)
        result = {"coins": coins, "days": days, "cpu_s": round(time.process_time() - started, 1), "peak_mb": peak_mb()}
        rows = pl.scan_parquet(paths)
        result |= {
            "rows": rows.select(pl.len()).collect().item(),
            "columns": len(rows.collect_schema()),
            "input_peak_mb": input_mb,
        }
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
