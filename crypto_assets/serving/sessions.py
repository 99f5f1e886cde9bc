"""A net made ready to answer: exported to ONNX and run by onnxruntime, or by torch where it cannot be exported, and why.

A session answers the last bar of `context + 1` bars of any number of coins. The export lies in the lake's cache under the
checkpoint's version and is made once, in a process of its own, because tracing a net holds the interpreter's lock for seconds.
Providers, the first that is installed: TensorRT, CUDA, MIGraphX, CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crypto_assets.market.errors import CheckpointError
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import load

if TYPE_CHECKING:
    from crypto_assets.models.training.calibration import Calibration
    from crypto_assets.models.training.heads import Net
    from crypto_assets.models.training.inputs import Inputs

OPSET = 20
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "MIGraphXExecutionProvider", "CPUExecutionProvider")
PARITY = 1e-5
"""Most by which an answer of the export may differ from torch's, relative to the larger of 1 and itself."""
EXPORT_S = 300
INPUTS = ("x_BLF", "coin_B", "listed_BL")
OUTPUTS = ("logits_B4", "mean_B3", "log_var_B3", "log_rv_B", "linear_B4")


class OnnxSession:
    """An exported net in onnxruntime."""

    engine, reason = "onnxruntime", ""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        there = ort.get_available_providers()
        self.providers = [p for p in PROVIDERS if p in there]
        self._session = ort.InferenceSession(str(path), options, providers=self.providers)

    def run(self, x_BLF: np.ndarray, coin_B: np.ndarray, listed_BL: np.ndarray) -> list[np.ndarray]:
        """Heads at the last bar, in the order of OUTPUTS."""
        return self._session.run(None, dict(zip(INPUTS, (x_BLF, coin_B, listed_BL), strict=True)))


class TorchSession:
    """The same of a net as it is."""

    engine = "torch"

    def __init__(self, checkpoint: Checkpoint, reason: str = "") -> None:
        self.reason = reason
        self._module = last_bar(checkpoint)

    def run(self, x_BLF: np.ndarray, coin_B: np.ndarray, listed_BL: np.ndarray) -> list[np.ndarray]:
        """Heads at the last bar, in the order of OUTPUTS."""
        import torch

        with torch.inference_mode():
            heads = self._module(*(torch.from_numpy(a) for a in (x_BLF, coin_B, listed_BL)))
        return [h.numpy() for h in heads]


Session = OnnxSession | TorchSession


def open_session(checkpoint: Checkpoint, cache: Path) -> Session:
    """The net of a checkpoint, warmed up. Its export is taken from `cache`, or made and checked against torch first."""
    path = cache / f"{checkpoint.version}-{OPSET}.onnx"
    refused = path.with_suffix(".txt")
    if not path.exists() and not refused.exists():
        _export_apart(checkpoint, path, refused)
    session = OnnxSession(path) if path.exists() else TorchSession(checkpoint, refused.read_text())
    session.run(*sample(checkpoint, 1))
    session.run(*sample(checkpoint, len(checkpoint.symbols)))
    return session


def last_bar(checkpoint: Checkpoint) -> Any:
    """The checkpoint's net as a module from (x, coin, listed) to the heads at the last bar, on the CPU."""
    import torch
    from torch import nn

    from crypto_assets.models.training.device import Batch

    _, net, _ = unpacked(checkpoint)
    if net.together:
        raise CheckpointError(f"{checkpoint.model} reads all coins together: it has no session of single coins")

    class LastBar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x_BLF: torch.Tensor, coin_B: torch.Tensor, listed_BL: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(h[:, -1] for h in self.net(Batch(x_BLF, coin_B, listed_BL)))

    return LastBar().eval()


def sample(checkpoint: Checkpoint, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs of the right shape: noise, coins in turn, a tenth of the bars not listed."""
    inputs, net, _ = unpacked(checkpoint)
    rng = np.random.default_rng(seed)
    shape = (size, net.context + 1)
    x_BLF = rng.normal(size=(*shape, inputs.width)).astype(np.float32)
    listed_BL = rng.random(shape) > 0.1
    listed_BL[:, -1] = True
    return x_BLF * listed_BL[..., None], np.arange(size) % len(checkpoint.symbols) + 1, listed_BL


def unpacked(checkpoint: Checkpoint) -> tuple[Inputs, Net, Calibration]:
    """Preparation, net (on the CPU, not training) and calibration of a net's checkpoint."""
    import torch

    from crypto_assets.models.training.calibration import Calibration
    from crypto_assets.models.training.inputs import Inputs

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {k.removeprefix(prefix): v for k, v in checkpoint.tensors.items() if k.startswith(prefix)}

    model: Any = load(checkpoint.model)
    width = checkpoint.tensors["net.readout.wide.weight"].shape[1]
    net = model.module_class(model.read_config(checkpoint.config), width, len(checkpoint.symbols))
    net.load_state_dict({k: torch.tensor(v) for k, v in under("net.").items()})
    return Inputs.restore(under("inputs.")), net.eval(), Calibration.restore(under("calibration."))


def export(checkpoint: Checkpoint, path: Path) -> None:
    """Write the net as ONNX after checking its answers against torch's. Raises CheckpointError when they differ."""
    import torch

    module = last_bar(checkpoint)
    inputs = tuple(torch.from_numpy(a) for a in sample(checkpoint, 3))
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = tuple({0: batch} for _ in inputs)
    with torch.inference_mode():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}-{path.name}")
    program.save(str(aside), external_data=False)
    difference = apart(OnnxSession(aside), TorchSession(checkpoint), checkpoint)
    if not difference <= PARITY:
        aside.unlink()
        raise CheckpointError(
            f"the export of {checkpoint.model} differs from torch by {difference:.1e}, more than {PARITY:.0e}"
        )
    os.replace(aside, path)


def apart(one: Session, other: Session, checkpoint: Checkpoint, sizes: Sequence[int] = (1, 2, 5)) -> float:
    """The largest difference between the answers of two sessions, relative to the larger of 1 and the answer."""
    worst = 0.0
    for size in sizes:
        asked = sample(checkpoint, size, seed=size)
        for a, b in zip(one.run(*asked), other.run(*asked), strict=True):
            worst = max(worst, float(np.max(np.abs(a - b) / np.maximum(1.0, np.abs(b)))))
    return worst


def _export_apart(checkpoint: Checkpoint, path: Path, refused: Path) -> None:
    """Export in another process; what it says when it cannot is kept in `refused`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = checkpoint.save(path.parent / f"{checkpoint.version}.checkpoint")
    command = [sys.executable, "-m", "crypto_assets.serving.sessions", str(folder), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=EXPORT_S, check=False)
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    except subprocess.TimeoutExpired:
        said = f"no export within {EXPORT_S} s"
    if not path.exists():
        refused.write_text(said[:400])


if __name__ == "__main__":
    export(Checkpoint.load(Path(sys.argv[1])), Path(sys.argv[2]))
