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
        return self.read(functional.pad(h_BLC, (0, 0, self.reach, 0)))

    def read(self, h_BLC: Tensor) -> Tensor:
        """The same of bars that are preceded by those it reaches back to."""
        gate, value = self.convolution(h_BLC.transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
        return self.norm(functional.silu(gate) * value)

    def before(self, h_BLC: Tensor) -> Tensor:
        """The bars before the last that it reads there, `[B, reach, C]`."""
        return functional.pad(h_BLC, (0, 0, self.reach, 0))[:, h_BLC.shape[1] - 1 : -1]


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
        self.readout = Readout(config.width, inputs, coins)
        self.context, self.grid = config.memory, config.grid
        _remember(self.lstm)

    def forward(self, batch: Batch) -> Heads:
        """Answers at every bar. A bar that is not listed reads as the middle of everything, and no name."""
        scales = self.see(batch)
        seen_BLS = self.dropout(torch.cat(scales, dim=-1))
        remembered, _ = self.lstm(seen_BLS)
        return self.say(seen_BLS, remembered, batch)

    def see(self, batch: Batch) -> list[Tensor]:
        """The bars as they enter, and what each scale sees, `[B, L, ...]`."""
        scales = [self.norm(self.entry(batch)) * batch.listed_BL[..., None]]
        for scale in self.scales:
            scales.append(scale(scales[-1]))
        return scales

    def say(self, seen_BLS: Tensor, remembered: Tensor, batch: Batch) -> Heads:
        """Answers from what is seen and what is remembered."""
        out_BLD = self.norm_out(self.out(torch.cat([seen_BLS, remembered], dim=-1)))
        return self.readout(self.dropout(out_BLD), batch.x_BLF, batch.coin_B)

    def keep(self, batch: Batch) -> tuple[Tensor, ...]:
        """Memory of the LSTM after the bars before the last, `[B, layers, 2, hidden]`, and what each scale reaches back to."""
        scales = self.see(batch)
        _, (hidden, cell) = self.lstm(torch.cat(scales, dim=-1)[:, :-1])
        reached = [scale.before(h) for scale, h in zip(self._scales(), scales, strict=False)]
        return torch.stack([hidden, cell]).permute(2, 1, 0, 3), *reached

    def last(self, x_BF: Tensor, coin_B: Tensor, listed_B: Tensor, *kept: Tensor) -> Heads:
        """One bar through the scales, one step of the LSTM."""
        memory, *reached = kept
        bar = Batch(x_BF[:, None], coin_B, listed_B[:, None])
        scales = [self.norm(self.entry(bar)) * listed_B[:, None, None]]
        for scale, before in zip(self._scales(), reached, strict=True):
            scales.append(scale.read(torch.cat([before, scales[-1]], dim=1)))
        seen_B1S = torch.cat(scales, dim=-1)
        return self.say(seen_B1S, self._step(seen_B1S[:, 0], memory)[:, None], bar)

    def _step(self, x_BS: Tensor, memory: Tensor) -> Tensor:
        """What the LSTM says to one more bar, written out: as one operator it cannot be exported."""
        for layer in range(self.lstm.num_layers):
            w_x, w_h, b_x, b_h = (
                getattr(self.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            hidden, cell = memory[:, layer, 0], memory[:, layer, 1]
            take, forget, new, show = (x_BS @ w_x.T + b_x + hidden @ w_h.T + b_h).chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + take.sigmoid() * new.tanh()
            x_BS = show.sigmoid() * cell.tanh()
        return x_BS

    def _scales(self) -> list[Scale]:
        return [scale for scale in self.scales if isinstance(scale, Scale)]


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
