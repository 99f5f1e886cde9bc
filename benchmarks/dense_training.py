"""Labels per second of training: a loss at every bar of a chunk, against one label for each window from a DataLoader.

Both train the very same network (small preset, same weights, same optimizer, same loss) on the same panel of random numbers:
what is timed does not depend on the values. First it is checked that they are the same function: at a bar whose context lies
whole in both, the answers agree within 1e-4.

    python benchmarks/dense_training.py [--threads 2] [--seconds 20]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from crypto_assets.dataset.panel import Panel
from crypto_assets.models.training import engine
from crypto_assets.models.training.device import Batch, DevicePanel
from crypto_assets.models.training.heads import Targets, counts, losses, total
from crypto_assets.models.training.inputs import Inputs
from crypto_assets.models.transformer import Config, Module

HOURS, COINS, FEATURES = 8760, 8, 128
WINDOW = 168
WINDOWS_A_STEP = 64
"""A usual batch size for this kind of loop; 256 gives the same rate within a tenth."""
RESULT = Path(__file__).parent / "results" / "dense_training.json"


class Windows(Dataset):
    """One sample a (coin, hour): the last 168 hours and the labels of the last one."""

    def __init__(self, data: DevicePanel) -> None:
        self.data = data
        self.hours = data.listed_NT.shape[1] - WINDOW + 1

    def __len__(self) -> int:
        return self.hours * self.data.listed_NT.shape[0]

    def __getitem__(self, index: int):
        n, first = divmod(index, self.hours)
        last = first + WINDOW - 1
        d = self.data
        batch = d.x_NTF[n, first : last + 1], d.coin_N[n], d.listed_NT[n, first : last + 1]
        return *batch, d.direction_NT4[n, last], d.returns_NT3[n, last], d.log_rv_NT[n, last]


def random_panel(seed: int = 0) -> Panel:
    g = np.random.default_rng(seed)
    r = 0.005 * g.normal(size=(HOURS, COINS))
    labels = {f"ret_{h}": 0.005 * g.normal(size=(HOURS, COINS)) for h in ("1h", "4h", "24h")}
    labels |= {"above_median_24h": (r > 0).astype(float), "rv_24h": 24 * 0.005**2 * g.chisquare(24, size=(HOURS, COINS)) / 24}
    ts = np.datetime64("2024-01-01", "us") + np.arange(HOURS) * np.timedelta64(1, "h")
    x = g.normal(size=(HOURS, COINS, FEATURES)).astype(np.float32)
    names = tuple(f"C{i}" for i in range(COINS)), tuple(f"f{i}" for i in range(FEATURES))
    return Panel(ts, *names, x, r, np.ones((HOURS, COINS), dtype=bool), labels)


def make(config: Config, inputs: int) -> Module:
    torch.manual_seed(0)
    module = Module(config, inputs, COINS)
    for p in module.readout.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return module


def worst_difference(module: Module, data: DevicePanel) -> float:
    """Largest difference of any answer at the same bars, from chunks and from windows of one week."""
    hours = torch.arange(400, 400 + 96)
    module.eval()
    with torch.no_grad():
        dense = engine.answers(module, data, (400, 400 + 96))
        windows, _ = data.gather(torch.zeros(96, dtype=torch.int64), hours - WINDOW + 1, WINDOW)
        single = module(windows)
    return max(float((d[0] - s[:, -1]).abs().max()) for d, s in zip(dense, single, strict=True))


def dense_steps(module: Module, data: DevicePanel, config: Config) -> Iterator[int]:
    """Train by chunks; yields the labelled bars of each step."""
    training, rows = config.training, (0, HOURS)
    optimizer = engine.adamw(module, training)
    batches = engine._batches(data, rows, training, torch.Generator().manual_seed(0))
    for coins, starts in batches:
        inside = [min(s + training.chunk, HOURS) - max(s, 0) for s in starts.tolist()]
        engine._step(module, optimizer, data, (coins, starts), rows, training)
        yield sum(inside)


def window_steps(module: Module, data: DevicePanel, config: Config) -> Iterator[int]:
    """Train by windows from a DataLoader; yields the labelled bars (one a window) of each step."""
    training = config.training
    optimizer = engine.adamw(module, training)
    loader = DataLoader(Windows(data), WINDOWS_A_STEP, shuffle=True, generator=torch.Generator().manual_seed(0))
    module.train()
    for x, coin, listed, *truth in loader:
        targets = Targets(*(t[:, None] for t in truth))
        optimizer.zero_grad(set_to_none=True)
        heads = module(Batch(x, coin, listed))
        last = type(heads)(*(h[:, -1:] for h in heads))
        total(losses(last, targets)[0], counts(targets), training.weights).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), training.clip)
        optimizer.step()
        yield len(x)


def rates(steps: Iterator[int], seconds: float) -> list[float]:
    """Labels per second of each step, two warm-up steps left out."""
    next(steps), next(steps)
    out, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds or len(out) < 5:
        begin = time.perf_counter()
        labels = next(steps)
        out.append(labels / (time.perf_counter() - begin))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each of the two")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    config = Config.small()
    panel = random_panel()
    inputs = Inputs.fit(panel, lags=config.lags, indicators=False)
    data = DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu"))
    with engine.reproducible(0, options.threads):
        difference = worst_difference(make(config, inputs.width), data)
        if difference > 1e-4:
            raise SystemExit(f"the two are not the same function: answers differ by {difference:.1e}, expected at most 1e-4")
        dense = rates(dense_steps(make(config, inputs.width), data, config), options.seconds)
        window = rates(window_steps(make(config, inputs.width), data, config), options.seconds)
    dense_median, window_median = statistics.median(dense), statistics.median(window)
    result = {
        "dense_labels_per_second": round(dense_median),
        "window_labels_per_second": round(window_median),
        "ratio": round(dense_median / window_median, 1),
        "answers_differ_by": difference,
        "steps": {"dense": len(dense), "window": len(window)},
        "parameters": sum(p.numel() for p in make(config, inputs.width).parameters()),
        "config": {"window": config.window, "layers": config.layers, "width": config.width, "chunk": config.training.chunk},
        "threads": options.threads,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} torch threads by default, torch {torch.__version__}",
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
