"""A graph network: coins are nodes, edges are the graph of the market as known at each bar, one forecast for each coin.

A block lets coins speak at the same hour, then each remember, then think. What a coin hears is the sum of three: attention over
its neighbours (GATv2, Brody, Alon and Yahav, ICLR 2022), which sees the numbers on the edges and decides whom to hear; what
comes along the edges times those numbers, sign and size included, because attention cannot turn a sign around; and the mean of
all coins, which a regime of the whole market needs. Memory is a bank of exponential averages, from hours to weeks, each cut
off after `memory` bars so that the context is exact (a linear recurrence with real decays, Orvieto et al., ICML 2023).

The layers between coins are computed densely, all pairs with a mask, which for up to 50 coins is faster than gathering edges.
`sparse` has torch_geometric's `GATv2Conv` and `GraphConv` compute them from lists of edges: same weights, same numbers.

Shapes: B chunks, N coins, L bars, F inputs, D width, H heads, C = D / H, R numbers on an edge, K kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.edges import NUMBERS, EdgeRule
from crypto_assets.models.training.entry import Entry
from crypto_assets.models.training.heads import Heads, Net, Readout
from crypto_assets.models.training.net import NetModel

SLOPE = 0.2
"""Of the leaky rectifier in the attention, as in the paper."""


@dataclass(frozen=True)
class Config:
    """Size and regularisation."""

    width: int = 32
    heads: int = 4
    hidden: int = 48
    memory: tuple[int, ...] = (24, 336)
    """Bars that each block remembers."""
    decays: int = 8
    """Exponential averages of different length in a memory, each over `width / decays` channels."""
    dropout: float = 0.2
    feature_dropout: float = 0.3
    coin_dropout: float = 0.1
    lags: int = 4
    indicators: bool = False
    sparse: bool = False
    """Whether torch_geometric computes the layers between coins."""
    edges: EdgeRule = field(default_factory=EdgeRule)
    training: Training = field(default_factory=lambda: Training(batch=1, passes=4.0, max_steps=300))
    """A chunk of all coins is many: steps are few, so that four years of sixteen coins stay within minutes."""

    @classmethod
    def debug(cls) -> Config:
        """Seconds on one core; for tests."""
        return cls(
            width=16,
            heads=2,
            hidden=24,
            memory=(6, 24),
            decays=4,
            edges=EdgeRule(hours=168),
            training=Training(chunk=48, batch=2, passes=2, min_steps=20, max_steps=60, evaluations=4),
        )

    @classmethod
    def small(cls) -> Config:
        """Minutes on two cores for years of sixteen coins."""
        return cls()

    @classmethod
    def full(cls) -> Config:
        """For an accelerator: 64 wide with 4 heads."""
        return cls(
            width=64,
            hidden=128,
            training=Training(chunk=504, batch=8, passes=24, max_steps=6000, evaluations=24, lr=1e-3),
        )


class Attention(nn.Module):
    """GATv2 over the edges into each coin, itself among them. Parameters are named as in torch_geometric's `GATv2Conv`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.lin_l, self.lin_r = nn.Linear(width, width), nn.Linear(width, width)
        self.lin_edge = nn.Linear(len(NUMBERS), width, bias=False)
        self.att = nn.Parameter(torch.empty(1, heads, width // heads))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.att)

    def weights(self, h_GND: Tensor, edges_GNNR: Tensor, may_GNN: Tensor) -> Tensor:
        """How much each coin hears of each other, `[G, N, N, H]`; rows sum to 1, or to 0 for a coin with no edge."""
        heard, hearing = self.lin_l(h_GND)[:, None], self.lin_r(h_GND)[:, :, None]
        both = functional.leaky_relu(heard + hearing + self.lin_edge(edges_GNNR), SLOPE)
        scores = (both.unflatten(-1, (self.heads, -1)) * self.att).sum(dim=-1)
        return scores.masked_fill(~may_GNN[..., None], -torch.inf).softmax(dim=2).nan_to_num()

    def forward(self, h_GND: Tensor, edges_GNNR: Tensor, may_GNN: Tensor) -> Tensor:
        """What each coin hears."""
        values = self.lin_l(h_GND).unflatten(-1, (self.heads, -1))
        heard = torch.einsum("gijh,gjhc->gihc", self.weights(h_GND, edges_GNNR, may_GNN), values)
        return heard.flatten(-2) + self.bias


class Exchange(nn.Module):
    """What reaches a coin from the others at one hour."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width)
        self.attention = Attention(config.width, config.heads)
        self.along = nn.ModuleList(nn.Linear(config.width, config.width, bias=False) for _ in NUMBERS)
        self.market = nn.Linear(config.width, config.width, bias=False)
        self.sparse = config.sparse

    def forward(self, h_GND: Tensor, edges_GNNR: Tensor, listed_GN: Tensor, dense: bool = False) -> Tensor:
        """`[G, N, D]`, of one hour each; coins that are not listed are heard by none. `dense`: by pairs in any case."""
        z_GND = self.norm(h_GND) * listed_GN[..., None]
        edges, may = self.open(edges_GNNR, listed_GN)
        market = z_GND.sum(dim=1, keepdim=True) / listed_GN.sum(dim=1).clamp(min=1)[:, None, None]
        heard = self.by_edges(z_GND, edges, may) if self.sparse and not dense else self.by_pairs(z_GND, edges, may)
        return heard + self.market(market)

    def open(self, edges_GNNR: Tensor, listed_GN: Tensor) -> tuple[Tensor, Tensor]:
        """Edges between listed coins, each coin's correlation with itself among them, and where there is one."""
        both = listed_GN[:, :, None] & listed_GN[:, None]
        own = torch.eye(listed_GN.shape[1], dtype=edges_GNNR.dtype, device=edges_GNNR.device)
        edges = (edges_GNNR + functional.pad(own[..., None], (0, len(NUMBERS) - 1))) * both[..., None]
        return edges, (edges != 0).any(dim=-1)

    def by_pairs(self, z_GND: Tensor, edges_GNNR: Tensor, may_GNN: Tensor) -> Tensor:
        """All pairs, those without an edge masked."""
        heard = self.attention(z_GND, edges_GNNR, may_GNN)
        for r, along in enumerate(self.along):
            heard = heard + along(edges_GNNR[..., r] @ z_GND)
        return heard

    def by_edges(self, z_GND: Tensor, edges_GNNR: Tensor, may_GNN: Tensor) -> Tensor:
        """The same by torch_geometric, from a list of the edges of all hours."""
        G, N, D = z_GND.shape
        g, to, origin = may_GNN.nonzero(as_tuple=True)
        index, numbers = torch.stack([g * N + origin, g * N + to]), edges_GNNR[g, to, origin]
        nodes = z_GND.reshape(G * N, D)
        attention, along = _pyg(D, self.attention.heads)
        own: dict[str, Tensor] = dict(self.attention.named_parameters())
        heard = torch.func.functional_call(attention, own, (nodes, index, numbers))
        for r, linear in enumerate(self.along.parameters()):
            weights: dict[str, Tensor] = {"lin_rel.weight": linear, "lin_root.weight": torch.zeros_like(linear)}
            heard = heard + torch.func.functional_call(along, weights, (nodes, index, numbers[:, r]))
        return heard.unflatten(0, (G, N))


class Memory(nn.Module):
    """Exponential averages of what was, gated by what is."""

    def __init__(self, config: Config, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.norm = nn.RMSNorm(config.width)
        self.value = nn.Linear(config.width, config.width, bias=False)
        self.gate = nn.Linear(config.width, config.width)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.log_life = nn.Parameter(torch.linspace(0.0, 1.0, config.decays) * torch.log(torch.tensor(kernel / 2.0)))

    def forward(self, h_BNLD: Tensor, listed_BNL: Tensor) -> Tensor:
        """Same shape."""
        z = self.norm(h_BNLD)
        value = (self.value(z) * listed_BNL[..., None]).unflatten(-1, (len(self.log_life), -1))
        average = torch.einsum("mts,bnsmc->bntmc", self.weights(h_BNLD.shape[2]), value).flatten(-2)
        return self.out(average * functional.silu(self.gate(z)))

    def before(self, h_BNLD: Tensor, listed_BNL: Tensor) -> Tensor:
        """What the bars before the last are in the averages there, `[B, N, D]`."""
        value = self.value(self.norm(h_BNLD[:, :, :-1])) * listed_BNL[:, :, :-1, None]
        weights_ML = self.weights(h_BNLD.shape[2])[:, -1, :-1]
        return torch.einsum("ms,bnsmc->bnmc", weights_ML, value.unflatten(-1, (len(self.log_life), -1))).flatten(-2)

    def at_last(self, h_BND: Tensor, listed_BN: Tensor, before: Tensor) -> Tensor:
        """The averages at the last bar."""
        z = self.norm(h_BND)
        value = (self.value(z) * listed_BN[..., None]).unflatten(-1, (len(self.log_life), -1))
        own_M = 1 - torch.exp(-1 / self.log_life.exp())
        return self.out((before + (value * own_M[:, None]).flatten(-2)) * functional.silu(self.gate(z)))

    def weights(self, length: int) -> Tensor:
        """Weight of bar s in the averages at bar t, `[M, t, s]`: lives of 1 bar to half the kernel to begin with."""
        back = torch.arange(length, device=self.log_life.device)
        back = back[:, None] - back
        decay = torch.exp(-back.clamp(min=0) / self.log_life.exp()[:, None, None])
        total = (1 - torch.exp(-1 / self.log_life.exp()))[:, None, None]
        return torch.where((back >= 0) & (back < self.kernel), decay * total, 0.0)


class Block(nn.Module):
    """Hear, remember, think: each around a residual."""

    def __init__(self, config: Config, kernel: int) -> None:
        super().__init__()
        self.exchange, self.memory = Exchange(config), Memory(config, kernel)
        self.norm = nn.RMSNorm(config.width)
        self.up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h_BNLD: Tensor, batch: Batch) -> Tensor:
        """Same shape."""
        h_BNLD = self.hear(h_BNLD, batch)
        return self.think(h_BNLD + self.dropout(self.memory(h_BNLD, batch.listed_BL)))

    def hear(self, h_BNLD: Tensor, batch: Batch) -> Tensor:
        """With what the others say at the same hour."""
        assert batch.edges_BLNNR is not None
        hours = h_BNLD.transpose(1, 2)
        heard = self.exchange(
            hours.flatten(0, 1), batch.edges_BLNNR.flatten(0, 1), batch.listed_BL.transpose(1, 2).flatten(0, 1)
        )
        return h_BNLD + self.dropout(heard.unflatten(0, hours.shape[:2]).transpose(1, 2))

    def think(self, h_BNLD: Tensor) -> Tensor:
        """The feed-forward layer."""
        gate, value = self.up(self.norm(h_BNLD)).chunk(2, dim=-1)
        return h_BNLD + self.dropout(self.down(functional.silu(gate) * value))

    def at_last(self, h_BND: Tensor, edges_BNNR: Tensor, listed_BN: Tensor, before: Tensor) -> Tensor:
        """The same at the last bar alone; `before`: what its memory has of those before."""
        h_BND = h_BND + self.exchange(h_BND, edges_BNNR, listed_BN, dense=True)
        return self.think(h_BND + self.memory.at_last(h_BND, listed_BN, before))


class Module(Net):
    """Inputs of every bar of every coin to answers at every bar; the order of the coins does not matter."""

    together = True

    def __init__(self, config: Config, inputs: int, coins: int) -> None:
        super().__init__()
        self.context = sum(kernel - 1 for kernel in config.memory)
        drops = {"feature_dropout": config.feature_dropout, "coin_dropout": config.coin_dropout}
        self.entry = Entry(inputs, coins, config.width, **drops)
        self.blocks = nn.ModuleList(Block(config, kernel) for kernel in config.memory)
        self.norm = nn.RMSNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(config.width, inputs, coins)

    def forward(self, batch: Batch) -> Heads:
        """Answers of every coin at every bar, `[B, N, L, ...]`; those of a coin that is not listed mean nothing."""
        h_BNLD = self.entry(batch)
        for block in self.blocks:
            h_BNLD = block(h_BNLD, batch)
        return self.readout(self.dropout(self.norm(h_BNLD)), batch.x_BLF, batch.coin_B)

    def keep(self, batch: Batch) -> tuple[Tensor, ...]:
        """The graph of the last bar, `[1, N, N, R]`, and what each block's memory has of the bars before it, `[1, N, D]`."""
        assert batch.edges_BLNNR is not None
        h_BNLD, kept = self.entry(batch), [batch.edges_BLNNR[:, -1]]
        for block in self._blocks():
            kept.append(block.memory.before(block.hear(h_BNLD, batch), batch.listed_BL))
            h_BNLD = block(h_BNLD, batch)
        return tuple(kept)

    def last(self, x_BF: Tensor, coin_B: Tensor, listed_B: Tensor, *kept: Tensor) -> Heads:
        """One hour of all coins, `[B, N, ...]`: each of B is a market of its own with the same past."""
        edges, *before = kept
        x_BN1F = x_BF[:, :, None]
        h_BND = self.entry(Batch(x_BN1F, coin_B, listed_B[..., None]))[:, :, 0]
        edges_BNNR = edges.expand(h_BND.shape[0], -1, -1, -1)
        for block, one in zip(self._blocks(), before, strict=True):
            h_BND = block.at_last(h_BND, edges_BNNR, listed_B, one)
        return self.readout(self.norm(h_BND)[:, :, None], x_BN1F, coin_B)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    @torch.no_grad()
    def attention(self, batch: Batch) -> Tensor:
        """Whom each coin hears, `[block, B, L, N, N, H]`: to a coin (first N) from another; rows sum to 1."""
        self.eval()
        assert batch.edges_BLNNR is not None
        h_BNLD, seen = self.entry(batch), []
        listed_GN = batch.listed_BL.transpose(1, 2).flatten(0, 1)
        for block in self.blocks:
            assert isinstance(block, Block)
            z_GND = block.exchange.norm(h_BNLD.transpose(1, 2).flatten(0, 1)) * listed_GN[..., None]
            edges, may = block.exchange.open(batch.edges_BLNNR.flatten(0, 1), listed_GN)
            weights = block.exchange.attention.weights(z_GND, edges, may)
            seen.append(weights.unflatten(0, batch.edges_BLNNR.shape[:2]))
            h_BNLD = block(h_BNLD, batch)
        return torch.stack(seen)


def _pyg(width: int, heads: int) -> tuple[Any, Any]:
    """torch_geometric's layers, without weights of their own; imported here because it takes seconds."""
    from torch_geometric.nn import GATv2Conv, GraphConv

    options = {"negative_slope": SLOPE, "add_self_loops": False, "edge_dim": len(NUMBERS)}
    with torch.device("meta"):
        return GATv2Conv(width, width // heads, heads, **options), GraphConv(width, width, bias=False)


MODEL = NetModel(
    "graph",
    Config,
    Module,
    doc="Graph attention network over all coins at once, with the as-of correlation and lead-lag graph between them.",
)
