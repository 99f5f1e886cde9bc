"""Which of polars' engines collects a frame: the GPU's where it is installed and there is a GPU, else the CPU's.

The GPU's engine comes with `cudf_polars` (RAPIDS, CUDA only). What it cannot run, polars runs on the CPU by itself: our
compiled windows are such steps, so joins, sorts and groups gain. A sum there may differ in its last digit from the CPU's.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

DEVICE = Path("/dev/nvidiactl")
"""There where the driver of an NVIDIA card is loaded."""


@cache
def engine() -> Literal["gpu", "auto"]:
    """The value for `LazyFrame.collect(engine=...)`: `gpu`, or `auto`, polars' own choice of a CPU engine."""
    return "gpu" if find_spec("cudf_polars") is not None and DEVICE.exists() else "auto"
