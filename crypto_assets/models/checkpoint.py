"""A checkpoint: safetensors beside a JSON config. No pickles, and no use against other features than it was trained on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import CheckpointError


@dataclass(frozen=True)
class Checkpoint:
    """What a fit learned. `tensors` are numpy arrays by name (scaler included), `config` is plain JSON."""

    model: str
    columns: tuple[str, ...]
    """Features it was trained on, in order."""
    symbols: tuple[str, ...]
    trained_from: datetime
    trained_until: datetime
    """Last moment whose label was used, validation included."""
    config: dict[str, Any]
    tensors: dict[str, np.ndarray] = field(repr=False)
    dropped: tuple[str, ...] = ()
    """Columns that were null throughout training."""
    revision: str = ""
    """Revision of the code."""

    @property
    def version(self) -> str:
        """Hash of weights, config, features and scaler: the `model_version` of every forecast made from it."""
        digest = hashlib.sha256(
            json.dumps([self.model, self.config, self.columns, self.symbols, self.dropped], sort_keys=True).encode()
        )
        for name in sorted(self.tensors):
            value = np.asarray(self.tensors[name], order="C")
            digest.update(f"{name}{value.dtype}{value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()[:16]

    def require(self, columns: tuple[str, ...]) -> None:
        """Raise CheckpointError, naming the columns that differ, unless `columns` are those it was trained on."""
        if columns == self.columns:
            return
        missing = [c for c in self.columns if c not in columns]
        extra = [c for c in columns if c not in self.columns]
        order = "" if missing or extra else " (same columns in another order)"
        raise CheckpointError(
            f"checkpoint {self.model} {self.version} was trained on {len(self.columns)} features, this panel has "
            f"{len(columns)}{order}; missing here: {missing}; unknown to it: {extra}; retrain it, or build its features"
        )

    def save(self, folder: Path) -> Path:
        """Write `weights.safetensors` and `config.json` atomically; returns the folder."""
        from safetensors.numpy import save

        header = asdict(self)
        header.pop("tensors")
        header |= {
            "trained_from": self.trained_from.isoformat(),
            "trained_until": self.trained_until.isoformat(),
            "version": self.version,
        }
        arrays = {k: np.asarray(v, order="C") for k, v in sorted(self.tensors.items())}
        write_bytes(folder / "weights.safetensors", save(arrays))
        write_bytes(folder / "config.json", json.dumps(header, indent=1, sort_keys=True).encode())
        return folder

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read a saved checkpoint. Raises CheckpointError when it is absent, damaged or not what its config says."""
        from safetensors.numpy import load

        try:
            header = json.loads((folder / "config.json").read_text())
            tensors = load((folder / "weights.safetensors").read_bytes())
        except FileNotFoundError as error:
            raise CheckpointError(f"no checkpoint in {folder}: train the model for this fold first") from error
        except Exception as error:
            raise CheckpointError(f"the checkpoint in {folder} cannot be read ({error}): train it again") from error
        version = header.pop("version")
        for name in ("trained_from", "trained_until"):
            header[name] = datetime.fromisoformat(header[name])
        for name in ("columns", "symbols", "dropped"):
            header[name] = tuple(header[name])
        found = cls(tensors=tensors, **header)
        if found.version != version:
            raise CheckpointError(
                f"the checkpoint in {folder} says version {version} but hashes to {found.version}: train it again"
            )
        return found
