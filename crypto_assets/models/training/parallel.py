"""Several processes as one: each takes its share of every batch, gradients are summed, decisions are the first one's.

Start them with torchrun. Every process holds the whole panel and draws the same batches, so nothing but gradients travels.
Alone, everything here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The place of a process among `size`."""

    rank: int = 0
    size: int = 1

    def share(self, chunks: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The part of a batch that falls to this process."""
        return chunks[0][self.rank :: self.size], chunks[1][self.rank :: self.size]

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message."""
        if self.size == 1:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(flat)
        for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))

    def first_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        for t in tensors if self.size > 1 else ():
            dist.broadcast(t.detach(), 0)

    def decide(self, value: float) -> float:
        """The first process's number."""
        if self.size == 1:
            return value
        device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
        answer = torch.tensor([value], dtype=torch.float64, device=device)
        dist.broadcast(answer, 0)
        return float(answer)


def current() -> Group:
    """The group this process has joined, or itself alone."""
    if dist.is_available() and dist.is_initialized():
        return Group(dist.get_rank(), dist.get_world_size())
    return Group()


@contextmanager
def joined() -> Iterator[Group]:
    """Join the processes that torchrun started, if it did: NCCL (RCCL) on accelerators, Gloo on CPUs."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    accelerated = torch.cuda.is_available()
    if accelerated:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("nccl" if accelerated else "gloo")
    try:
        yield current()
    finally:
        dist.destroy_process_group()
