"""The training loop of every net.

Chunks gathered from a panel that lives on the device, a loss at every bar, AdamW, one warm-up and cosine over the run, early
stopping on the validation log-loss of the averaged weights. The same seed on the same machine gives the same numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from crypto_assets.dataset.panel import TARGETS
from crypto_assets.models._calibration import log_loss
from crypto_assets.models.tracking import Recorder
from crypto_assets.models.training import linear
from crypto_assets.models.training.calibration import issued, trust
from crypto_assets.models.training.config import Fitted, Progress, Training
from crypto_assets.models.training.curriculum import Lessons
from crypto_assets.models.training.device import Batch, DevicePanel
from crypto_assets.models.training.ema import Ema
from crypto_assets.models.training.heads import Heads, Net, Weights, base_logits
from crypto_assets.models.training.schedule import one_cycle, warmup_cosine
from crypto_assets.models.training.state import Keeper, Run
from crypto_assets.models.training.steps import Batches, Learner, autocast, step
from crypto_assets.models.training.switches import dropout_rates, dropout_share, set_dropout

PIECE = 672
"""Bars answered at a time when predicting: four weeks, which keeps the context a small part of the work."""


def train(
    module: Net,
    data: DevicePanel,
    train_rows: tuple[int, int],
    valid_rows: tuple[int, int],
    training: Training,
    *,
    seed: int,
    recorder: Recorder,
    progress: Callable[[Progress], None] | None = None,
    log_variance_NT: Tensor | None = None,
    keeper: Keeper | None = None,
) -> Fitted:
    """Fit `module` on the bars of `train_rows`, stop on those of `valid_rows`; the module ends with the best weights.

    Step 0, the linear path alone, is a candidate like any other: where data are short, depth often earns nothing.
    `log_variance_NT`: expected log variance at every bar, which the curriculum goes by. `keeper`: keeps the state of this fit,
    and has it go on where it was killed.
    """
    module.readout.base_4.copy_(base_logits(data.direction_NT4[:, slice(*train_rows)]))
    shrinkage = linear.start(module, data, train_rows, valid_rows)
    run = begin(module, data, train_rows, training, seed)
    every = max(1, run.steps // training.evaluations)
    rates = dropout_rates(module)
    lessons = Lessons(data, train_rows, log_variance_NT if training.switches.curriculum else None)
    if keeper and keeper.restore(run):
        for point in run.curves:
            recorder.curve(*point)
    while run.step < run.steps and not run.is_over:
        run.step += 1
        if run.step:
            schedule(run, training, rates)
            run.running.append(step(run.learner, lessons.at(run.step, run.steps), next(run.batches)))
            run.ema.update()
        if run.step % every == 0 or run.step == run.steps:
            look(run, data, valid_rows, recorder)
            run.is_over = run.step - run.best_step >= training.patience * every
            if progress:
                progress(run.history[-1])
        if keeper:
            keeper.save(run)
    if keeper:
        keeper.save(run, now=True)
    set_dropout(module, rates, 1.0)
    module.load_state_dict(run.best)
    return Fitted(run.best, shrinkage, run.best_step, run.steps, tuple(run.history))


def begin(module: Net, data: DevicePanel, rows: tuple[int, int], training: Training, seed: int) -> Run:
    """A run before its first step. Processes of one group begin with the same weights and drop out different units."""
    learner = Learner.of(module, adamw(module, training), rows, training)
    learner.group.first_([*module.parameters(), *module.buffers()])
    if learner.group.rank:
        torch.manual_seed(seed + learner.group.rank)
    steps = planned_steps(data, rows, training, together=module.together)
    ema = Ema(module, max(1.0, training.ema_share * steps))
    batches = Batches(data, rows, training, seed, together=module.together)
    return Run(learner, batches, ema, steps, best=ema.weights())


def schedule(run: Run, training: Training, rates: dict[str, float]) -> None:
    """Set what the coming step's place in the run decides: the learning rate, and by switch the moment and the dropout."""
    at, switches = run.step - 1, training.switches
    moment = 0.9
    if switches.schedule == "one_cycle":
        factor, moment = one_cycle(at, run.steps, training.warmup)
    else:
        factor = warmup_cosine(at, run.steps, training.warmup)
    for group in run.learner.optimizer.param_groups:
        group["lr"], group["betas"] = training.lr * factor, (moment, 0.98)
    if switches.dropout_ramp:
        set_dropout(run.learner.module, rates, dropout_share(run.step, run.steps))


def look(run: Run, data: DevicePanel, rows: tuple[int, int], recorder: Recorder) -> None:
    """Validate the averaged weights, keep them when they are the best so far, and say so."""
    training, average = run.learner.training, run.ema.weights()
    valid = validate(run.learner.module, average, data, rows, training)
    score = run.learner.group.decide(stopping_score(valid, training.weights))
    better = run.best_step < 0 or score < run.best_score or math.isnan(score)
    if better:
        run.best, run.best_score, run.best_step = average, score, run.step
    loss = float(torch.stack(run.running).mean()) if run.running else math.nan
    run.history.append(Progress(run.step, run.steps, loss, score, better))
    run.running = []
    points = {"train_loss": loss, **{f"valid_log_loss_{name}": value for name, value in valid.items()}}
    for name, value in points.items():
        if not math.isnan(value):
            run.curves.append((name, run.step, value))
            recorder.curve(name, run.step, value)


def planned_steps(data: DevicePanel, rows: tuple[int, int], training: Training, *, together: bool = False) -> int:
    """Optimizer steps of a full run, from the number of listed bars to learn from; of hours, where coins go together."""
    listed = data.listed_NT[:, slice(*rows)]
    bars = int((listed.any(dim=0) if together else listed).sum())
    wanted = round(training.passes * bars / (training.batch * training.chunk))
    return min(max(wanted, training.min_steps), training.max_steps)


def adamw(module: Net, training: Training) -> torch.optim.AdamW:
    """AdamW in its fused form; weight decay on matrices, none on gains and biases."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.lr, betas=(0.9, 0.98), amsgrad=training.amsgrad, fused=True)


@torch.no_grad()
def answers(
    module: Net,
    data: DevicePanel,
    rows: tuple[int, int],
    precision: str = "fp32",
    ask: Callable[[Batch], Heads] | None = None,
) -> Heads:
    """Heads for every coin at the decision times `[begin, end)`, `[N, T, ...]`, each with its full context.

    `ask`: who calls the module, for example an `inference.Answerer` that is kept between calls.
    """
    module.eval()
    piece = min(PIECE, rows[1] - rows[0])
    parts = []
    for start, first, last in data.stretches(rows, piece, module.grid):
        batch, _ = data.gather(*data.everyone(start - module.context, module.together), module.context + last - start)
        with autocast(data.x_NTF.device, precision):
            heads = (ask or module)(batch)
        each = Heads(*(h[0] for h in heads)) if module.together else heads
        answered = slice(first - start + module.context - module.lead, last - start + module.context - module.lead)
        parts.append(Heads(*(h[:, answered] for h in each)))
    return Heads(*(torch.cat(h, dim=1) for h in zip(*parts, strict=True)))


def read_for(module: Net, data: DevicePanel, row: int) -> Batch:
    """What `answers` has the module read to answer the decision time `row`, which comes last."""
    ((start, _, _),) = data.stretches((row, row + 1), 1, module.grid)
    return data.gather(*data.everyone(start - module.context, module.together), module.context + row + 1 - start)[0]


def validate(
    module: Net, weights: dict[str, Tensor], data: DevicePanel, rows: tuple[int, int], training: Training
) -> dict[str, float]:
    """Log-loss of each direction target over `rows` under `weights`, NaN where it has no label.

    Of the forecast as it would be issued, shrunk by its own evidence: a head that has begun to memorise is worth the base
    rate, not less, and does not stop the others.
    """
    own = {k: v.clone() for k, v in module.state_dict().items()}
    module.load_state_dict(weights)
    heads = answers(module, data, rows, training.precision)
    module.load_state_dict(own)
    logits, linear_path, ups, base_4 = (
        a.double().cpu().numpy()
        for a in (heads.logits_BL4, heads.linear_BL4, data.direction_NT4[:, slice(*rows)], module.readout.base_4)
    )
    z = issued(logits, linear_path, base_4, *trust(logits, linear_path, ups, base_4))
    return {name: log_loss(z[..., k], ups[..., k]) for k, name in enumerate(TARGETS)}


def pick_device() -> torch.device:
    """The accelerator (CUDA or ROCm) when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def reproducible(seed: int, threads: int | None = None) -> Iterator[None]:
    """Seed torch and fix its threads for a block, then put both back.

    `threads` defaults to CRYPTO_ASSETS_THREADS, or 1: at the width of the small preset a second thread wins a fifth on an idle
    machine and loses a factor of four on a busy one, where it waits for its turn (benchmarks/dense_training.py). Sums are the
    same bits only for the same number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or int(os.environ.get("CRYPTO_ASSETS_THREADS", "1")))
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def stopping_score(valid: dict[str, float], weights: Weights) -> float:
    """Mean of the direction log-losses by their weights in the loss, NaN without any label."""
    known = [(v, w) for v, w in zip(valid.values(), weights.direction, strict=True) if not math.isnan(v) and w > 0]
    return sum(v * w for v, w in known) / sum(w for _, w in known) if known else math.nan
