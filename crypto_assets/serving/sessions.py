"""A net made ready to answer: exported to ONNX and run by onnxruntime, or by torch where it cannot be exported, and why.

A session answers one bar from what the bars before have left behind (`Net.keep`, `Net.last`), of any number of coins, or of
markets for a net that reads all coins together. The export lies in the lake's cache under the checkpoint's version and is made
once, in a process of its own, because tracing a net holds the interpreter's lock for seconds. Providers, the first that is
installed: TensorRT, CUDA, MIGraphX, CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crypto_assets.market.errors import CheckpointError
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.registry import load

if TYPE_CHECKING:
    from crypto_assets.models.training.heads import Net

OPSET = 20
FORM = f"last-{OPSET}"
"""What an export answers and in which operators: part of its file's name."""
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "MIGraphXExecutionProvider", "CPUExecutionProvider")
PARITY = 1e-5
"""Most by which an answer of the export may differ from torch's, relative to the larger of 1 and itself."""
EXPORT_S = 300
INPUTS = ("x_BF", "coin_B", "listed_B")
"""Then what was kept, `kept_0` and so on."""
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
        self._names = [given.name for given in self._session.get_inputs()]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Heads at the bar, in the order of OUTPUTS, from INPUTS and what was kept."""
        return self._session.run(None, dict(zip(self._names, inputs, strict=True)))


class TorchSession:
    """The same of a net as it is."""

    engine = "torch"

    def __init__(self, checkpoint: Checkpoint, reason: str = "") -> None:
        self.reason = reason
        self._module = last_bar(net_of(checkpoint))

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Heads at the bar, in the order of OUTPUTS, from INPUTS and what was kept."""
        import torch

        with torch.inference_mode():
            return [h.numpy() for h in self._module(*(torch.from_numpy(a) for a in inputs))]


Session = OnnxSession | TorchSession


def open_sessions(checkpoints: Mapping[str, Checkpoint], cache: Path) -> dict[str, Session]:
    """Nets, warmed up. Their exports are taken from `cache`, or made and checked against torch first."""
    paths = {name: cache / f"{checkpoint.version}-{FORM}.onnx" for name, checkpoint in checkpoints.items()}
    missing = {p: checkpoints[name] for name, p in paths.items() if not p.exists() and not p.with_suffix(".txt").exists()}
    if missing:
        _export_apart(missing)
    opened: dict[str, Session] = {}
    for name, checkpoint in checkpoints.items():
        path = paths[name]
        opened[name] = OnnxSession(path) if path.exists() else TorchSession(checkpoint, path.with_suffix(".txt").read_text())
        opened[name].run(*sample(checkpoint, 1))
        opened[name].run(*sample(checkpoint, len(checkpoint.symbols)))
    return opened


def net_of(checkpoint: Checkpoint) -> Net:
    """The net of a checkpoint, on the CPU and not training."""
    model: Any = load(checkpoint.model)
    net: Net = model.net(checkpoint)
    return net


def last_bar(net: Net) -> Any:
    """The net as a module from (x, coin, listed, *kept) to the heads at that bar."""
    import torch
    from torch import nn

    class LastBar(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(
            self, x: torch.Tensor, coin: torch.Tensor, listed: torch.Tensor, *kept: torch.Tensor
        ) -> tuple[torch.Tensor, ...]:
            return tuple(h.squeeze(coin.ndim) for h in net.last(x, coin, listed, *kept))

    return LastBar().eval()


def sample(checkpoint: Checkpoint, size: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Inputs of the right shape: noise, coins in turn, a tenth of the bars not listed."""
    import torch

    from crypto_assets.models.training.device import Batch
    from crypto_assets.models.training.edges import NUMBERS

    net, N = net_of(checkpoint), len(checkpoint.symbols)
    g = torch.Generator().manual_seed(seed)
    length, width = net.context + 1, net.readout.wide.in_features
    coins = torch.arange(N)[None] + 1 if net.together else torch.arange(size) % N + 1
    listed = torch.rand((*coins.shape, length), generator=g) > 0.1
    listed[..., -1] = True
    x = torch.randn((*listed.shape, width), generator=g) * listed[..., None]
    edges = None
    if net.together:
        edges = torch.randn((1, length, N, N, len(NUMBERS)), generator=g) * (1 - torch.eye(N))[..., None]
        edges[torch.rand(edges.shape, generator=g) < 0.3] = 0.0
    with torch.inference_mode():
        kept = net.keep(Batch(x, coins, listed, edges))
    asked = x[..., -1, :]
    if net.together:
        asked = torch.randn((size, N, width), generator=g)
        coins, listed = coins.repeat(size, 1), torch.rand((size, N, 1), generator=g) > 0.1
    return tuple(np.ascontiguousarray(a.numpy()) for a in (asked, coins, listed[..., -1], *kept))


def export(checkpoint: Checkpoint, path: Path) -> None:
    """Write the net as ONNX after checking its answers against torch's. Raises CheckpointError when they differ."""
    import torch

    net = net_of(checkpoint)
    inputs = tuple(torch.from_numpy(a) for a in sample(checkpoint, 3))
    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = [{0: batch} for _ in INPUTS]
    kept = inputs[len(INPUTS) :]
    with torch.no_grad():
        program = torch.onnx.export(
            last_bar(net),
            inputs,
            dynamo=True,
            dynamic_shapes=(*shapes, tuple({} if net.together else {0: batch} for _ in kept)),
            input_names=[*INPUTS, *(f"kept_{i}" for i in range(len(kept)))],
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


def _export_apart(missing: Mapping[Path, Checkpoint]) -> None:
    """Export in another process; what it says where it cannot is kept beside the place of the export."""
    command = [sys.executable, "-m", "crypto_assets.serving.sessions"]
    for path, checkpoint in missing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        command += [str(checkpoint.save(path.parent / f"{checkpoint.version}.checkpoint")), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=EXPORT_S * len(missing), check=False)
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    except subprocess.TimeoutExpired:
        said = f"no export within {EXPORT_S * len(missing)} s"
    for path in missing:
        if not path.exists() and not path.with_suffix(".txt").exists():
            path.with_suffix(".txt").write_text(said[:400])


def _export_all(arguments: Sequence[str]) -> None:
    """The other process: pairs of a checkpoint's folder and the export's place."""
    for folder, place in zip(arguments[::2], arguments[1::2], strict=True):
        try:
            export(Checkpoint.load(Path(folder)), Path(place))
        except Exception as error:
            Path(place).with_suffix(".txt").write_text(f"{type(error).__name__}: {error}"[:400])


if __name__ == "__main__":
    _export_all(sys.argv[1:])
