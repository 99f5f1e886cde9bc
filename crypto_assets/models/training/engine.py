"""The training loop of every net.

Chunks gathered from a panel that lives on the device, a loss at every bar, AdamW, one warm-up and cosine over the run, early
stopping on the validation log-loss of the averaged weights. The same seed on the same machine gives the same numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from crypto_assets.dataset.panel import TARGETS
from crypto_assets.models._calibration import log_loss
from crypto_assets.models.tracking import Recorder
from crypto_assets.models.training import linear
from crypto_assets.models.training.calibration import issued, trust
from crypto_assets.models.training.device import DevicePanel, chunk_starts
from crypto_assets.models.training.ema import Ema
from crypto_assets.models.training.heads import Heads, Net, Weights, base_logits, counts, losses, total
from crypto_assets.models.training.linear import Shrinkage
from crypto_assets.models.training.schedule import warmup_cosine

PIECE = 672
"""Bars answered at a time when predicting: four weeks, which keeps the context a small part of the work."""


@dataclass(frozen=True)
class Training:
    """How a net is trained. A step reads `batch` chunks of `chunk` bars, in `accumulate` parts with one gradient."""

    chunk: int = 336
    batch: int = 16
    passes: float = 6.0
    """Times every bar is seen, between `min_steps` and `max_steps`. Few: on weeks of history more passes only memorise."""
    min_steps: int = 10
    max_steps: int = 2000
    evaluations: int = 10
    """Looks at the validation slice in a full run."""
    patience: int = 4
    lr: float = 2e-3
    weight_decay: float = 0.1
    warmup: float = 0.1
    clip: float = 1.0
    ema_share: float = 0.1
    """Half-life of the weight average as a share of the run."""
    accumulate: int = 1
    amsgrad: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    weights: Weights = field(default_factory=Weights)


@dataclass(frozen=True)
class Progress:
    """One look at the validation slice."""

    step: int
    steps: int
    train_loss: float
    valid_log_loss: float
    best: bool


@dataclass(frozen=True)
class Fitted:
    """The best averaged weights, how the linear path was shrunk, when they were reached, and what was seen on the way."""

    weights: dict[str, Tensor]
    linear: Shrinkage
    step: int
    steps: int
    history: tuple[Progress, ...]


def train(
    module: Net,
    data: DevicePanel,
    train_rows: tuple[int, int],
    valid_rows: tuple[int, int],
    training: Training,
    *,
    seed: int,
    recorder: Recorder,
    progress: Callable[[Progress], None] | None = None,
) -> Fitted:
    """Fit `module` on the bars of `train_rows`, stop on those of `valid_rows`; the module ends with the best weights.

    Step 0, the linear path alone, is a candidate like any other: where data are short, depth often earns nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    module.readout.base_4.copy_(base_logits(data.direction_NT4[:, slice(*train_rows)]))
    shrinkage = linear.start(module, data, train_rows, valid_rows)
    batches = _batches(data, train_rows, training, generator, together=module.together)
    steps = planned_steps(data, train_rows, training, together=module.together)
    every = max(1, steps // training.evaluations)
    optimizer = adamw(module, training)
    ema = Ema(module, max(1.0, training.ema_share * steps))
    best, best_score, best_step = ema.weights(), math.inf, -1
    history: list[Progress] = []
    running: list[Tensor] = []
    for step in range(steps + 1):
        if step:
            for group in optimizer.param_groups:
                group["lr"] = training.lr * warmup_cosine(step - 1, steps, training.warmup)
            running.append(_step(module, optimizer, data, next(batches), train_rows, training))
            ema.update()
        if step % every and step != steps:
            continue
        average = ema.weights()
        valid = validate(module, average, data, valid_rows, training)
        score = stopping_score(valid, training.weights)
        better = best_step < 0 or score < best_score or math.isnan(score)
        if better:
            best, best_score, best_step = average, score, step
        loss = float(torch.stack(running).mean()) if running else math.nan
        history.append(Progress(step, steps, loss, score, better))
        running = []
        _record(recorder, history[-1], valid)
        if progress:
            progress(history[-1])
        if step - best_step >= training.patience * every:
            break
    module.load_state_dict(best)
    return Fitted(best, shrinkage, best_step, steps, tuple(history))


def planned_steps(data: DevicePanel, rows: tuple[int, int], training: Training, *, together: bool = False) -> int:
    """Optimizer steps of a full run, from the number of listed bars to learn from; of hours, where coins go together."""
    listed = data.listed_NT[:, slice(*rows)]
    bars = int((listed.any(dim=0) if together else listed).sum())
    wanted = round(training.passes * bars / (training.batch * training.chunk))
    return min(max(wanted, training.min_steps), training.max_steps)


def adamw(module: Net, training: Training) -> torch.optim.AdamW:
    """AdamW in its fused form; weight decay on matrices, none on gains and biases."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.lr, betas=(0.9, 0.98), amsgrad=training.amsgrad, fused=True)


def _batches(
    data: DevicePanel, rows: tuple[int, int], training: Training, generator: torch.Generator, *, together: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Coins and starts of the chunks of one step after another, pass after pass."""
    device = data.x_NTF.device
    coins, starts = chunk_starts(data, *rows, training.chunk, generator, together=together)
    while True:
        while len(coins) < training.batch:
            more = chunk_starts(data, *rows, training.chunk, generator, together=together)
            coins, starts = torch.cat([coins, more[0]]), torch.cat([starts, more[1]])
        yield coins[: training.batch].to(device), starts[: training.batch].to(device)
        coins, starts = coins[training.batch :], starts[training.batch :]


def _step(
    module: Net,
    optimizer: torch.optim.Optimizer,
    data: DevicePanel,
    chunks: tuple[Tensor, Tensor],
    rows: tuple[int, int],
    training: Training,
) -> Tensor:
    """One optimizer step; its parts share one gradient, each weighed by the labels of the whole."""
    module.train()
    optimizer.zero_grad(set_to_none=True)
    split = zip(*(c.chunk(training.accumulate) for c in chunks), strict=True)
    parts = [data.lesson(part, training.chunk, module.lead, rows) for part in split]
    labels_8 = torch.stack([counts(targets) for _, targets in parts]).sum(dim=0)
    seen = torch.zeros((), device=data.x_NTF.device)
    for batch, targets in parts:
        with autocast(data.x_NTF.device, training.precision):
            heads = module(batch)
        loss = total(losses(heads, targets)[0], labels_8, training.weights)
        loss.backward()
        seen += loss.detach()
    nn.utils.clip_grad_norm_(module.parameters(), training.clip)
    optimizer.step()
    return seen


@torch.no_grad()
def answers(module: Net, data: DevicePanel, rows: tuple[int, int], precision: str = "fp32") -> Heads:
    """Heads for every coin at the decision times `[begin, end)`, `[N, T, ...]`, each with its full context."""
    module.eval()
    begin, end = rows
    context, piece = module.context, min(PIECE, end - begin)
    first = context - module.lead
    parts = []
    for start in range(begin, end, piece):
        batch, _ = data.gather(*data.everyone(start - context, module.together), context + piece)
        with autocast(data.x_NTF.device, precision):
            heads = module(batch)
        each = Heads(*(h[0] for h in heads)) if module.together else heads
        parts.append(Heads(*(h[:, first : first + end - start] for h in each)))
    return Heads(*(torch.cat(h, dim=1) for h in zip(*parts, strict=True)))


def validate(
    module: Net, weights: dict[str, Tensor], data: DevicePanel, rows: tuple[int, int], training: Training
) -> dict[str, float]:
    """Log-loss of each direction target over `rows` under `weights`, NaN where it has no label.

    Of the forecast as it would be issued, shrunk by its own evidence: a head that has begun to memorise is worth the base
    rate, not less, and does not stop the others.
    """
    own = {k: v.clone() for k, v in module.state_dict().items()}
    module.load_state_dict(weights)
    heads = answers(module, data, rows, training.precision)
    module.load_state_dict(own)
    logits, linear_path, ups, base_4 = (
        a.double().cpu().numpy()
        for a in (heads.logits_BL4, heads.linear_BL4, data.direction_NT4[:, slice(*rows)], module.readout.base_4)
    )
    z = issued(logits, linear_path, base_4, *trust(logits, linear_path, ups, base_4))
    return {name: log_loss(z[..., k], ups[..., k]) for k, name in enumerate(TARGETS)}


def autocast(device: torch.device, precision: str) -> Any:
    """The bfloat16 context where it is wanted; `auto` takes it on accelerators that have it.

    Not on a CPU: at the width of the small preset the casts cost what AVX512-BF16 wins (benchmarks/dense_training.py).
    """
    auto = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and auto))


def pick_device() -> torch.device:
    """The accelerator (CUDA or ROCm) when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible(seed: int, threads: int | None = None) -> Iterator[None]:
    """Seed torch and fix its threads for a block, then put both back.

    `threads` defaults to CRYPTO_ASSETS_THREADS, or 1: at the width of the small preset a second thread wins a fifth on an idle
    machine and loses a factor of four on a busy one, where it waits for its turn (benchmarks/dense_training.py). Sums are the
    same bits only for the same number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or int(os.environ.get("CRYPTO_ASSETS_THREADS", "1")))
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def stopping_score(valid: dict[str, float], weights: Weights) -> float:
    """Mean of the direction log-losses by their weights in the loss, NaN without any label."""
    known = [(v, w) for v, w in zip(valid.values(), weights.direction, strict=True) if not math.isnan(v) and w > 0]
    return sum(v * w for v, w in known) / sum(w for _, w in known) if known else math.nan


def _record(recorder: Recorder, at: Progress, valid: dict[str, float]) -> None:
    if at.step:
        recorder.curve("train_loss", at.step, at.train_loss)
    for name, value in valid.items():
        if not math.isnan(value):
            recorder.curve(f"valid_log_loss_{name}", at.step, value)
