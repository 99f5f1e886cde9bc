"""A bidirectional LSTM over the window that ends at the answered bar, and attention over what it read.

Both directions stay inside the window: the backward one begins at the answered bar, so nothing later is read. Windows are
views of the panel on the device. A step of the LSTM is a patch of `patch` bars, one convolution over all bars of a chunk that
every window ended there shares (Nie et al., PatchTST, ICLR 2023): a week is then 21 steps instead of 168. Attention (Bahdanau
et al. 2015) asks with the last patch and weighs all of them; `attention` gives the weights.

Shapes: B chunks, L bars read, A answered, W window, S = W / patch steps, F inputs, D width, H hidden of one direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.entry import Entry
from crypto_assets.models.training.heads import Heads, Net, Readout
from crypto_assets.models.training.net import NetModel

SLICE = 4096
"""Windows run at once when none is trained on: a bound on memory."""


@dataclass(frozen=True)
class Config:
    """Size and regularisation."""

    width: int = 32
    hidden: int = 24
    layers: int = 1
    window: int = 168
    patch: int = 8
    dropout: float = 0.3
    feature_dropout: float = 0.3
    coin_dropout: float = 0.1
    lags: int = 4
    indicators: bool = False
    training: Training = field(default_factory=lambda: Training(chunk=24, passes=2.0, max_steps=1500))
    """A chunk of a day is 24 windows that share what is read of each bar: four times faster than windows by themselves."""

    @classmethod
    def debug(cls) -> Config:
        """Seconds on one core; for tests."""
        return cls(
            width=12,
            hidden=8,
            window=12,
            patch=2,
            training=Training(chunk=8, batch=16, passes=2, min_steps=20, max_steps=60, evaluations=4),
        )

    @classmethod
    def small(cls) -> Config:
        """Minutes on two cores for years of sixteen coins."""
        return cls()

    @classmethod
    def full(cls) -> Config:
        """For an accelerator: three layers of 256 in each direction, 168 steps of one bar."""
        return cls(
            width=256,
            hidden=256,
            layers=3,
            patch=1,
            training=Training(chunk=24, batch=64, passes=12, max_steps=6000, evaluations=24, lr=1e-3),
        )


class Module(Net):
    """Windows to one answer each."""

    def __init__(self, config: Config, inputs: int, coins: int) -> None:
        super().__init__()
        if config.window % config.patch:
            raise ValueError(f"a window of {config.window} bars is no whole number of patches of {config.patch}")
        self.window, self.patch = config.window, config.patch
        self.context = self.lead = config.window - 1
        drops = {"feature_dropout": config.feature_dropout, "coin_dropout": config.coin_dropout}
        self.entry = Entry(inputs, coins, config.width, **drops)
        self.norm = nn.RMSNorm(config.width)
        self.patches = nn.Conv1d(config.width, 2 * config.width, config.patch)
        between = config.dropout * (config.layers > 1)
        sizes = {"hidden_size": config.hidden, "num_layers": config.layers}
        self.lstm = nn.LSTM(config.width, **sizes, batch_first=True, bidirectional=True, dropout=between)
        self.key = nn.Linear(2 * config.hidden, config.hidden)
        self.query = nn.Linear(2 * config.hidden, config.hidden)
        self.score = nn.Linear(config.hidden, 1, bias=False)
        self.out = nn.Linear(4 * config.hidden + config.width, config.width)
        self.norm_out = nn.RMSNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(config.width, inputs, coins)

    def forward(self, batch: Batch) -> Heads:
        """Answers at the last `L - W + 1` bars."""
        h_BAD, _ = self.read_all(batch)
        return self.readout(h_BAD, batch.x_BLF[:, self.lead :], batch.coin_B)

    def read_all(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What every window says, `[B, A, D]`, and how it weighed its steps, `[B, A, S]`."""
        steps_BASD, listed_BAS = self.windows(batch)
        B, A = steps_BASD.shape[:2]
        size = A if self.training else max(1, SLICE // B)
        slices = zip(steps_BASD.split(size, dim=1), listed_BAS.split(size, dim=1), strict=True)
        read = [self.read(s.flatten(0, 1), m.flatten(0, 1)) for s, m in slices]
        said, weights = (torch.cat([part.unflatten(0, (B, -1)) for part in parts], dim=1) for parts in zip(*read, strict=True))
        return said, weights

    def windows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The steps of the window ended at each answered bar, `[B, A, S, D]`, views of one memory; which hold a listed bar."""
        patches_BLD = self.patched(self.norm(self.entry(batch)) * batch.listed_BL[..., None]).contiguous()
        listed_BL = batch.listed_BL.unfold(1, self.patch, 1).any(dim=-1).contiguous()
        B, _, D = patches_BLD.shape
        A, S = batch.x_BLF.shape[1] - self.lead, self.window // self.patch
        whole, bar, one = patches_BLD.stride()
        steps = patches_BLD.as_strided((B, A, S, D), (whole, bar, self.patch * bar, one))
        return steps, listed_BL.as_strided((B, A, S), (listed_BL.stride(0), 1, self.patch))

    def patched(self, h_BLD: Tensor) -> Tensor:
        """The patch that ends at each bar from the `patch`-th on."""
        gate, value = self.patches(h_BLD.transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * value

    def keep(self, batch: Batch) -> tuple[Tensor, ...]:
        """All steps of the window but the last, `[B, S-1, D]`, which hold a listed bar, and the bars of the last but one."""
        steps, listed = self.windows(batch)
        h_BLD = self.norm(self.entry(batch)) * batch.listed_BL[..., None]
        return steps[:, -1, :-1], listed[:, -1, :-1], h_BLD[:, h_BLD.shape[1] - self.patch : -1]

    def last(self, x_BF: Tensor, coin_B: Tensor, listed_B: Tensor, *kept: Tensor) -> Heads:
        """The last patch, and the window read with it."""
        steps_BSD, listed_BS, bars_BPD = kept
        x_B1F = x_BF[:, None]
        h_B1D = self.norm(self.entry(Batch(x_B1F, coin_B, listed_B[:, None]))) * listed_B[:, None, None]
        steps_BSD = torch.cat([steps_BSD, self.patched(torch.cat([bars_BPD, h_B1D], dim=1))], dim=1)
        said_BD, _ = self.read(steps_BSD, torch.cat([listed_BS, listed_B[:, None]], dim=1))
        return self.readout(said_BD[:, None], x_B1F, coin_B)

    def read(self, steps_VSD: Tensor, listed_VS: Tensor) -> tuple[Tensor, Tensor]:
        """What each of V windows says, `[V, D]`, and how it weighed its steps, `[V, S]`; those without a listed bar by 0."""
        both_VSH, _ = self.lstm(steps_VSD)
        last_VH = both_VSH[:, -1]
        scores_VS = self.score(torch.tanh(self.key(both_VSH) + self.query(last_VH)[:, None]))[..., 0]
        may_VS = listed_VS.clone()
        may_VS[:, -1] = True
        weights_VS = scores_VS.masked_fill(~may_VS, -torch.inf).softmax(dim=-1)
        summary_VH = (weights_VS[:, None] @ both_VSH)[:, 0]
        seen = torch.cat([summary_VH, last_VH, steps_VSD[:, -1]], dim=-1)
        return self.dropout(self.norm_out(self.out(self.dropout(seen)))), weights_VS

    @torch.no_grad()
    def attention(self, batch: Batch) -> Tensor:
        """Where each answered bar looks: weights `[B, A, S]` over the steps of its window, the nearest last; rows sum to 1."""
        self.eval()
        return self.read_all(batch)[1]


MODEL = NetModel(
    "bi_lstm",
    Config,
    Module,
    doc="Bidirectional LSTM with attention over the window of each coin that ends at the answered bar.",
)
