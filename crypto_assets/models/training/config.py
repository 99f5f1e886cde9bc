"""How a net is trained, what is said of it on the way, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from crypto_assets.models.training.heads import Weights
from crypto_assets.models.training.linear import Shrinkage
from crypto_assets.models.training.switches import Switches


@dataclass(frozen=True)
class Training:
    """How a net is trained. A step reads `batch` chunks of `chunk` bars, in `accumulate` parts with one gradient."""

    chunk: int = 336
    batch: int = 16
    passes: float = 6.0
    """Times every bar is seen, between `min_steps` and `max_steps`. Few: on weeks of history more passes only memorise."""
    min_steps: int = 10
    max_steps: int = 2000
    evaluations: int = 10
    """Looks at the validation slice in a full run."""
    patience: int = 4
    lr: float = 2e-3
    weight_decay: float = 0.1
    warmup: float = 0.1
    clip: float = 1.0
    ema_share: float = 0.1
    """Half-life of the weight average as a share of the run."""
    accumulate: int = 1
    """Doubled whenever a step runs out of memory."""
    amsgrad: bool = False
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["off", "on", "graphs"] = "off"
    """`torch.compile` for training; `graphs` with CUDA graphs. Off until `benchmarks/gpu.py` shows a gain on your card."""
    members: int = 1
    """Seeds of the net that are trained one after another and answer as one."""
    weights: Weights = field(default_factory=Weights)
    switches: Switches = field(default_factory=Switches)

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> Training:
        """From plain JSON, as a checkpoint keeps it; what an older one does not name has its default."""
        plain = {k: v for k, v in values.items() if k not in ("weights", "switches")}
        weights: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["weights"].items()}
        return cls(**plain, weights=Weights(**weights), switches=Switches(**values.get("switches", {})))


@dataclass(frozen=True)
class Progress:
    """One look at the validation slice."""

    step: int
    steps: int
    train_loss: float
    valid_log_loss: float
    best: bool


@dataclass(frozen=True)
class Fitted:
    """The best averaged weights, how the linear path was shrunk, when they were reached, and what was seen on the way."""

    weights: dict[str, Tensor]
    linear: Shrinkage
    step: int
    steps: int
    history: tuple[Progress, ...]
