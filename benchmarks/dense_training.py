"""Claim: a loss at every bar of a chunk trains on tens of times more labels a second than one label for each window.

How: both train the very same network (small preset, same weights, same optimizer, same loss) on the same panel of random
numbers, since what is timed does not depend on the values. Dense: chunks gathered from the panel on the device. Windows: the
usual Dataset and DataLoader, one sample a (coin, hour), its last 168 bars and the labels of the last one. They take turns.

Checked first: they are the same function. At the same bars, with whole context in both, every answer agrees within 1e-4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import torch
from _record import keep, median, require
from torch.utils.data import DataLoader, Dataset

from crypto_assets.dataset.panel import Panel
from crypto_assets.models.training import engine, steps
from crypto_assets.models.training.device import Batch, DevicePanel
from crypto_assets.models.training.heads import Targets, counts, losses, total
from crypto_assets.models.training.inputs import Inputs
from crypto_assets.models.transformer import Config, Module

HOURS, COINS, FEATURES = 8760, 8, 128
WINDOW = 168
WINDOWS_A_STEP = 64
"""A usual batch size for this kind of loop."""


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
    learner = steps.Learner.of(module, optimizer, rows, training)
    for coins, starts in steps.Batches(data, rows, training, seed=0):
        inside = [min(s + training.chunk, HOURS) - max(s, 0) for s in starts.tolist()]
        steps.step(learner, data, (coins, starts))
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


def rates(steps: Iterator[int], count: int) -> list[float]:
    """Labels per second of each of the next `count` steps."""
    out = []
    for _ in range(count):
        begin = time.perf_counter()
        labels = next(steps)
        out.append(labels / (time.perf_counter() - begin))
    return out


def main() -> None:
    """Check, measure in turns, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--rounds", type=int, default=5, help="turns: eight dense steps, four of windows (default 5)")
    given = parser.parse_args()
    config = Config.small()
    panel = random_panel()
    inputs = Inputs.fit(panel, lags=config.lags, indicators=False)
    data = DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu"))
    dense: list[float] = []
    window: list[float] = []
    with engine.reproducible(0, given.threads):
        difference = worst_difference(make(config, inputs.width), data)
        require(difference < 1e-4, f"the two are not the same function, answers differ by {difference:.1e}")
        dense_run = dense_steps(make(config, inputs.width), data, config)
        window_run = window_steps(make(config, inputs.width), data, config)
        rates(dense_run, 2), rates(window_run, 2)
        for _ in range(given.rounds):
            dense += rates(dense_run, 8)
            window += rates(window_run, 4)
    keep(
        "dense_training",
        {
            "dense_labels_per_second": median(dense, 0),
            "window_labels_per_second": median(window, 1),
            "ratio": median(dense) / median(window),
            "answers_differ_by": difference,
            "steps": {"dense": len(dense), "window": len(window)},
            "windows_a_step": WINDOWS_A_STEP,
            "parameters": sum(p.numel() for p in make(config, inputs.width).parameters()),
            "inputs": inputs.width,
            "config": asdict(config),
            "threads": given.threads,
        },
    )


if __name__ == "__main__":
    main()
