"""A net that answers again and again: buffers allocated once for each shape, replayed as a CUDA graph where there is a GPU.

One code path: on a CPU the same buffers are filled and the net is called on them. Weights may change in place between calls.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.heads import Heads, Net
from crypto_assets.models.training.steps import autocast

WARMUP = 3
"""Calls on a side stream before a capture, which lets libraries choose their kernels (torch's own advice)."""


class Answerer:
    """Calls `module` in evaluation mode, without gradients. A shape that comes a second time gets buffers and a graph."""

    def __init__(self, module: Net, precision: str = "fp32") -> None:
        self.module = module.eval()
        self.precision = precision
        self._slots: dict[tuple[object, ...], _Slot | None] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Heads:
        """Answers to a batch, in tensors of their own."""
        shape = tuple((f, t.shape, t.dtype) for f, t in zip(batch._fields, batch, strict=True) if t is not None)
        if shape not in self._slots:
            self._slots[shape] = None
            return self._forward(batch)
        slot = self._slots[shape]
        if slot is None:
            slot = self._slots[shape] = _Slot(self._forward, batch)
        return slot(batch)

    def _forward(self, batch: Batch) -> Heads:
        with autocast(batch.x_BLF.device, self.precision):
            return self.module(batch)


class _Slot:
    """Buffers of one shape, and the work on them."""

    def __init__(self, forward: Callable[[Batch], Heads], batch: Batch) -> None:
        self.inputs = batch._replace(**{f: t.clone() for f, t in zip(batch._fields, batch, strict=True) if t is not None})
        self.outputs: Heads | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.forward = forward
        if batch.x_BLF.device.type == "cuda":
            self._capture()

    def _capture(self) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP):
                self.forward(self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = self.forward(self.inputs)

    def __call__(self, batch: Batch) -> Heads:
        for buffer, value in zip(self.inputs, batch, strict=True):
            if isinstance(buffer, Tensor) and isinstance(value, Tensor):
                buffer.copy_(value)
        if self.graph is None:
            return self.forward(self.inputs)
        self.graph.replay()
        assert self.outputs is not None
        return Heads(*(h.clone() for h in self.outputs))
