"""Causal Transformer over the hours of one coin, with a loss at every bar.

Each coin is a sequence of its own (other coins speak through the features). Attention looks back at most `window` bars, so a
stack of layers sees `context` bars and not one more: a chunk of history and a single window give the same answer at the same
bar, which is what lets one pass over a chunk train on every bar of it. Position enters by rotation (Su et al., RoFormer,
2021), so only distance matters; the hour of the day and of the week are inputs. Pre-normalised blocks with gated feed-forward
(Shazeer 2020): the gate multiplies, and products of inputs (sentiment x funding, return x regime) are what a linear model
lacks.

Shapes: B chunks, L bars, F inputs, D model width, H heads, K head width, W attention window, P blocks of W bars in a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.entry import Entry
from crypto_assets.models.training.heads import Heads, Net, Readout
from crypto_assets.models.training.net import NetModel


@dataclass(frozen=True)
class Config:
    """Size and regularisation. Two layers of 84 bars see a week: 2 x 83 bars back."""

    width: int = 32
    layers: int = 2
    heads: int = 2
    window: int = 84
    hidden: int = 64
    dropout: float = 0.3
    feature_dropout: float = 0.3
    coin_dropout: float = 0.1
    """How often a chunk is read as of an unknown coin; so that one can be."""
    lags: int = 4
    """The coin's own last returns among the inputs."""
    indicators: bool = False
    """One input for each distinct pattern of missing values."""
    recompute: bool = False
    """Gradient checkpointing: recompute a block in the backward pass instead of keeping it."""
    training: Training = field(default_factory=Training)

    @classmethod
    def debug(cls) -> Config:
        """Seconds on one core; for tests."""
        return cls(
            width=16,
            heads=2,
            window=12,
            hidden=32,
            lags=4,
            training=Training(chunk=48, batch=8, passes=2, min_steps=20, max_steps=60, evaluations=4),
        )

    @classmethod
    def small(cls) -> Config:
        """Minutes on two cores for years of sixteen coins."""
        return cls()

    @classmethod
    def full(cls) -> Config:
        """For an accelerator: 512 wide, 8 heads, 6 layers of 168 bars, feed-forward 2048.

        Six layers of 168 bars see six weeks. A gate makes the feed-forward three matrices instead of two.
        """
        return cls(
            width=512,
            layers=6,
            heads=8,
            window=168,
            hidden=2048,
            training=Training(chunk=1008, batch=64, passes=24, max_steps=6000, evaluations=24, lr=5e-4),
        )


class Attention(nn.Module):
    """Causal attention in a band: bar t reads the listed bars among t-W+1 ... t, and always itself.

    Blocks of W bars read themselves and the block before: 2W keys a query instead of L, 1.6 to 2.3 times faster at 512 bars
    on a CPU than one masked square, and linear in L.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.window = config.heads, config.window
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def project(self, h_BLD: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries `[B*P, H, W, K]`, keys and values `[B*P, H, 2W, K]`."""
        q, k, v = self.qkv(h_BLD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = rotate(q, turn), rotate(k, turn)
        q = q.unflatten(1, (-1, self.window)).flatten(0, 1).transpose(1, 2)
        return q, self.with_previous(k), self.with_previous(v)

    def with_previous(self, x_BLHK: Tensor) -> Tensor:
        """Each block preceded by the one before it, the first by zeros."""
        blocks = x_BLHK.unflatten(1, (-1, self.window))
        before = functional.pad(blocks, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]
        return torch.cat([before, blocks], dim=2).flatten(0, 1).transpose(1, 2)

    def forward(self, h_BLD: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """What each bar reads."""
        q, k, v = self.project(h_BLD, turn)
        read = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(read.transpose(1, 2).reshape(h_BLD.shape))

    def before(self, h_BLD: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Keys and values of the W-1 bars before the last, `[B, W-1, 2, H, K]`."""
        _, k, v = self.qkv(h_BLD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        return torch.stack([rotate(k, turn), v], dim=2)[:, -self.window : -1]

    def at_last(self, h_B1D: Tensor, turn: tuple[Tensor, Tensor], may_B11W: Tensor, before: Tensor) -> Tensor:
        """What the last bar reads, itself among what it may."""
        q, k, v = self.qkv(h_B1D).unflatten(-1, (3, self.heads, -1)).unbind(2)
        keys, values = before.unbind(2)
        k, v = torch.cat([keys, rotate(k, turn)], dim=1), torch.cat([values, v], dim=1)
        scores = (rotate(q, turn).transpose(1, 2) @ k.permute(0, 2, 3, 1)) * q.shape[-1] ** -0.5
        read = scores.masked_fill(~may_B11W, -torch.inf).softmax(dim=-1) @ v.transpose(1, 2)
        return self.out(read.transpose(1, 2).flatten(2))

    def weights(self, h_BLD: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """How much each bar reads of itself and the W-1 bars before it, `[B, H, L, W]`, the nearest last; rows sum to 1."""
        q, k, _ = self.project(h_BLD, turn)
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        square = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        W = self.window
        back = torch.arange(W)[:, None] + torch.arange(1, W + 1)
        band = square.gather(-1, back.to(square.device).expand(*square.shape[:2], W, W))
        return band.unflatten(0, (h_BLD.shape[0], -1)).transpose(1, 2).flatten(2, 3)


class Block(nn.Module):
    """Read, then think: attention and a gated feed-forward layer, each around a residual."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm_read, self.norm_think = nn.RMSNorm(config.width), nn.RMSNorm(config.width)
        self.attention = Attention(config)
        self.up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, h_BLD: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Same shape."""
        return self.think(h_BLD + self.dropout(self.attention(self.norm_read(h_BLD), turn, mask)))

    def think(self, h_BLD: Tensor) -> Tensor:
        """The feed-forward layer."""
        gate, value = self.up(self.norm_think(h_BLD)).chunk(2, dim=-1)
        return h_BLD + self.dropout(self.down(functional.silu(gate) * value))


class Module(Net):
    """Inputs of every bar to answers at every bar; the answer at t depends on bars up to t alone."""

    def __init__(self, config: Config, inputs: int, coins: int) -> None:
        super().__init__()
        self.config = config
        self.context = config.layers * (config.window - 1)
        drops = {"feature_dropout": config.feature_dropout, "coin_dropout": config.coin_dropout}
        self.entry = Entry(inputs, coins, config.width, **drops)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(config.width, inputs, coins)

    def forward(self, batch: Batch) -> Heads:
        """Answers at every bar. Bars that are not listed are read by nobody; their own answers mean nothing."""
        h_BLD, turn, mask = self.enter(batch)
        for block in self.blocks:
            if self.config.recompute and self.training:
                h_BLD = checkpoint(block, h_BLD, turn, mask, use_reentrant=False)
            else:
                h_BLD = block(h_BLD, turn, mask)
        length = batch.x_BLF.shape[1]
        return self.readout(self.dropout(self.norm(h_BLD[:, -length:])), batch.x_BLF, batch.coin_B)

    def enter(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """The embedded bars, padded in front to whole blocks; rotations; mask."""
        h_BLD = self.entry(batch)
        pad = -h_BLD.shape[1] % self.config.window
        h_BLD = functional.pad(h_BLD, (0, 0, pad, 0))
        mask = band_mask(functional.pad(batch.listed_BL, (pad, 0)), self.config.window)
        return h_BLD, rotations(h_BLD.shape[1], self.config.width // self.config.heads, h_BLD.device), mask

    def keep(self, batch: Batch) -> tuple[Tensor, ...]:
        """Which of the W-1 bars before the last may be read, where the last one stands, and each layer's keys and values."""
        h_BLD, turn, mask = self.enter(batch)
        listed = functional.pad(batch.listed_BL, (self.config.window, 0))[:, -self.config.window : -1]
        kept = [listed, torch.stack(turn)[:, -1].expand(len(h_BLD), -1, -1, -1)]
        for block in self.blocks:
            assert isinstance(block, Block)
            kept.append(block.attention.before(block.norm_read(h_BLD), turn))
            h_BLD = block(h_BLD, turn, mask)
        return tuple(kept)

    def last(self, x_BF: Tensor, coin_B: Tensor, listed_B: Tensor, *kept: Tensor) -> Heads:
        """One query a layer."""
        listed_BW, turn, *before = kept
        x_B1F, cos, sin = x_BF[:, None], turn[:1, 0], turn[:1, 1]
        may_B11W = torch.cat([listed_BW, torch.ones_like(listed_BW[:, :1])], dim=1)[:, None, None]
        h_B1D = self.entry(Batch(x_B1F, coin_B, listed_B[:, None]))
        for block, one in zip(self.blocks, before, strict=True):
            assert isinstance(block, Block)
            h_B1D = block.think(h_B1D + block.attention.at_last(block.norm_read(h_B1D), (cos, sin), may_B11W, one))
        return self.readout(self.norm(h_B1D), x_B1F, coin_B)

    @torch.no_grad()
    def attention(self, batch: Batch) -> Tensor:
        """Where each bar looks: weights `[layer, B, H, L, W]` over the W bars that end with itself, the nearest last."""
        self.eval()
        h_BLD, turn, mask = self.enter(batch)
        seen = []
        for block in self.blocks:
            assert isinstance(block, Block)
            seen.append(block.attention.weights(block.norm_read(h_BLD), turn, mask)[:, :, -batch.x_BLF.shape[1] :])
            h_BLD = block(h_BLD, turn, mask)
        return torch.stack(seen)


def band_mask(listed_BL: Tensor, window: int) -> Tensor:
    """Which of its 2W keys a query may read, `[B*P, 1, W, 2W]`: not later, within the window, listed; or itself."""
    blocks = listed_BL.unflatten(1, (-1, window))
    keys = torch.cat([functional.pad(blocks, (0, 0, 1, 0))[:, :-1], blocks], dim=2).flatten(0, 1)
    behind = torch.arange(window, device=keys.device)[:, None] + window - torch.arange(2 * window, device=keys.device)
    return (((behind >= 0) & (behind < window) & keys[:, None]) | (behind == 0))[:, None]


def rotations(length: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position and frequency, `[L, 1, K/2]`; the slowest turns once in about 6,000 bars."""
    rate = 1000.0 ** -(torch.arange(0, width, 2, device=device) / width)
    angle = torch.arange(length, device=device)[:, None, None] * rate
    return angle.cos(), angle.sin()


def rotate(x_BLHK: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of numbers by the angle of their position: products then depend on the distance alone."""
    cos, sin = turn
    a, b = x_BLHK.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x_BLHK.dtype)


MODEL = NetModel(
    "transformer",
    Config,
    Module,
    doc="Causal Transformer over the hours of each coin, trained with a loss at every bar.",
)
