"""Who is inside something that a run was lent, so that closing it can put everybody out."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any


class Underway:
    """Tasks between `with underway:` and its end.

    Why: an agent may have started tasks of its own, which nobody knows but by what they use; their model requests and
    tool calls must end with the run (G9).
    """

    def __init__(self) -> None:
        self._inside: list[asyncio.Task[Any]] = []

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._inside.append(task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._inside.remove(task)

    @property
    def tasks(self) -> tuple[asyncio.Task[Any], ...]:
        """Who is inside now."""
        return tuple(self._inside)


async def put_out(places: Iterable[Underway], seconds: float) -> None:
    """Cancels every task that is inside one of these, and waits until they are out, for so many seconds at most."""
    inside = {task for place in places for task in place.tasks}
    for task in inside:
        task.cancel()
    if inside:
        await asyncio.wait(inside, timeout=seconds)
