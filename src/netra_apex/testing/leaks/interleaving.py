"""A seeded scheduler: at every await, any number of other tasks may go first."""

import asyncio
import random
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

_TURNS = (0, 0, 0, 1, 1, 2, 3, 8)


class Interleaving:
    """Weaves the tasks of a loop, by a seed: whenever a task would go on, it first gives way a few times or not at all.

    Why not the loop's own order: a task that is woken goes on in the turn in which it was, so that two runs meet in
    the same few places however often they are tried. Callbacks keep their order, on which asyncio itself relies.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be repeated, not to be unguessable

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Every task that the loop makes from now on is woven."""
        loop.set_task_factory(self._task)

    def turns(self) -> int:
        """How often a task gives way before it goes on."""
        return self._random.choice(_TURNS)

    def chance(self, of: float) -> bool:
        """Whether something that is to happen with this probability does."""
        return self._random.random() < of

    def below(self, limit: int) -> int:
        """A number from 0 up to, but without, the limit."""
        return self._random.randrange(limit)

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        woven = _Woven.run(work, self.turns)
        return asyncio.Task(woven, loop=loop, **options)


class _Woven:
    """A coroutine that goes on only after a few turns of the loop."""

    @staticmethod
    async def run(work: Coroutine[Any, Any, Any], turns: Callable[[], int]) -> Any:
        return await _step(work, turns)


@types.coroutine
def _step(work: Coroutine[Any, Any, Any], turns: Callable[[], int]) -> Generator[Any, Any, Any]:
    """Hands on what the coroutine awaits and what it is given; what is thrown in reaches it at once."""
    value: Any = None
    thrown: BaseException | None = None
    while True:
        for _ in range(turns()):
            if thrown is not None:
                break
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - handed on, in the next line but three
                thrown = error
        try:
            awaited = work.send(value) if thrown is None else work.throw(thrown)
        except StopIteration as stop:
            return stop.value
        value, thrown = None, None
        try:
            value = yield awaited
        except BaseException as error:  # noqa: BLE001 - handed on, in the next turn
            thrown = error
