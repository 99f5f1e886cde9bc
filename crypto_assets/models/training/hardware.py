"""What the nets would run on: the accelerator as torch sees it, and a sample workload that shows it computes rightly."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

SIDE = 1024
"""Of the square matrices multiplied: large enough to keep a GPU busy, a tenth of a second on a CPU."""
TOLERANCE = 2e-2
"""Largest relative error of a bfloat16 product of unit normals against float64 that passes."""


def describe() -> dict[str, Any]:
    """Backend (cuda, rocm or cpu), torch build, device name, memory, bfloat16; `advice` where something looks wrong."""
    backend = "cpu"
    if torch.cuda.is_available():
        backend = "rocm" if torch.version.hip else "cuda"
    found: dict[str, Any] = {
        "backend": backend,
        "torch": torch.__version__,
        "hip": torch.version.hip,
        "cuda": torch.version.cuda,
        "threads": int(os.environ.get("CRYPTO_ASSETS_THREADS", "1")),
        "advice": _advice(backend),
    }
    if backend != "cpu":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "devices": torch.cuda.device_count(),
            "name": properties.name,
            "architecture": getattr(properties, "gcnArchName", f"sm_{properties.major}{properties.minor}"),
            "memory_gb": round(properties.total_memory / 2**30, 1),
            "bfloat16": torch.cuda.is_bf16_supported(),
        }
    return found


def sample() -> dict[str, Any]:
    """A matrix product on the device the nets would use, checked against float64: rate in TFLOP/s, relative error, verdict."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIDE, SIDE, generator=generator, dtype=torch.float64) for _ in range(2))
    truth = a @ b
    x, y = a.to(device, dtype), b.to(device, dtype)
    product = x @ y
    seconds = _timed(x, y, device)
    error = float((product.double().cpu() - truth).norm() / truth.norm())
    return {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "tflops": round(2 * SIDE**3 / seconds / 1e12, 3),
        "relative_error": error,
        "is_right": error < TOLERANCE,
    }


def _timed(x: torch.Tensor, y: torch.Tensor, device: torch.device, repeats: int = 10) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    started = time.perf_counter()
    for _ in range(repeats):
        x @ y
    wait()
    return (time.perf_counter() - started) / repeats


def _advice(backend: str) -> list[str]:
    said = []
    if "HSA_OVERRIDE_GFX_VERSION" in os.environ:
        said.append("HSA_OVERRIDE_GFX_VERSION is set: unset it, it makes the card run code for another chip")
    if backend == "cpu" and torch.version.hip:
        said.append("torch is a ROCm build but sees no card: check rocminfo and the groups render and video (docs/gpu.md)")
    if backend == "cpu" and torch.version.cuda:
        said.append("torch is a CUDA build but sees no card: check nvidia-smi and CUDA_VISIBLE_DEVICES (docs/gpu.md)")
    return said
