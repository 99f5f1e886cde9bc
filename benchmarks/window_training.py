"""Claim: windows that lie over one memory on the device train the Bi-LSTM at twice or more the labels a second of a DataLoader.

How: the very same network (small preset, same weights, optimizer, loss, 384 windows a step) on the same panel of random
numbers. Loader: the usual Dataset and DataLoader, one sample a (coin, hour), its last 168 bars and the labels of the last one.
Gather: the engine's own step with windows that have nothing in common, which saves the collation and nothing else. Chunks: the
engine's step as the preset has it, 24 windows in a row over one memory, of which every bar is read and embedded once. They
take turns; rates are of CPU time, which a busy machine distorts less.

Checked first: on the same windows all three have the same loss within 1e-5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

import torch
from _record import keep, median, require
from dense_training import COINS, HOURS, WINDOW, Windows, random_panel
from torch import Tensor
from torch.utils.data import DataLoader

from crypto_assets.models.bi_lstm import Config, Module
from crypto_assets.models.training import engine, steps
from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch, DevicePanel
from crypto_assets.models.training.heads import Heads, Targets, counts, losses, total
from crypto_assets.models.training.inputs import Inputs

WINDOWS_A_STEP = 384


def make(config: Config, inputs: int) -> Module:
    """The net with weights in its readout too."""
    torch.manual_seed(0)
    module = Module(config, inputs, COINS)
    for p in module.readout.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return module


def loss_of(heads: Heads, targets: Targets, training: Training) -> Tensor:
    """What both train on."""
    return total(losses(heads, targets)[0], counts(targets), training.weights)


def three_losses(module: Module, data: DevicePanel, training: Training) -> tuple[float, float, float]:
    """Of the same 24 windows in a row: from the loader, gathered one by one, gathered as a chunk."""
    first, length = 400, 24
    module.eval()
    with torch.no_grad():
        samples = Windows(data)
        x, coin, listed, *truth = next(
            iter(DataLoader([samples[first + i - WINDOW + 1] for i in range(length)], batch_size=length))
        )
        loader = loss_of(module(Batch(x, coin, listed)), Targets(*(t[:, None] for t in truth)), training)
        found = []
        for coins, starts, chunk in (
            (torch.zeros(length, dtype=torch.int64), first + torch.arange(length), 1),
            (torch.zeros(1, dtype=torch.int64), torch.tensor([first]), length),
        ):
            batch, targets = data.lesson((coins, starts), chunk, module.lead, (0, HOURS))
            found.append(float(loss_of(module(batch), targets, training)))
    return float(loader), found[0], found[1]


def device_steps(module: Module, data: DevicePanel, training: Training) -> Iterator[int]:
    """Train by what the engine gathers; yields the labels of each step."""
    rows = (WINDOW, HOURS)
    learner = steps.Learner.of(module, engine.adamw(module, training), rows, training)
    for coins, starts in steps.Batches(data, rows, training, seed=0):
        inside = [min(s + training.chunk, HOURS) - max(s, WINDOW) for s in starts.tolist()]
        steps.step(learner, data, (coins, starts))
        yield sum(inside)


def loader_steps(module: Module, data: DevicePanel, training: Training) -> Iterator[int]:
    """Train by windows from a DataLoader; yields the labels of each step."""
    optimizer = engine.adamw(module, training)
    loader = DataLoader(Windows(data), WINDOWS_A_STEP, shuffle=True, generator=torch.Generator().manual_seed(0))
    module.train()
    for x, coin, listed, *truth in loader:
        optimizer.zero_grad(set_to_none=True)
        loss_of(module(Batch(x, coin, listed)), Targets(*(t[:, None] for t in truth)), training).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), training.clip)
        optimizer.step()
        yield len(x)


def rates(run: Iterator[int], count: int) -> list[float]:
    """Labels per second of CPU of each of the next `count` steps."""
    out = []
    for _ in range(count):
        begin = time.process_time()
        labels = next(run)
        out.append(labels / (time.process_time() - begin))
    return out


def main() -> None:
    """Check, measure in turns, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of three steps each (default 5)")
    given = parser.parse_args()
    config = Config.small()
    panel = random_panel()
    inputs = Inputs.fit(panel, lags=config.lags, indicators=False)
    data = DevicePanel.build(panel, inputs.apply(panel), panel.symbols, torch.device("cpu"))
    chunks = config.training
    require(chunks.chunk * chunks.batch == WINDOWS_A_STEP, f"a step has {chunks.chunk * chunks.batch} windows")
    single = replace(chunks, chunk=1, batch=WINDOWS_A_STEP)
    with engine.reproducible(0, given.threads):
        found = three_losses(make(config, inputs.width), data, chunks)
        require(max(found) - min(found) < 1e-5, f"the three have different losses: {found}")
        runs = {
            "loader": loader_steps(make(config, inputs.width), data, chunks),
            "gather": device_steps(make(config, inputs.width), data, single),
            "chunks": device_steps(make(config, inputs.width), data, chunks),
        }
        measured: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            rates(run, 1)
        for _ in range(given.rounds):
            for name, run in runs.items():
                measured[name] += rates(run, 3)
    per_second = {name: median(values, 0) for name, values in measured.items()}
    keep(
        "window_training",
        {
            "labels_per_cpu_second": per_second,
            "ratio": {name: round(per_second[name] / per_second["loader"], 2) for name in ("gather", "chunks")},
            "losses": found,
            "windows_a_step": WINDOWS_A_STEP,
            "steps": {name: len(values) for name, values in measured.items()},
            "inputs": inputs.width,
            "config": asdict(config),
            "threads": given.threads,
        },
    )


if __name__ == "__main__":
    main()
