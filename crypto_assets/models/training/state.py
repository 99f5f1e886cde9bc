"""Everything that changes while a net is trained, and how it is kept: killed at any step, a fit goes on from its last state.

One safetensors file with JSON in its header, replaced atomically; no pickles. On a CPU the resumed fit ends in the same bits.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crypto_assets.lake.store import write_bytes
from crypto_assets.models.training.config import Progress
from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.ema import Ema
from crypto_assets.models.training.steps import Batches, Learner

SECONDS = 60.0
"""Between two states that are kept: what a kill may cost, far above the fraction of a second that keeping one takes."""


@dataclass
class Run:
    """One fit on its way. `step` is the last one that was finished, -1 before the look at step 0."""

    learner: Learner
    batches: Batches
    ema: Ema
    steps: int
    best: dict[str, Tensor]
    step: int = -1
    best_score: float = math.inf
    best_step: int = -1
    is_over: bool = False
    history: list[Progress] = field(default_factory=list)
    curves: list[tuple[str, int, float]] = field(default_factory=list)
    running: list[Tensor] = field(default_factory=list)
    """Losses since the last look."""

    def tensors(self) -> dict[str, Tensor]:
        """What of it are tensors, by name."""
        moments = self.learner.optimizer.state_dict()["state"]
        found = {f"module.{k}": v for k, v in self.learner.module.state_dict().items()}
        found |= {f"ema.{k}": v for k, v in self.ema.sums.items()}
        found |= {f"best.{k}": v for k, v in self.best.items()}
        found |= {f"moment.{i}.{name}": v for i, values in moments.items() for name, v in values.items()}
        found |= {"batches.generator": self.batches.generator.get_state(), "random": torch.get_rng_state()}
        found |= {"batches.coins": self.batches.coins, "batches.starts": self.batches.starts}
        found |= {"running": torch.stack(self.running) if self.running else torch.zeros(0)}
        if torch.cuda.is_available():
            found["random.cuda"] = torch.cuda.get_rng_state()
        return {k: v.detach().cpu().contiguous().clone() for k, v in found.items()}

    def facts(self) -> dict[str, Any]:
        """The rest, as plain JSON."""
        return {
            "step": self.step,
            "best_score": self.best_score,
            "best_step": self.best_step,
            "is_over": self.is_over,
            "ema_mass": self.ema.mass,
            "accumulate": self.learner.accumulate,
            "history": [asdict(p) for p in self.history],
            "curves": self.curves,
        }

    def put_back(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """The inverse of `tensors` and `facts`, into a fresh run of the same fit."""
        device = self.batches.device
        self.learner.module.load_state_dict({k: v.to(device) for k, v in _under(tensors, "module.").items()})
        for name, value in _under(tensors, "ema.").items():
            self.ema.sums[name].copy_(value)
        self.best = {k: v.to(device) for k, v in _under(tensors, "best.").items()}
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, "moment.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        optimizer = self.learner.optimizer
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
        self.batches.generator.set_state(tensors["batches.generator"])
        self.batches.coins, self.batches.starts = tensors["batches.coins"], tensors["batches.starts"]
        self.running = list(tensors["running"].to(device))
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        self.step, self.best_score, self.best_step = facts["step"], facts["best_score"], facts["best_step"]
        self.is_over, self.ema.mass, self.learner.accumulate = facts["is_over"], facts["ema_mass"], facts["accumulate"]
        self.history = [Progress(**p) for p in facts["history"]]
        self.curves = [(name, step, value) for name, step, value in facts["curves"]]


@dataclass
class Keeper:
    """Keeps the state of one fit at `path`, now and then. `fingerprint` says which fit: configuration and data."""

    path: Path
    fingerprint: str
    _last: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, folder: Path, data: DevicePanel, *what: Any, seed: int) -> Keeper:
        """The keeper of the fit of a seed, in `folder`."""
        return cls(folder / f"seed-{seed}.safetensors", fingerprint(data, seed, *what))

    def restore(self, run: Run) -> bool:
        """Put the kept state into `run`; False, with the reason as a warning, where there is none that fits."""
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, "pt") as file:
                header = json.loads(file.metadata()["facts"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"the training state {self.path} is damaged ({error}): starting again", stacklevel=2)
            return False
        if header["fingerprint"] != self.fingerprint:
            told = f"the training state {self.path} is of another configuration or other data: starting again"
            warnings.warn(told, stacklevel=2)
            return False
        run.put_back(tensors, header)
        warnings.warn(f"training goes on after step {run.step} of {run.steps} ({self.path})", stacklevel=2)
        return True

    def save(self, run: Run, *, now: bool = False) -> None:
        """Write the state, unless that was done within the last SECONDS and need not be `now`."""
        from safetensors.torch import save

        if not now and time.monotonic() - self._last < SECONDS:
            return
        facts = json.dumps({"fingerprint": self.fingerprint, **run.facts()})
        write_bytes(self.path, save(run.tensors(), metadata={"facts": facts}))
        self._last = time.monotonic()


def fingerprint(data: DevicePanel, *what: Any) -> str:
    """A hash of the numbers of a panel and of anything that prints as what it is (a frozen config, rows, a seed)."""
    digest = hashlib.sha256(repr((torch.__version__, what)).encode())
    for tensor in (data.x_NTF, data.listed_NT, data.direction_NT4, data.returns_NT3, data.log_rv_NT):
        digest.update(tensor.cpu().numpy().data)
    return digest.hexdigest()


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
