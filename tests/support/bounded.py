"""Running a test's coroutine within a bound, and waiting for what sets no event."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")
LIMIT = 30.0


def run(main: Coroutine[Any, Any, R], *, limit: float = LIMIT) -> R:
    """Runs it on a loop of its own, for at most `limit` seconds."""

    async def bounded() -> R:
        async with asyncio.timeout(limit):
            return await main

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Gives the loop its turns until the condition holds; `run` bounds it."""
    while not condition():  # noqa: ASYNC110 - what is waited for sets no event
        await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    """Gives whatever could go wrong `count` turns of the loop to do so."""
    for _ in range(count):
        await asyncio.sleep(0)


async def passed(seconds: float) -> None:
    """Returns once so much time has passed: where something must not happen within it, there is nothing to wait for."""
    await asyncio.sleep(seconds)
