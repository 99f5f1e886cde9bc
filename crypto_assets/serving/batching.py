"""Micro-batches: questions that arrive while others are being answered are answered together next. Nobody waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
MOST_TOGETHER = 64
MOST_WAITING = 1000


class BusyError(Exception):
    """More questions wait than will be answered in time."""


class Batcher(Generic[Q, A]):
    """`answer` gets a batch in a thread and returns one answer, or one exception, a question."""

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A | Exception]], most: int = MOST_TOGETHER) -> None:
        self._answer, self._most = answer, most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._thread = ThreadPoolExecutor(1, "answers")
        self._running: asyncio.Task[None] | None = None
        self.sizes: list[int] = []
        """Sizes of the batches since the last look."""

    async def ask(self, question: Q) -> A:
        """The answer. Raises what the batch gave for it, BusyError when too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            raise BusyError
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self.sizes = [*self.sizes[-999:], len(batch)]
            try:
                answers = await loop.run_in_executor(self._thread, self._answer, [q for q, _ in batch])
            except Exception as error:
                answers = [error] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
