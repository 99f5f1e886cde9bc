"""Other projects' packages, each in an environment of its own, since they do not share our lock.

The environments lie in the user's cache folder and are made when they are first needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from _record import require

HOME = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "crypto_assets_benchmarks"
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")} | {"POLARS_MAX_THREADS": "1"}


def python_with(name: str, *packages: str) -> Path:
    """The interpreter of the environment `name` with `packages` installed."""
    folder = HOME / name
    python = folder / "bin" / "python"
    stamp = folder / ".packages"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True, check=False
        )
        require(done.returncode == 0, f"pip install {' '.join(packages)}:\n{done.stderr[-2000:]}")
        stamp.write_text(wanted)
    return python


def run(python: Path, script: str, arrays: dict[str, np.ndarray] | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Run `script` there with `data` (the arrays) and `out` (to be filled) defined; returns its dict `result`, and `out`.

    One thread each library, so that CPU seconds compare.
    """
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        np.savez(there / "data.npz", **(arrays or {}))
        head = "import json, time, numpy as np\ndata = dict(np.load('data.npz'))\nout, result = {}, {}\n"
        tail = "\nnp.savez('out.npz', **out)\nopen('result.json', 'w').write(json.dumps(result))\n"
        (there / "script.py").write_text(head + script + tail)
        environment = {**os.environ, **ONE_THREAD}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run([python, "script.py"], cwd=there, capture_output=True, text=True, env=environment, check=False)
        require(done.returncode == 0, f"the peer's script failed:\n{done.stderr[-2000:]}")
        return json.loads((there / "result.json").read_text()), dict(np.load(there / "out.npz"))


def limited() -> None:
    """Start this process again with one thread a library, unless it has been."""
    if any(os.environ.get(k) != v for k, v in ONE_THREAD.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
