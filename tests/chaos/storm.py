"""Users who ask and watch, while the server under them is killed and started again."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from netra_apex.client import Client, Connection, RequestRefused, ServerUnreachable
from netra_apex.core.events import DurableEvent, encode
from netra_apex.core.ids import new_id
from tests.chaos.verdict import Event as Told
from tests.support.cluster import Process
from tests.support.server import PASSWORD, Server

T = TypeVar("T")

TASK = "set the house in order"
PATIENCE = 120.0


async def ask(connection: Connection, followed: dict[str, list[Told]]) -> str:
    """A message and its run, watched to the end through every loss of the socket; the run's id."""
    key = new_id("key")
    run = await again(partial(connection.send, TASK, idempotency_key=key))
    told = followed[run.run_id] = []
    while True:
        try:
            async for frame in run:
                if isinstance(frame, DurableEvent):
                    told.append(json.loads(encode(frame)))
            break
        except RequestRefused as refused:
            check_passing(refused)
            run = await again(partial(connection.follow, run.run_id, after=len(told)))
    assert not run.faults, run.faults
    return run.run_id


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """What the call gives, asked again while the server says that it is away for a moment."""
    while True:
        try:
            return await call()
        except RequestRefused as refused:
            check_passing(refused)
            await asyncio.sleep(0.1)


def check_passing(refused: RequestRefused) -> None:
    """Raises the refusal again where it is not one that passes."""
    if refused.code not in ("unavailable", "draining"):
        raise refused


@contextlib.asynccontextmanager
async def connected(server: Server | Process, name: str) -> AsyncIterator[Connection]:
    """A user's connection, which comes back by itself for as long as the server is away."""
    async with Client(server.url) as client:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await again(partial(client.login, name, PASSWORD))
                    break
                except ServerUnreachable:
                    await asyncio.sleep(0.1)
        async with client.connect(patience=PATIENCE) as connection:
            yield connection


@contextlib.asynccontextmanager
async def cut_at_times(connection: Connection, chance: random.Random, struck: Counter[str]) -> AsyncIterator[None]:
    """Cuts the connection's socket at random moments, in the middle of whatever is on it."""

    async def cut() -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.5, 4))
            socket = connection.line._socket
            if socket is not None and not socket.closed and (transport := socket._writer.transport) is not None:
                transport.abort()
                struck["sockets cut"] += 1

    cutting = asyncio.create_task(cut())
    try:
        yield
    finally:
        cutting.cancel()


async def calm(server: Server | Process, name: str) -> list[Told]:
    """The log of a run that nobody disturbs."""
    followed: dict[str, list[Told]] = {}
    async with connected(server, name) as connection:
        return followed[await ask(connection, followed)]


async def storm(
    server: Server, names: list[str], *, runs: int, kills: int, seed: int
) -> tuple[dict[str, list[Told]], Counter[str]]:
    """At least so many runs under so many kills: what each user was told, and what struck how often.

    The users ask again, each as soon as he has his answer, until there were enough of both.
    """
    followed: dict[str, list[Told]] = {}
    struck: Counter[str] = Counter()
    over = asyncio.Event()

    async def user(number: int, name: str) -> None:
        cuts = random.Random(f"{seed} {number}")
        async with connected(server, name) as connection, cut_at_times(connection, cuts, struck):
            while len(followed) < runs or not over.is_set():
                await ask(connection, followed)

    async with asyncio.TaskGroup() as group:
        for number, name in enumerate(names):
            group.create_task(user(number, name))
        await _kill(server, random.Random(seed), kills)
        over.set()
    struck["killed"] = kills
    return followed, struck


async def _kill(server: Server, chance: random.Random, kills: int) -> None:
    """Kills the server at random moments, and starts it again."""
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
