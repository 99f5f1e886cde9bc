"""The linear path of a net, in closed form: one ridge regression a task on the inputs of a bar, before training begins.

It is solved, not trained, because with so little signal the steps that teach depth anything would blur it. For a direction
target it is one Newton step of the logistic regression from the base rate, which is where that regression ends up to second
order when probabilities stay near it. Penalties are chosen by walking forward through training and on to validation: two
months hold too few independent days to tell one by.

Shapes: R rows (bars of all coins), F inputs, K = 8 tasks: four directions, three returns, realised variance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crypto_assets.models.training.device import DevicePanel
from crypto_assets.models.training.heads import Net

PENALTIES = (1e4, 3e4, 1e5)
"""In rows, each worth a unit of variance of every scaled input: what one believes before seeing data does not grow with the
data. On planted markets of 8,000 to 100,000 rows the best lies among these."""
FIRST_SHARE, PARTS = 0.5, 4
"""The walk begins with half of training, and takes the rest in so many parts; validation is the last."""
OUTPUTS = (0, 1, 2, 3, 4, 5, 6, 10)
"""Where the K tasks lie among the outputs of a readout; the log variances of returns have no linear path."""

PURGE_HOURS = 24


def start(module: Net, data: DevicePanel, train_rows: tuple[int, int], valid_rows: tuple[int, int]) -> Tensor:
    """Set the linear path of the readout from `train_rows`; returns the penalty of each task, chosen out of sample."""
    base_4 = module.readout.base_4
    penalty_K = _choose(data, train_rows, valid_rows, base_4)
    weights_FK = _solve(*_moments(data, train_rows, base_4), penalty_K)
    with torch.no_grad():
        module.readout.wide.weight[list(OUTPUTS)] = weights_FK[:-1].T.float()
        module.readout.deep.bias[list(OUTPUTS)] = weights_FK[-1].float()
    return penalty_K


def _choose(data: DevicePanel, train_rows: tuple[int, int], valid_rows: tuple[int, int], base_4: Tensor) -> Tensor:
    """The penalty of least squared error on the later parts, each from what lies a purge before it, task by task."""
    begin, end = train_rows
    edges = [begin + int((end - begin) * (FIRST_SHARE + (1 - FIRST_SHARE) * i / PARTS)) for i in range(PARTS)]
    parts = [*zip(edges, [*edges[1:], end], strict=True), valid_rows]
    loss_PK = torch.zeros(len(PENALTIES), len(OUTPUTS), dtype=torch.float64, device=base_4.device)
    (gram_FF, moment_FK), done = _moments(data, (begin, begin), base_4), begin
    for first, last in parts:
        until = max(done, min(first - PURGE_HOURS, end))
        more_FF, more_FK = _moments(data, (done, until), base_4)
        gram_FF, moment_FK, done = gram_FF + more_FF, moment_FK + more_FK, until
        check_FF, check_FK = _moments(data, (first, last), base_4)
        for p, penalty in enumerate(PENALTIES):
            w_FK = _solve(gram_FF, moment_FK, torch.full((len(OUTPUTS),), penalty))
            loss_PK[p] += (w_FK * (check_FF @ w_FK)).sum(dim=0) - 2 * (w_FK * check_FK).sum(dim=0)
    return torch.tensor(PENALTIES)[loss_PK.argmin(dim=0).cpu()]


def refit(module: Net, data: DevicePanel, rows: tuple[int, int], penalty_K: Tensor) -> None:
    """Solve the linear path again over more rows, depth and intercepts as they are."""
    weights_FK = _solve(*_moments(data, rows, module.readout.base_4), penalty_K)
    with torch.no_grad():
        module.readout.wide.weight[list(OUTPUTS)] = weights_FK[:-1].T.float()


def _solve(gram_FF: Tensor, moment_FK: Tensor, penalty_K: Tensor) -> Tensor:
    """Ridge weights `[F, K]`, float64; the intercept, which comes last, is free."""
    ridge = torch.eye(len(gram_FF), dtype=torch.float64, device=gram_FF.device)
    ridge[-1, -1] = 1e-9
    solved = [torch.linalg.solve(gram_FF + p * ridge, moment_FK[:, k]) for k, p in enumerate(penalty_K.tolist())]
    return torch.stack(solved, dim=1)


def _moments(data: DevicePanel, rows: tuple[int, int], base_4: Tensor) -> tuple[Tensor, Tensor]:
    """Products of the inputs (and a one) with themselves and with the tasks over the listed rows, in float64.

    An unknown truth counts as no surprise. Directions are surprises over the base rate in units of its variance.
    """
    at = slice(*rows)
    rate_4 = torch.sigmoid(base_4)
    F = data.x_NTF.shape[-1] + 1
    gram = torch.zeros(F, F, dtype=torch.float64, device=data.x_NTF.device)
    moment = torch.zeros(F, len(OUTPUTS), dtype=torch.float64, device=data.x_NTF.device)
    for n in range(len(data.coin_N)):
        listed = data.listed_NT[n, at]
        x_RF = torch.nn.functional.pad(data.x_NTF[n, at][listed], (0, 1), value=1.0)
        surprise = (data.direction_NT4[n, at][listed] - rate_4) / (rate_4 * (1 - rate_4))
        y_RK = torch.cat([surprise, data.returns_NT3[n, at][listed], data.log_rv_NT[n, at][listed, None]], dim=1)
        gram += (x_RF.T @ x_RF).double()
        moment += (x_RF.T @ y_RK.nan_to_num()).double()
    return gram, moment
