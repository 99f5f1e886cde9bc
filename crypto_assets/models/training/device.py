"""The panel on the device, once; a batch is a gather from it. No workers, no copies, no collation.

A net says by `lead` and `together` (`heads.Net`) which of three ways it is fed:

- chunks of one coin, answered at every bar (Transformer, CNN-LSTM): `x [B, L, F]`;
- windows, answered at the last bar alone (Bi-LSTM): the same with `lead = W - 1` bars before the answered ones, so that one
  answered bar is one window and A consecutive ones are A windows over the same memory;
- chunks of all coins at the same times (graph): `x [B, N, L, F]`, and the graph of every bar.

Shapes: N coins, T decision times, F inputs, B chunks, L bars of a chunk, R numbers on an edge. B stands for `[B, N]` where a
net is fed all coins together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crypto_assets.dataset.panel import TARGETS, Panel
from crypto_assets.market.time import HORIZONS
from crypto_assets.models.training.edges import Snapshots
from crypto_assets.models.training.heads import Targets
from crypto_assets.models.training.inputs import Prepared

TARGET_CLIP = 8.0
"""Bound on a volatility-scaled return as a target: one crash bar must not make an epoch."""


class Batch(NamedTuple):
    """What a net reads. `coin_B` is 0 for a coin it does not know, else its place in the checkpoint plus one."""

    x_BLF: Tensor
    coin_B: Tensor
    listed_BL: Tensor
    edges_BLNNR: Tensor | None = None
    """Of nets that are fed all coins together: what goes to a coin (first N) from another at each bar; 0 = no edge."""


class DeviceGraph(NamedTuple):
    """Graphs of the market and which of them holds at each decision time."""

    edges_GNNR: Tensor
    at_T: Tensor


@dataclass(frozen=True)
class DevicePanel:
    """Inputs and targets, coin-major."""

    x_NTF: Tensor
    listed_NT: Tensor
    coin_N: Tensor
    direction_NT4: Tensor
    returns_NT3: Tensor
    log_rv_NT: Tensor
    first_hour: int = 0
    """Hours of the first decision time since 1970."""
    graph: DeviceGraph | None = None

    @classmethod
    def build(
        cls,
        panel: Panel,
        prepared: Prepared,
        symbols: tuple[str, ...],
        device: torch.device,
        graph: Snapshots | None = None,
    ) -> DevicePanel:
        """Move a panel over. `symbols` are those the net was, or will be, trained on, in order."""
        listed = panel.listed_TN
        direction = np.stack([np.where(listed, panel.target(name), np.nan) for name in TARGETS], axis=-1)
        returns = [panel.labels[f"ret_{h}"] * np.exp(-0.5 * prepared.log_variance(k)) for h, k in HORIZONS.items()]
        scaled = np.clip(np.where(listed[..., None], np.stack(returns, axis=-1), np.nan), -TARGET_CLIP, TARGET_CLIP)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_rv = np.where(
                listed & (panel.labels["rv_24h"] > 0), np.log(panel.labels["rv_24h"]) - prepared.log_rv_TN, np.nan
            )

        def move(a: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(a)).to(device)

        return cls(
            x_NTF=move(prepared.x_NTF),
            listed_NT=move(listed.T),
            coin_N=move(np.array([symbols.index(s) + 1 if s in symbols else 0 for s in panel.symbols], dtype=np.int64)),
            direction_NT4=move(direction.swapaxes(0, 1).astype(np.float32)),
            returns_NT3=move(scaled.swapaxes(0, 1).astype(np.float32)),
            log_rv_NT=move(log_rv.T.astype(np.float32)),
            first_hour=int(panel.ts[0].astype("datetime64[h]").astype(np.int64)),
            graph=None if graph is None else DeviceGraph(move(graph.edges_GNNR), move(graph.at_T)),
        )

    def gather(self, coin_B: Tensor, start_B: Tensor, length: int) -> tuple[Batch, Tensor]:
        """The chunks that begin at `start_B` and the positions they were read from, `[B, L]`.

        A chunk may reach over either end of time; what lies outside reads as not listed.
        """
        T = self.listed_NT.shape[1]
        time_BL = start_B[..., None] + torch.arange(length, device=start_B.device)
        inside_BL = (time_BL >= 0) & (time_BL < T)
        at_BL = coin_B[..., None] * T + time_BL.clamp(0, T - 1)
        x_BLF = self.x_NTF.flatten(0, 1).index_select(0, at_BL.flatten()).unflatten(0, at_BL.shape)
        listed_BL = self.listed_NT.flatten()[at_BL] & inside_BL
        return Batch(x_BLF, self.coin_N[coin_B], listed_BL, self._edges(coin_B, time_BL)), at_BL

    def _edges(self, coin_B: Tensor, time_BL: Tensor) -> Tensor | None:
        if self.graph is None or coin_B.ndim < 2:
            return None
        return self.graph.edges_GNNR[self.graph.at_T[time_BL[:, 0].clamp(0, len(self.graph.at_T) - 1)]]

    def lesson(self, chunks: tuple[Tensor, Tensor], length: int, lead: int, rows: tuple[int, int]) -> tuple[Batch, Targets]:
        """Chunks of `length` answered bars, `lead` bars before each, and the truth of the listed ones inside `rows`."""
        coin_B, start_B = chunks
        batch, at_BL = self.gather(coin_B, start_B - lead, lead + length)
        time_BL = start_B[..., None] + torch.arange(length, device=start_B.device)
        asked_BL = batch.listed_BL[..., lead:] & (time_BL >= rows[0]) & (time_BL < rows[1])
        return batch, self.targets(at_BL[..., lead:], asked_BL)

    def everyone(self, start: int, together: bool) -> tuple[Tensor, Tensor]:
        """Coins and starts of the chunk of every coin that begins at `start`: `[N]`, or `[1, N]` for a net fed all together."""
        coin_N = torch.arange(len(self.coin_N), device=self.coin_N.device)
        coin_B = coin_N[None] if together else coin_N
        return coin_B, torch.full_like(coin_B, start)

    def stretches(self, rows: tuple[int, int], length: int, grid: int) -> list[tuple[int, int, int]]:
        """`[begin, end)` in pieces to be answered one after another: where reading begins but for the context, and which rows
        of it are wanted. Pieces of `length`, or of `grid` hours of the calendar each read from its first hour on.
        """
        begin, end = rows
        if not grid:
            return [(start, start, min(start + length, end)) for start in range(begin, end, length)]
        first = begin - (begin + self.first_hour) % grid
        return [(start, max(start, begin), min(start + grid, end)) for start in range(first, end, grid)]

    def targets(self, at_BL: Tensor, asked_BL: Tensor) -> Targets:
        """Truth at those positions, NaN where `asked_BL` is false."""
        nan = torch.tensor(float("nan"), device=at_BL.device)
        return Targets(
            torch.where(asked_BL[..., None], self.direction_NT4.flatten(0, 1)[at_BL], nan),
            torch.where(asked_BL[..., None], self.returns_NT3.flatten(0, 1)[at_BL], nan),
            torch.where(asked_BL, self.log_rv_NT.flatten()[at_BL], nan),
        )

    def truth(self, rows: tuple[int, int]) -> Targets:
        """All targets at the decision times `[begin, end)`, `[N, T, ...]`."""
        at = slice(*rows)
        return Targets(self.direction_NT4[:, at], self.returns_NT3[:, at], self.log_rv_NT[:, at])


def chunk_starts(
    panel: DevicePanel, begin: int, end: int, length: int, generator: torch.Generator, *, together: bool = False
) -> tuple[Tensor, Tensor]:
    """One pass over `[begin, end)`: every bar of every coin in exactly one chunk, phases and order drawn at random.

    Returns coins and starts on the CPU, `[chunks]` each, or `[chunks, N]` when all coins go together and share their phase;
    chunks without one listed bar in the range are left out.
    """
    N, T = panel.listed_NT.shape
    phases = 1 if together else N
    per_coin = -(-(end - begin) // length) + 1
    phase_N1 = torch.randint(0, length, (phases, 1), generator=generator)
    start_NP = (begin - phase_N1 + length * torch.arange(per_coin)).expand(N, per_coin)
    coin_NP = torch.arange(N)[:, None].expand(N, per_coin)
    seen = torch.zeros(N, T + 1, dtype=torch.int64)
    seen[:, 1:] = panel.listed_NT.cpu().cumsum(dim=1)
    low, high = start_NP.clamp(begin, end), (start_NP + length).clamp(begin, end)
    keep_NP = seen[coin_NP, high] > seen[coin_NP, low]
    if together:
        keep = keep_NP.any(dim=0)
        coin, start = coin_NP.T[keep], start_NP.T[keep]
    else:
        coin, start = coin_NP[keep_NP], start_NP[keep_NP]
    order = torch.randperm(len(coin), generator=generator)
    return coin[order], start[order]
