"""One attempt at a tool's function: whatever it does, it ends in time and harms nobody else."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

R = TypeVar("R")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Returned(Generic[R]):
    """It gave a value."""

    value: R


@dataclass(frozen=True, slots=True)
class Raised:
    """It raised: an exception of any kind, `CancelledError` included where nobody had cancelled it."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """It was still at work when its time was over; what it may have given since then does not count."""

    seconds: float


class _Exited(Exception):
    """Carries a `SystemExit` or `KeyboardInterrupt` out of a task."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Attempts:
    """Runs each attempt in a task of its own, and owns these tasks.

    Why a task of its own: a function may swallow its cancellation. Its caller still goes on: it is given
    `grace_seconds` to stop, and is then left behind, to be cancelled again when the process ends. The grace is short,
    as it lies within the grace that the engine gives an agent. A function's contextvars also end with its task.
    Belongs to one event loop.
    """

    def __init__(self, *, grace_seconds: float = 0.5) -> None:
        self._grace_seconds = grace_seconds
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def running(self) -> int:
        """Attempts that have not ended, left-behind ones included."""
        return len(self._tasks)

    async def run(self, work: Callable[[], Awaitable[R]], seconds: float) -> Returned[R] | Raised | OutOfTime:
        """Awaits `work()` for at most `seconds`. Never raises, but for the caller's own cancellation."""
        task = asyncio.get_running_loop().create_task(_contained(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait((task,), timeout=seconds)
        except asyncio.CancelledError:
            await self._stop(task)
            raise
        if not task.done():
            await self._stop(task)
            return OutOfTime(seconds)
        if task.cancelled():
            return Raised(asyncio.CancelledError())
        error = task.exception()
        if error is None:
            return Returned(task.result())
        return Raised(error.error if isinstance(error, _Exited) else error)

    async def aclose(self) -> None:
        """Cancels what was left behind, and waits for it no longer than the grace."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=self._grace_seconds)

    async def _stop(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        await asyncio.wait((task,), timeout=self._grace_seconds)
        if not task.done():
            _log.warning("tool ignores its cancellation", grace_seconds=self._grace_seconds)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # of one left behind nobody asks; asyncio would report it as never retrieved


async def _contained(work: Callable[[], Awaitable[R]]) -> R:
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        # asyncio lets these two rise from a task through the loop: one user's tool would end the process.
        raise _Exited(error) from error
