"""Timing of work that a device may finish later than it was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from _record import median


def latencies(work: Callable[[], Any], device: torch.device, seconds: float) -> list[float]:
    """Seconds of every call, sorted, each waited for."""
    for _ in range(4):
        work()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 3:
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        taken.append(time.perf_counter() - started)
    return sorted(taken)


def timed(work: Callable[[], Any], device: torch.device, seconds: float) -> float:
    """Seconds of a call in a row of them: median over rounds, waited for once a round."""
    for _ in range(3):
        work()
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    repeats = max(1, int(seconds / 5 / max(time.perf_counter() - started, 1e-6)))
    rounds = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(repeats):
            work()
        wait(device)
        rounds.append((time.perf_counter() - started) / repeats)
    return median(rounds, 9)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gib(count: int) -> float:
    """Bytes as GiB."""
    return round(count / 2**30, 3)
