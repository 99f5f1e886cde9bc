"""Causal convolutions of several widths into an LSTM, with a loss at every bar.

Three convolutions of growing kernel and channels, one upon the other, see hours, half a day and a day; what each sees goes to
the LSTM side by side, as in Inception (Szegedy et al. 2015). They are causal: padded in front alone. The LSTM (Hochreiter and
Schmidhuber 1997) carries what lasts longer. Its memory has no sharp end, so at forecast it starts afresh at fixed hours of the
calendar, `grid` apart, `memory` bars before the first that it answers: the same forecast from any panel that reaches so far.

Shapes: B chunks, L bars, F inputs, D width, C channels of one scale, S of all scales together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.entry import Entry
from crypto_assets.models.training.heads import Heads, Net, Readout
from crypto_assets.models.training.net import NetModel


@dataclass(frozen=True)
class Config:
    """Size and regularisation."""

    width: int = 32
    channels: tuple[int, ...] = (16, 24, 32)
    kernels: tuple[int, ...] = (3, 5, 9)
    dilations: tuple[int, ...] = (1, 2, 2)
    hidden: int = 32
    layers: int = 1
    memory: int = 168
    """Bars the LSTM reads before the first it answers."""
    grid: int = 336
    """Hours of the calendar between fresh starts of the LSTM at forecast."""
    dropout: float = 0.3
    feature_dropout: float = 0.3
    coin_dropout: float = 0.1
    lags: int = 4
    indicators: bool = False
    training: Training = field(default_factory=Training)

    @classmethod
    def debug(cls) -> Config:
        """Seconds on one core; for tests."""
        return cls(
            width=12,
            channels=(6, 8),
            kernels=(3, 5),
            dilations=(1, 2),
            hidden=12,
            memory=24,
            grid=48,
            training=Training(chunk=48, batch=8, passes=2, min_steps=20, max_steps=60, evaluations=4),
        )

    @classmethod
    def small(cls) -> Config:
        """Minutes on two cores for years of sixteen coins."""
        return cls()

    @classmethod
    def full(cls) -> Config:
        """For an accelerator: 64, 128 and 256 channels, two LSTM layers of 128."""
        return cls(
            width=128,
            channels=(64, 128, 256),
            hidden=128,
            layers=2,
            training=Training(chunk=504, batch=64, passes=24, max_steps=6000, evaluations=24, lr=1e-3),
        )


class Scale(nn.Module):
    """One causal convolution: bar t reads bars t, t-d, t-2d ..."""

    def __init__(self, inputs: int, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.reach = (kernel - 1) * dilation
        self.convolution = nn.Conv1d(inputs, 2 * channels, kernel, dilation=dilation)
        self.norm = nn.RMSNorm(channels)

    def forward(self, h_BLC: Tensor) -> Tensor:
        """`[B, L, channels]`. Half of the convolution gates the other half."""
        padded = functional.pad(h_BLC.transpose(1, 2), (self.reach, 0))
        gate, value = self.convolution(padded).transpose(1, 2).chunk(2, dim=-1)
        return self.norm(functional.silu(gate) * value)


class Module(Net):
    """Inputs of every bar to answers at every bar; the answer at t depends on bars up to t alone."""

    def __init__(self, config: Config, inputs: int, coins: int) -> None:
        super().__init__()
        drops = {"feature_dropout": config.feature_dropout, "coin_dropout": config.coin_dropout}
        self.entry = Entry(inputs, coins, config.width, **drops)
        self.norm = nn.RMSNorm(config.width)
        before = (config.width, *config.channels)
        shapes = zip(before, config.channels, config.kernels, config.dilations, strict=False)
        self.scales = nn.ModuleList(Scale(*shape) for shape in shapes)
        seen = sum(before)
        self.lstm = nn.LSTM(seen, config.hidden, config.layers, batch_first=True, dropout=config.dropout * (config.layers > 1))
        self.out = nn.Linear(seen + config.hidden, config.width)
        self.norm_out = nn.RMSNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.readout = Readout(config.width, inputs)
        self.context, self.grid = config.memory, config.grid
        _remember(self.lstm)

    def forward(self, batch: Batch) -> Heads:
        """Answers at every bar. A bar that is not listed reads as the middle of everything, and no name."""
        h_BLD = self.norm(self.entry(batch)) * batch.listed_BL[..., None]
        scales = [h_BLD]
        for scale in self.scales:
            scales.append(scale(scales[-1]))
        seen_BLS = self.dropout(torch.cat(scales, dim=-1))
        remembered, _ = self.lstm(seen_BLS)
        out_BLD = self.norm_out(self.out(torch.cat([seen_BLS, remembered], dim=-1)))
        return self.readout(self.dropout(out_BLD), batch.x_BLF)


def _remember(lstm: nn.LSTM) -> None:
    """Forget gates begin nearly open, at a half-life of about five bars (Jozefowicz et al. 2015)."""
    size = lstm.hidden_size
    for name, parameter in lstm.named_parameters():
        if "bias_ih" in name:
            nn.init.zeros_(parameter)
            nn.init.constant_(parameter[size : 2 * size], 2.0)
        elif "bias_hh" in name:
            nn.init.zeros_(parameter)


MODEL = NetModel(
    "cnn_lstm",
    Config,
    Module,
    doc="Causal convolutions of several widths into an LSTM over the hours of each coin, with a loss at every bar.",
)
