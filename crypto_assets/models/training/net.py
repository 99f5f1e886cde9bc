"""A Config and a Module behind the Model protocol: prepare, train, calibrate, keep; restore, answer, decode.

A model file ends with `MODEL = NetModel(name, Config, Module, doc=...)`. Its Config has `lags`, `indicators`, `training` and
the presets as class methods; its Module is a Net made of `(config, inputs, coins)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.market.errors import CheckpointError, SchemaError, SettingsError
from crypto_assets.market.time import HORIZONS, Window
from crypto_assets.models._base import OUTPUTS, Forecast
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder, Renamed
from crypto_assets.models.training import linear
from crypto_assets.models.training.calibration import Calibration
from crypto_assets.models.training.config import Progress, Training
from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.edges import EdgeRule, Edges, Snapshots
from crypto_assets.models.training.engine import answers, pick_device, reproducible, train
from crypto_assets.models.training.ensemble import Ensemble
from crypto_assets.models.training.heads import Heads, Net
from crypto_assets.models.training.inputs import Inputs, Prepared
from crypto_assets.models.training.parallel import current
from crypto_assets.models.training.state import Keeper

PRESETS = ("debug", "small", "full")
YEAR = 365 * 24


class NetModel:
    """A neural model of the registry."""

    outputs = frozenset(OUTPUTS)
    is_resumable = True
    """`fit` takes `state` and `progress`."""

    def __init__(self, name: str, config: type[Any], module: type[Net], *, doc: str) -> None:
        self.name = name
        self.config_class = config
        self.module_class = module
        self.doc = doc

    def preset(self, name: str) -> Any:
        """The Config of a preset. Raises SettingsError for a name that is none."""
        if name not in PRESETS:
            raise SettingsError(f"preset {name!r} is unknown to {self.name}: choose one of {', '.join(PRESETS)}")
        return getattr(self.config_class, name)()

    def fit(
        self,
        panel: Panel,
        fold: Fold,
        *,
        preset: str,
        seed: int,
        recorder: Recorder,
        config: Any = None,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        state: Path | None = None,
    ) -> Checkpoint:
        """Train on `fold.train`, stop and calibrate on `fold.valid`, solve the linear path again over both.

        `config` in place of the preset's. `state`: folder that keeps the state of the training, which goes on from there when
        it was killed; whoever has saved the checkpoint may remove it.
        Raises SchemaError when the panel has no listed row to train or to validate on.
        """
        config = config or self.preset(preset)
        first = panel.ts[0].astype("datetime64[us]").item().replace(tzinfo=UTC)
        seen = panel.cut(Window(min(first, fold.train.start), fold.valid.end))
        rows = (seen.slice(fold.train), seen.slice(fold.valid))
        for name, part, window in zip(("train", "valid"), rows, (fold.train, fold.valid), strict=True):
            if not seen.listed_TN[part].any():
                raise SchemaError(f"fold {fold.name}: no listed row in its {name} window {window.start} to {window.end}")
        inputs = Inputs.fit(seen.cut(fold.train), lags=config.lags, indicators=config.indicators)
        prepared = inputs.apply(seen)
        edges, graph = None, None
        if self.module_class.together:
            edges, graph = Edges.fit(config.edges, prepared.u_TN, prepared.known_TN, seen.ts, rows[0])
            prepared = _with_heard(prepared, edges, graph, seen.listed_TN)
        data = DevicePanel.build(seen, prepared, panel.symbols, pick_device(), graph)
        learn, stop = ((s.start, s.stop) for s in rows)
        width = prepared.x_NTF.shape[-1]
        parameters = self.parameters(config, width, len(panel.symbols))
        settings = _flat(asdict(config))
        recorder.params({"preset": preset, "seed": seed, "parameters": parameters, "inputs": width, **settings})
        log_variance_NT = torch.from_numpy(prepared.log_rv_TN.T).to(data.x_NTF.device)
        nets, fits = [], []
        for member in range(seed, seed + config.training.members):
            keeper = Keeper.of(state, data, self.name, config, learn, stop, seed=member) if state else None
            with reproducible(member, threads):
                net = self.module_class(config, width, len(panel.symbols)).to(data.x_NTF.device)
                fitted = train(
                    net,
                    data,
                    learn,
                    stop,
                    config.training,
                    seed=member,
                    recorder=recorder if member == seed else Renamed(recorder, f"seed_{member}_"),
                    progress=progress,
                    log_variance_NT=log_variance_NT,
                    keeper=keeper if current().size == 1 else None,
                )
            nets.append(net)
            fits.append(fitted)
        module = nets[0] if len(nets) == 1 else Ensemble(nets)
        with reproducible(seed, threads):
            base_4 = module.readout.base_4.double().cpu().numpy()
            year = max(learn[0], stop[1] - YEAR), stop[1]
            held_out = slice(stop[0] - year[0], stop[1] - year[0])
            calibration = Calibration.fit(answers(module, data, year), data.truth(year), base_4, held_out)
            for net, fitted in zip(nets, fits, strict=True):
                linear.refit(net, data, (learn[0], stop[1]), fitted.linear)
        tensors = {f"net.{k}": v.cpu().numpy() for k, v in module.state_dict().items()}
        tensors |= {f"inputs.{k}": v for k, v in inputs.tensors().items()}
        tensors |= {f"calibration.{k}": v for k, v in calibration.tensors().items()}
        tensors |= {f"edges.{k}": v for k, v in edges.tensors().items()} if edges else {}
        recorder.metrics({"best_step": fits[0].step, **{f"slope_{i}": s for i, s in enumerate(calibration.slope_4.tolist())}})
        facts = {"preset": preset, "seed": seed, "parameters": parameters, "step": fits[0].step}
        return Checkpoint(
            model=self.name,
            columns=panel.columns,
            symbols=panel.symbols,
            trained_from=fold.train.start,
            trained_until=fold.valid.end,
            config={**_plain(asdict(config)), **facts},
            tensors=tensors,
            dropped=inputs.dropped(panel.columns),
        )

    def parameters(self, config: Any, inputs: int, coins: int) -> int:
        """How many numbers one net learns."""
        with torch.device("meta"):
            return sum(p.numel() for p in self.module_class(config, inputs, coins).parameters())

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Forecast every decision time in `window`.

        A panel that begins `context_hours` before the window gives every bar the context it was trained with. Raises
        CheckpointError for a checkpoint of another model or of other features.
        """
        calibration, module, data, prepared = self.restore(checkpoint, panel)
        rows = panel.slice(window)
        asked = panel.cut(window)
        out = Forecast.empty(asked)
        if rows.stop <= rows.start:
            return out
        with reproducible(0):
            heads = answers(module, data, (rows.start, rows.stop))
        return decode(heads, calibration, replace(prepared, log_rv_TN=prepared.log_rv_TN[rows]), asked.listed_TN, out)

    def restore(self, checkpoint: Checkpoint, panel: Panel) -> tuple[Calibration, Net, DevicePanel, Prepared]:
        """A checkpoint and a panel made ready to answer."""
        if checkpoint.model != self.name:
            raise CheckpointError(f"this is a checkpoint of {checkpoint.model}, {self.name} cannot use it: load its own")
        checkpoint.require(panel.columns)
        inputs = Inputs.restore(_under(checkpoint.tensors, "inputs."))
        calibration = Calibration.restore(_under(checkpoint.tensors, "calibration."))
        device = pick_device()
        config = self.read_config(checkpoint.config)
        prepared = inputs.apply(panel)
        graph = None
        if self.module_class.together:
            edges = Edges.restore(config.edges, _under(checkpoint.tensors, "edges."))
            graph = edges.snapshots(prepared.u_TN, prepared.known_TN, panel.ts, checkpoint.symbols, panel.symbols)
            prepared = _with_heard(prepared, edges, graph, panel.listed_TN)
        data = DevicePanel.build(panel, prepared, checkpoint.symbols, device, graph)
        return calibration, self.net(checkpoint).to(device), data, prepared

    def net(self, checkpoint: Checkpoint) -> Net:
        """The net of a checkpoint, or the ensemble of its nets, on the CPU and not training."""
        config, weights = self.read_config(checkpoint.config), _under(checkpoint.tensors, "net.")
        shape = (config, weights["readout.wide.weight"].shape[1], len(checkpoint.symbols))
        nets = [self.module_class(*shape) for _ in range(config.training.members)]
        module = nets[0] if len(nets) == 1 else Ensemble(nets)
        module.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
        return module.eval()

    def read_config(self, values: dict[str, Any]) -> Any:
        """The Config a checkpoint was trained with."""
        names = self.config_class.__dataclass_fields__
        rest: dict[str, Any] = {k: _tuple(v) for k, v in values.items() if k in names and k != "training"}
        if "edges" in rest:
            rest["edges"] = EdgeRule(**rest["edges"])
        return self.config_class(**rest, training=Training.restore(values["training"]))

    def context_hours(self, config: Any) -> int:
        """Hours of panel before a decision time that can change its forecast."""
        module = self.module_class(config, 1, 1)
        graph = config.edges.reach if module.together else 0
        return int(module.context + module.grid) + max(graph + 168, 168 + config.lags)


def decode(heads: Heads, c: Calibration, prepared: Prepared, listed_TN: np.ndarray, out: Forecast) -> Forecast:
    """Calibrated answers in the units of the forecast; NaN where the coin is not listed."""
    logits, mean, log_var, log_rv, without_depth = (h.double().cpu().numpy().swapaxes(0, 1) for h in heads)
    p_TN4 = c.probabilities(logits, without_depth)
    out.p_beats_median_TN[:] = np.where(listed_TN, p_TN4[..., 3], np.nan)
    out.realised_var_TN[:] = np.where(listed_TN, c.realised * np.exp(prepared.log_rv_TN + log_rv), np.nan)
    for h, hours in enumerate(HORIZONS.values()):
        log_scale = prepared.log_variance(hours)
        out.p_up_HTN[h] = np.where(listed_TN, p_TN4[..., h], np.nan)
        out.mean_HTN[h] = np.where(listed_TN, c.mean_slope_3[h] * mean[..., h] * np.exp(0.5 * log_scale), np.nan)
        out.log_var_HTN[h] = np.where(listed_TN, log_var[..., h] + log_scale + np.log(c.variance_3[h]), np.nan)
    return out


def _with_heard(prepared: Prepared, edges: Edges, graph: Snapshots, listed_TN: np.ndarray) -> Prepared:
    """What came along the edges among the inputs, 0 where not listed."""
    heard_NTR = edges.heard(graph, prepared.u_TN, prepared.known_TN)
    heard_NTR[~listed_TN.T] = 0.0
    return replace(prepared, x_NTF=np.concatenate([prepared.x_NTF, heard_NTR], axis=-1))


def _under(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a config is the same before and after JSON."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def _tuple(value: Any) -> Any:
    """Lists as the tuples they were before JSON."""
    return tuple(value) if isinstance(value, list) else value
