"""One optimizer step: chunks in, one gradient, whatever parts it was computed in and by however many processes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from crypto_assets.market.errors import SettingsError
from crypto_assets.models.training.adversarial import ATTACKS
from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch, DevicePanel, chunk_starts
from crypto_assets.models.training.heads import Heads, Net, Targets, counts, losses, total
from crypto_assets.models.training.parallel import Group, current
from crypto_assets.models.training.switches import direction_loss


class Batches(Iterator[tuple[Tensor, Tensor]]):
    """Coins and starts of the chunks of one step after another, pass after pass.

    `generator`, `coins` and `starts` (drawn, not yet handed out) are all it will ever depend on.
    """

    def __init__(
        self, data: DevicePanel, rows: tuple[int, int], training: Training, seed: int, *, together: bool = False
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.batch, self.device = training.batch, data.x_NTF.device
        self.draw = partial(chunk_starts, data, *rows, training.chunk, self.generator, together=together)
        self.coins, self.starts = self.draw()

    def __next__(self) -> tuple[Tensor, Tensor]:
        while len(self.coins) < self.batch:
            coins, starts = self.draw()
            self.coins, self.starts = torch.cat([self.coins, coins]), torch.cat([self.starts, starts])
        now = self.coins[: self.batch].to(self.device), self.starts[: self.batch].to(self.device)
        self.coins, self.starts = self.coins[self.batch :], self.starts[self.batch :]
        return now


@dataclass
class Learner:
    """What every step needs; `accumulate`, the parts a step is cut into, grows when memory runs out."""

    module: Net
    optimizer: torch.optim.Optimizer
    rows: tuple[int, int]
    training: Training
    forward: Callable[[Batch], Heads]
    group: Group
    accumulate: int

    @classmethod
    def of(cls, module: Net, optimizer: torch.optim.Optimizer, rows: tuple[int, int], training: Training) -> Learner:
        """A learner of the group this process belongs to. Raises SettingsError for fewer chunks than processes."""
        group = current()
        if training.batch < group.size:
            raise SettingsError(f"a batch of {training.batch} chunks for {group.size} processes: start fewer, or raise batch")
        return cls(module, optimizer, rows, training, compiled(module, training), group, training.accumulate)

    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return [p for p in self.module.parameters() if p.requires_grad]


def compiled(module: Net, training: Training) -> Callable[[Batch], Heads]:
    """The module's forward pass as training runs it. Raises SettingsError where what is compiled would change by the step."""
    if training.compile == "off":
        return module
    if training.switches.dropout_ramp:
        raise SettingsError(
            "dropout_ramp changes the net at every step, which compile would compile again: switch one of them off"
        )
    torch.set_float32_matmul_precision("high")
    return torch.compile(module, mode="reduce-overhead" if training.compile == "graphs" else "default")


def step(learner: Learner, data: DevicePanel, chunks: tuple[Tensor, Tensor]) -> Tensor:
    """One optimizer step; returns its loss. Out of memory, it is computed again in twice as many parts, and so is every later
    one: the gradient is the same. Raises SettingsError when not even one chunk fits.
    """
    while True:
        with contextlib.suppress(torch.OutOfMemoryError):
            return _attempt(learner, data, chunks)
        learner.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if learner.accumulate >= learner.training.batch:
            raise SettingsError(
                f"out of memory with a single chunk of {learner.training.chunk} bars: set recompute, a shorter chunk, or a "
                f"smaller preset"
            )
        learner.accumulate *= 2
        warnings.warn(f"out of memory: steps now in {learner.accumulate} parts", stacklevel=2)


def _attempt(learner: Learner, data: DevicePanel, chunks: tuple[Tensor, Tensor]) -> Tensor:
    """Its parts share one gradient, each weighed by the labels of the whole."""
    learner.module.train()
    learner.optimizer.zero_grad(set_to_none=True)
    own = learner.group.share(chunks)
    lesson = partial(data.lesson, length=learner.training.chunk, lead=learner.module.lead, rows=learner.rows)
    parts = [lesson(part) for part in zip(*(c.chunk(learner.accumulate) for c in own), strict=True)]
    labels_8 = torch.stack([counts(targets) for _, targets in parts]).sum(dim=0)
    learner.group.sum_([labels_8])
    seen = torch.zeros((), device=data.x_NTF.device)
    for batch, targets in parts:
        loss = _loss(learner, batch, targets, labels_8)
        loss.backward()
        seen += loss.detach()
    trained = learner.parameters()
    if learner.group.size > 1:
        for p in trained:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        learner.group.sum_([seen, *(p.grad for p in trained if p.grad is not None)])
    nn.utils.clip_grad_norm_(trained, learner.training.clip)
    learner.optimizer.step()
    return seen


def _loss(learner: Learner, batch: Batch, targets: Targets, labels_8: Tensor) -> Tensor:
    """Of the batch, or half of it and half of the same batch under attack."""
    switches = learner.training.switches

    def of(inputs: Batch) -> Tensor:
        with autocast(inputs.x_BLF.device, learner.training.precision):
            heads = learner.forward(inputs)
        direction = partial(direction_loss, smoothing=switches.label_smoothing, gamma=switches.focal_gamma)
        return total(losses(heads, targets, direction)[0], labels_8, learner.training.weights)

    if switches.attack == "none":
        return of(batch)
    return 0.5 * of(batch) + 0.5 * of(ATTACKS[switches.attack](of, batch, switches.epsilon))


def autocast(device: torch.device, precision: str) -> Any:
    """The bfloat16 context where it is wanted; `auto` takes it on accelerators that have it.

    Not on a CPU: at the width of the small preset the casts cost what AVX512-BF16 wins (benchmarks/dense_training.py).
    """
    auto = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and auto))
