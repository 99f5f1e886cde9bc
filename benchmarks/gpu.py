"""Claim: on an accelerator the seed-size Transformer trains at 45 % or more of the rate of a plain bfloat16 matrix product.

How: random numbers in the shape of the real panel (16 coins, 128 inputs), everything else as training does it: gathered chunks,
loss at every bar, backward, clipping, fused AdamW. A window is an answered bar with the hours before it: dense supervision
learns from one window a bar. Of each net and preset: windows a second as it is, compiled, and compiled with CUDA graphs; peak
memory beside its estimate; the largest batch; one bar of all coins answered (latency) and a year of them (throughput), plain
and through the buffered graph. Of the Transformer also the share of the matmul rate that is measured first, by the operations
that its band needs (4 W D a layer and bar), forward and twice that backward; and four seeds in turn against stacked by vmap.

One command, whatever the machine: CUDA and ROCm run the same code (`torch.version.hip` tells them apart). Without a GPU it runs
the debug presets, as CI does, and says so; its figures then mean nothing.

Checked first: the analytic operations are those torch counts; device answers agree with the CPU's; buffered answers, compiled
losses and stacked gradients agree with the plain ones.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from _clock import gib, latencies, timed
from _record import keep, machine, require
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from crypto_assets.market.errors import SettingsError
from crypto_assets.models import registry
from crypto_assets.models.training import engine, hardware, memory, steps
from crypto_assets.models.training.config import Training
from crypto_assets.models.training.device import Batch, DeviceGraph, DevicePanel
from crypto_assets.models.training.heads import OUT, Heads, Net, counts, losses, total
from crypto_assets.models.training.inference import Answerer
from crypto_assets.models.transformer import Config as TransformerConfig

INPUTS, COINS, HOURS = 128, 16, 8760
MEMBERS = 4
CLOSE = {"fp32": 2e-3, "bf16": 8e-2}
"""Largest difference of answers of unit scale: sums in another order, and eight bits of mantissa."""


def main() -> None:
    """Check, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    accelerated = torch.cuda.is_available()
    parser.add_argument("--presets", nargs="+", default=["small", "full"] if accelerated else ["debug"])
    parser.add_argument("--nets", nargs="+", default=nets(), choices=nets(), help="default: all")
    modes = ["off", "on", "graphs"] if accelerated else ["off"]
    parser.add_argument("--modes", nargs="+", default=modes, help="of compile (default: all on a GPU, off on a CPU)")
    parser.add_argument("--seconds", type=float, default=3.0 if accelerated else 0.2, help="a measurement")
    parser.add_argument("--hours", type=int, default=HOURS if accelerated else 500, help="of the panel")
    parser.add_argument("--print-only", action="store_true", help="do not write benchmarks/results")
    given = parser.parse_args()
    device = engine.pick_device()
    torch.set_float32_matmul_precision("high")
    data = random_panel(given.hours, COINS if accelerated else 4, device)
    result: dict[str, Any] = {"device": hardware.describe(), "is_accelerated": accelerated}
    with engine.reproducible(0):
        result["matmul_tflops"] = {name: matmul_rate(device, dtype, given.seconds) for name, dtype in dtypes(device).items()}
        result["nets"] = {
            f"{net} {preset}": one_net(net, preset, data, given, result["matmul_tflops"])
            for preset in given.presets
            for net in given.nets
        }
        result["ensemble"] = {preset: ensembles(preset, data, given.seconds) for preset in given.presets}
    if given.print_only:
        print(json.dumps({**result, "machine": machine()}, indent=1, default=str))
        return
    keep("gpu-" + re.sub(r"[^a-z0-9]+", "-", str(result["device"].get("name", "cpu")).lower()).strip("-"), result)


def nets() -> list[str]:
    """Every net of the registry."""
    return list(registry.NETS)


def random_panel(hours: int, coins: int, device: torch.device) -> DevicePanel:
    """Random inputs and targets, and a sparse random graph a day."""
    g = torch.Generator().manual_seed(0)
    edges = torch.randn(hours // 24 + 1, coins, coins, 2, generator=g)
    edges *= (torch.rand(edges.shape[:-1], generator=g) < 0.3)[..., None]
    panel = DevicePanel(
        x_NTF=torch.randn(coins, hours, INPUTS, generator=g),
        listed_NT=torch.ones(coins, hours, dtype=torch.bool),
        coin_N=torch.arange(1, coins + 1),
        direction_NT4=torch.randint(0, 2, (coins, hours, 4), generator=g).float(),
        returns_NT3=torch.randn(coins, hours, 3, generator=g),
        log_rv_NT=torch.randn(coins, hours, generator=g),
        graph=DeviceGraph(edges, torch.arange(hours) // 24),
    )
    return on(panel, device)


def on(panel: DevicePanel, device: torch.device) -> DevicePanel:
    """The panel on a device."""
    moved = {k: v.to(device) for k, v in panel.__dict__.items() if isinstance(v, Tensor)}
    assert panel.graph is not None
    return replace(panel, **moved, graph=DeviceGraph(*(t.to(device) for t in panel.graph)))


def make(net: str, preset: str, data: DevicePanel, *, quiet: bool = False) -> tuple[Net, Any]:
    """A net of a preset with a readout that is not zero; `quiet` without any dropout."""
    model: Any = registry.load(net)
    config = model.preset(preset)
    if quiet:
        config = replace(config, **{name: 0.0 for name in ("dropout", "feature_dropout", "coin_dropout")})
    torch.manual_seed(0)
    module = model.module_class(config, INPUTS, len(data.coin_N))
    for p in module.readout.parameters():
        torch.nn.init.normal_(p, std=0.05)
    return module.to(data.x_NTF.device), config


def one_net(net: str, preset: str, data: DevicePanel, given: argparse.Namespace, matmul: dict[str, float]) -> dict[str, Any]:
    """All figures of one net in one preset, after its checks."""
    module, config = make(net, preset, data, quiet=True)
    same_as_on_cpu(module, net, preset, data)
    module, config = make(net, preset, data)
    training: Training = config.training
    device = data.x_NTF.device
    estimated = memory.estimate(module, data, training)
    total_memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 16 * 2**30
    parts = max(training.accumulate, estimated.parts(training.batch, round(0.9 * total_memory)))
    training = replace(training, accumulate=parts)
    found: dict[str, Any] = {
        "parameters": sum(p.numel() for p in module.parameters()),
        "accumulate": parts,
        "estimate_gib": gib(estimated.total(-(-training.batch // parts))),
        "train": {mode: trained(net, preset, data, replace(training, compile=mode), given.seconds) for mode in given.modes},
        "infer": inference(module, data, given.seconds),
    }
    if device.type == "cuda":
        found["largest_batch"] = largest(net, preset, data, training)
    if isinstance(config, TransformerConfig):
        found |= shares(module, config, data, found["train"], matmul)
    return found


def same_as_on_cpu(module: Net, net: str, preset: str, data: DevicePanel) -> None:
    """Device answers are the CPU's, and buffered ones are the plain ones."""
    chunks = data.everyone(5, module.together)
    batch, _ = data.gather(*chunks, module.lead + 48)
    host = make(net, preset, data, quiet=True)[0].cpu().eval()
    plain = Batch(*(None if t is None else t.cpu() for t in batch))
    with torch.no_grad():
        expected = host(plain)
    for precision, within in CLOSE.items():
        ask = Answerer(module, precision)
        for _ in range(3):
            worst = max(float((a.float().cpu() - b).abs().max()) for a, b in zip(ask(batch), expected, strict=True))
            require(worst < within, f"{net} {preset}: {precision} answers differ from the CPU's by {worst:.1e}")


def trained(net: str, preset: str, data: DevicePanel, training: Training, seconds: float) -> dict[str, Any]:
    """Windows a second of whole optimizer steps, and the peak memory of them; or why there is none."""
    rows = (0, data.listed_NT.shape[1])
    try:
        same_loss_compiled(net, preset, data, training)
        module, _ = make(net, preset, data)
        learner = steps.Learner.of(module, engine.adamw(module, training), rows, training)
        batches = steps.Batches(data, rows, training, seed=0, together=module.together)
        memory.peak_bytes(data.x_NTF.device, reset=True)
        spent = timed(lambda: steps.step(learner, data, next(batches)), data.x_NTF.device, seconds)
    except (SettingsError, RuntimeError) as error:
        return {"failed": str(error).splitlines()[0]}
    windows = training.batch * training.chunk * (len(data.coin_N) if module.together else 1)
    peak = memory.peak_bytes(data.x_NTF.device)
    return {
        "windows_per_second": round(windows / spent),
        "seconds_a_step": round(spent, 5),
        "parts": learner.accumulate,
        "peak_gib": None if peak is None else gib(peak),
    }


def same_loss_compiled(net: str, preset: str, data: DevicePanel, training: Training) -> None:
    """Without dropout a compiled step has the loss of a plain one."""
    if training.compile == "off":
        return
    found = []
    for mode in ("off", training.compile):
        module, _ = make(net, preset, data, quiet=True)
        rows = (0, data.listed_NT.shape[1])
        learner = steps.Learner.of(module, engine.adamw(module, training), rows, replace(training, compile=mode))
        batches = steps.Batches(data, rows, training, seed=0, together=module.together)
        found.append([float(steps.step(learner, data, next(batches))) for _ in range(3)])
    worst = max(abs(a - b) for a, b in zip(*found, strict=True))
    require(worst < 2e-2, f"{net} {preset}: compiled ({training.compile}) losses differ by {worst:.1e}")


def largest(net: str, preset: str, data: DevicePanel, training: Training) -> dict[str, Any]:
    """The most chunks that fit in one part, by real steps, and the memory they take."""
    rows = (0, data.listed_NT.shape[1])
    module, _ = make(net, preset, data)
    optimizer = engine.adamw(module, training)
    peaks: dict[int, int | None] = {}

    def attempt(batch: int) -> None:
        whole = replace(training, batch=batch, accumulate=1)
        learner = steps.Learner.of(module, optimizer, rows, whole)
        memory.peak_bytes(data.x_NTF.device, reset=True)
        steps._attempt(learner, data, next(steps.Batches(data, rows, whole, seed=0, together=module.together)))
        peaks[batch] = memory.peak_bytes(data.x_NTF.device)

    most = memory.largest_batch(attempt, most=4096)
    return {"chunks": most, "peak_gib": gib(peaks[most] or 0)}


def inference(module: Net, data: DevicePanel, seconds: float) -> dict[str, Any]:
    """Latency of one bar of all coins, windows a second over many bars; plain and through kept buffers."""
    device, hours = data.x_NTF.device, data.listed_NT.shape[1]
    start = max(0, min(hours - module.context - 1, 100))
    one, _ = data.gather(*data.everyone(start, module.together), module.context + 1)
    rows = (min(module.context, hours // 2), hours)
    found: dict[str, Any] = {}
    for name, ask in (("plain", plainly(module.eval())), ("buffered", Answerer(module))):
        taken = latencies(lambda ask=ask: ask(one), device, seconds)
        bulk = timed(lambda ask=ask: engine.answers(module, data, rows, ask=ask), device, seconds)
        found[name] = {
            "latency_ms_p50": round(1e3 * taken[len(taken) // 2], 3),
            "latency_ms_p99": round(1e3 * taken[int(0.99 * (len(taken) - 1))], 3),
            "windows_per_second": round(len(data.coin_N) * (rows[1] - rows[0]) / bulk),
        }
    return found


def plainly(module: Net) -> Callable[[Batch], Heads]:
    """The module without gradients."""
    return torch.no_grad()(module)


def ensembles(preset: str, data: DevicePanel, seconds: float) -> dict[str, Any]:
    """Gradients of four Transformers in turn, and stacked by vmap: windows a second."""
    members = []
    for seed in range(MEMBERS):
        module, config = make("transformer", preset, data, quiet=True)
        torch.manual_seed(seed)
        torch.nn.init.normal_(module.readout.deep.weight, std=0.05)
        members.append(module.train())
    training: Training = config.training
    rows, width = (0, data.listed_NT.shape[1]), max(1, training.batch // 8)
    coins, starts = next(steps.Batches(data, rows, training, seed=0))
    batch, targets = data.lesson((coins[:width], starts[:width]), training.chunk, 0, rows)
    stacked, buffers = torch.func.stack_module_state(members)
    skeleton = members[0]

    def loss(parameters: dict[str, Tensor], own: dict[str, Tensor]) -> Tensor:
        heads = torch.func.functional_call(skeleton, (parameters, own), (batch,))
        return total(losses(heads, targets)[0], counts(targets), training.weights)

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(0, 0), randomness="same")

    def in_turn() -> None:
        for member in members:
            member.zero_grad(set_to_none=True)
            total(losses(member(batch), targets)[0], counts(targets), training.weights).backward()

    whole = together(stacked, buffers)
    in_turn()
    gaps = [
        float((whole[name][m] - p.grad).detach().abs().max())
        for m, member in enumerate(members)
        for name, p in member.named_parameters()
        if p.grad is not None
    ]
    require(max(gaps) < 1e-3, f"{preset}: stacked gradients differ from those in turn by {max(gaps):.1e}")
    windows = MEMBERS * batch.listed_BL.numel()
    device = data.x_NTF.device
    turn, stack = (timed(work, device, seconds) for work in (in_turn, lambda: together(stacked, buffers)))
    found = {"in_turn_windows_per_second": round(windows / turn), "stacked_windows_per_second": round(windows / stack)}
    return {"members": MEMBERS, **found, "stacked_over_in_turn": round(turn / stack, 3)}


def operations(config: TransformerConfig, *, keys: int) -> int:
    """Multiplications and additions of one bar, forward, when a query meets `keys` keys."""
    D, F, H = config.width, INPUTS, config.hidden
    layer = 2 * D * 3 * D + 2 * D * D + 4 * keys * D + 2 * D * 2 * H + 2 * H * D
    return 2 * F * D + config.layers * layer + 2 * D * OUT + 2 * F * OUT


def shares(
    module: Net, config: TransformerConfig, data: DevicePanel, train: dict[str, Any], matmul: dict[str, float]
) -> dict[str, Any]:
    """Operations a window, checked against torch's own count, and the share of the matmul rate of every mode."""
    length = 2 * config.window
    batch, _ = data.gather(*data.everyone(0, together=False), length)
    plain = torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH])
    with FlopCounterMode(display=False) as counter, torch.no_grad(), plain:
        module.eval()(batch)
    counted = counter.get_total_flops() / batch.listed_BL.numel()
    written = operations(config, keys=2 * config.window)
    require(abs(counted / written - 1) < 0.02, f"torch counts {counted:.0f} operations a bar, the formula says {written}")
    needed = 3 * operations(config, keys=config.window)
    peak = 1e12 * matmul["bf16" if "bf16" in matmul else "fp32"]
    share = {m: round(r["windows_per_second"] * needed / peak, 4) for m, r in train.items() if "windows_per_second" in r}
    return {"operations_a_window": needed, "share_of_matmul": share}


def dtypes(device: torch.device) -> dict[str, torch.dtype]:
    """What matrix products are measured in."""
    return {"bf16": torch.bfloat16, "fp32": torch.float32} if device.type == "cuda" else {"fp32": torch.float32}


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """TFLOP/s of a large square product; the answer is checked against float64."""
    side = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    exact = (a[:64].double() @ b.double()).cpu()
    error = float(((a @ b)[:64].double().cpu() - exact).norm() / exact.norm())
    require(error < hardware.TOLERANCE, f"a {dtype} product is off by {error:.1e}")
    return round(2 * side**3 / timed(lambda: a @ b, device, seconds) / 1e12, 3)


if __name__ == "__main__":
    main()
