"""Claim: a week's Hurst exponent costs thousands of times less CPU time than in nolds as it comes, and a hundred times less
than with the same fit; the correlation dimension costs tens of times less than nolds, with the other measures of its pass.

How: 10,000 windows of 168 standardised returns, one thread, CPU seconds. Hurst: rescaled range over the same piece lengths, and
Anis and Lloyd's correction, before our unbiasing for this window. Correlation dimension: three delays, 24 radii;
ours is the pass over pairs that also gives sample entropy, recurrence quantification and neighbours. nolds 0.6.3 and neurokit2
0.2.13 in an environment of their own, on every hundredth window or fewer, scaled to 10,000 (`windows` says how many); nolds
with least squares (`poly`) and with its default fit (`RANSAC`). `all` is every measure of the family `fractal`, 15 columns.

Checked first: Hurst equals nolds' to 1e-8, pairs within each radius are equal to the last one (nolds counts each pair twice and
each vector with itself), and the dimension is the slope of nolds' counts without those.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _peer import limited, python_with, run
from _record import keep, median, require

WINDOWS, LENGTH = 10_000, 168
NOLDS, NEUROKIT = "nolds==0.6.3", "neurokit2==0.2.13"
THEIRS = """
import importlib.util, sys, warnings; warnings.filterwarnings("ignore")
from pathlib import Path
import neurokit2 as nk
# The package itself does not import on Python 3.11: its module `datasets` hides its folder `datasets`.
place = next(Path(p) / "nolds" / "measures.py" for p in sys.path if (Path(p) / "nolds" / "measures.py").exists())
spec = importlib.util.spec_from_file_location("measures", place)
nolds = importlib.util.module_from_spec(spec); spec.loader.exec_module(nolds)
windows, sizes, radii = data["windows"], data["sizes"], data["radii"]

def measured(name, function, number):
    function(windows[0])
    chosen = windows[:: max(1, len(windows) // number)][:number]
    started = time.process_time()
    made = [function(w) for w in chosen]
    result[name] = {"cpu_s": (time.process_time() - started) / number, "windows": number}
    return made

out["hurst"] = measured("nolds_hurst_poly", lambda w: nolds.hurst_rs(w, nvals=sizes, fit="poly"), 100)
found = measured("nolds_dimension_poly", lambda w: nolds.corr_dim(w, 3, rvals=radii, fit="poly", debug_data=True), 50)
out["radii"], out["sums"] = np.array([np.exp(f[1][0]) for f in found]), np.array([np.exp(f[1][1]) for f in found])
measured("nolds_hurst_default", lambda w: nolds.hurst_rs(w, nvals=sizes), 10)
measured("nolds_dimension_default", lambda w: nolds.corr_dim(w, 3, rvals=radii), 10)
measured("neurokit2_hurst", lambda w: nk.fractal_hurst(w, scale=sizes), 100)
measured("neurokit2_dimension", lambda w: nk.fractal_correlation(w, delay=1, dimension=3, radius=24), 50)
"""


def windows() -> np.ndarray:
    """Standardised heavy-tailed returns `[window, hour]`, an hour apart."""
    x = np.random.default_rng(0).standard_t(4, WINDOWS + LENGTH - 1)
    views = np.lib.stride_tricks.sliding_window_view(x, LENGTH)
    return (views - views.mean(axis=1, keepdims=True)) / views.std(axis=1, ddof=1, keepdims=True)


def kernels() -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """Hurst exponents `[window]`, and pairs within each radius `[window, radius]`, of many windows."""
    from numba import njit

    from crypto_assets.features._chaos import RECURRENCE, THEILER, TOLERANCE, TRAJECTORY, hurst, pairs

    @njit
    def hursts(z, sizes, expected):
        return np.array([hurst(w, sizes, expected) for w in z])

    @njit
    def within(z, radii):
        out = np.empty((len(z), len(radii)), np.int64)
        for k in range(len(z)):
            out[k] = pairs(z[k], radii, TOLERANCE, RECURRENCE, THEILER, TRAJECTORY)[0]
        return out

    return hursts, within


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds, and what came of it."""
    started = time.process_time()
    made = function()
    return time.process_time() - started, made


def check(hursts: np.ndarray, within: np.ndarray, dimensions: np.ndarray, theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest differences; ends when they are too large."""
    from crypto_assets.features._chaos import RADII

    every = lambda number: slice(None, WINDOWS // number * number, WINDOWS // number)  # noqa: E731
    hurst = float(np.abs(hursts[every(len(theirs["hurst"]))] - theirs["hurst"]).max())
    require(hurst < 1e-8, f"Hurst differs from nolds by {hurst:.1e}")
    n = LENGTH - 2
    counts = (theirs["sums"] * n * (n - 1) - n) / 2
    ours = within[every(len(counts))]
    require(np.allclose(theirs["radii"], RADII) and np.abs(counts - ours).max() < 1e-6, "correlation sums differ from nolds'")
    logs = np.where(np.round(counts) > 0, np.log(np.maximum(np.round(counts), 1)), np.nan)
    slopes = np.array([np.polyfit(np.log(RADII)[np.isfinite(y)], y[np.isfinite(y)], 1)[0] for y in logs])
    dimension = float(np.abs(slopes - dimensions[every(len(counts))]).max())
    require(dimension < 1e-8, f"the correlation dimension differs from the slope of nolds' sums by {dimension:.1e}")
    return {"hurst": hurst, "pairs": float(np.abs(np.round(counts) - ours).max()), "dimension": dimension}


def main() -> None:
    """Check, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of ours; the peers run once (default 5)")
    given = parser.parse_args()
    limited()
    python = python_with("fractal", NOLDS, NEUROKIT)
    from crypto_assets.features import _chaos

    z, (sizes, expected) = windows(), _chaos.hurst_sizes(LENGTH)
    hursts, within = kernels()
    joined, ends = z.ravel(), LENGTH * np.arange(1, WINDOWS + 1)
    hursts(z[:2], sizes, expected), within(z[:2], _chaos.RADII), _chaos.rolling(joined, ends[:2], LENGTH)
    runs: dict[str, list[float]] = {"hurst": [], "dimension": [], "all": []}
    for _ in range(given.rounds):
        spent, found = seconds(lambda: hursts(z, sizes, expected))
        runs["hurst"].append(spent)
        spent, counts = seconds(lambda: within(z, _chaos.RADII))
        runs["dimension"].append(spent)
        spent, measures = seconds(
            lambda: (_chaos.rolling(joined, ends, LENGTH), _chaos.spectral_entropy(joined, ends, LENGTH))[0]
        )
        runs["all"].append(spent)
    result, theirs = run(python, THEIRS, {"windows": z, "sizes": sizes, "radii": _chaos.RADII})
    differences = check(found, counts, measures[:, _chaos.MEASURES.index("correlation_dimension")], theirs)
    ours = {name: median(values, 4) for name, values in runs.items()}
    peers = {name: {"cpu_s": round(r["cpu_s"] * WINDOWS, 1), "windows": r["windows"]} for name, r in result.items()}
    ratios = {name: round(r["cpu_s"] / ours[name.split("_")[1]]) for name, r in peers.items()}
    keep("fractal", {"ours_cpu_s": ours, "peers": peers, "ratios": ratios, "differences": differences, "rounds": given.rounds})


if __name__ == "__main__":
    main()
