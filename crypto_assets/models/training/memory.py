"""How much memory a training takes, before it runs and while it does, and how large a batch may be.

Estimate = panel + numbers a parameter + chunks of a part x (what the backward pass of one chunk keeps) x HEADROOM. What is kept
is counted by running one chunk, so it holds for any net. A step that still runs out of memory is halved (`steps.step`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from crypto_assets.market.errors import SettingsError
from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch, DevicePanel
from crypto_assets.models.training.heads import Heads, Net, counts, losses, total
from crypto_assets.models.training.steps import autocast

BYTES_A_PARAMETER = 30
"""float32 weight, gradient, two moments, average, best and spare copy while validating; bfloat16 copy of autocast."""
HEADROOM = 1.3
"""Gradients of activations, workspaces and fragments on top of what is kept for the backward pass."""


@dataclass(frozen=True)
class Estimate:
    """Bytes, by what they are for. `chunk`: kept for the backward pass of one chunk."""

    parameters: int
    panel: int
    chunk: int

    def total(self, chunks: int) -> int:
        """With so many chunks in a part."""
        return round(self.panel + BYTES_A_PARAMETER * self.parameters + HEADROOM * chunks * self.chunk)

    def parts(self, batch: int, budget: int) -> int:
        """The fewest parts (a power of two) in which a step of `batch` chunks fits. Raises SettingsError if none does."""
        parts = 1
        while self.total(-(-batch // parts)) > budget:
            if parts >= batch:
                raise SettingsError(
                    f"one chunk takes {self.total(1) / 2**30:.1f} GiB by estimate, there are {budget / 2**30:.1f}: set "
                    f"recompute, a shorter chunk or a smaller preset"
                )
            parts *= 2
        return parts


def estimate(module: Net, data: DevicePanel, training: Training) -> Estimate:
    """Estimate for `module` on `data`, from one chunk of it."""
    chunks = data.everyone(0, module.together)
    lesson = data.lesson((chunks[0][:1], chunks[1][:1]), training.chunk, module.lead, (0, data.listed_NT.shape[1]))
    module.train()

    def loss() -> Tensor:
        with autocast(data.x_NTF.device, training.precision):
            heads: Heads = module(lesson[0])
        return total(losses(heads, lesson[1])[0], counts(lesson[1]), training.weights)

    kept = kept_bytes(loss, module) + _bytes(lesson[0])
    return Estimate(sum(p.numel() for p in module.parameters()), panel_bytes(data), kept)


def kept_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes that autograd keeps for the backward pass of `forward`, parameters left out, each storage once."""
    own = {p.untyped_storage()._cdata for p in [*module.parameters(), *module.buffers()]}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        forward()
    return sum(kept.values())


def panel_bytes(data: DevicePanel) -> int:
    """Bytes of the panel on the device."""
    return sum(_bytes(getattr(data, f.name)) for f in fields(data))


def largest_batch(attempt: Callable[[int], None], most: int) -> int:
    """The largest batch up to `most` for which `attempt(batch)` does not run out of memory: doubling, then halving the gap.

    Raises SettingsError when not even one fits.
    """
    fits, fails = 0, most + 1
    size = 1
    while fits < fails - 1:
        try:
            attempt(size)
        except torch.OutOfMemoryError:
            fails = size
        else:
            fits = size
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = min(2 * size, most) if fails > most else (fits + fails) // 2
    if not fits:
        raise SettingsError("not even a batch of one fits in memory: set recompute, a shorter chunk or a smaller preset")
    return fits


def peak_bytes(device: torch.device, *, reset: bool = False) -> int | None:
    """Most that was allocated on an accelerator since the last reset; None on a CPU, which does not count."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device)
    if reset:
        torch.cuda.reset_peak_memory_stats(device)
    return peak


def _bytes(value: Tensor | Batch | tuple[object, ...] | object) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(_bytes(part) for part in value) if isinstance(value, tuple) else 0
