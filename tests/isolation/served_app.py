"""The application that isolation tests serve: its agents and tools tell what they find of others, and wait for them.

`party:NAME:SIZE` in a message is a barrier: whoever is told it goes on once SIZE of them are there, so that a test
knows that all of them were inside the same code at once. The barriers are the test's own shared state, on purpose.
"""

import asyncio
import contextlib
import contextvars
import hashlib
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

from netra_apex import AgentRegistry, BaseAgent, CallFailed, ChatAgent, RunScope, ask_user, tool

LOG = Path(__file__).with_name("tool.log")
PARTY = re.compile(r"party:(\w+):(\d+)")
SECONDS = 30
BLOCKED_SECONDS = 12.0  # longer than a test gives anybody else to be done

parties: dict[str, asyncio.Barrier] = {}
rooms: dict[str, threading.Barrier] = {}
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody's")
LOCAL = threading.local()


def secret_of(user_id: str) -> str:
    """What only this user's tool results hold."""
    return f"toolcan-{user_id}-{hashlib.sha256(user_id.encode()).hexdigest()[:8]}"


async def meet(text: str) -> None:
    """Goes on once everybody who is invited is here."""
    if found := PARTY.search(text):
        barrier = parties.setdefault(found[1], asyncio.Barrier(int(found[2])))
        async with asyncio.timeout(SECONDS):
            await barrier.wait()


def meet_in_threads(text: str) -> None:
    """As `meet`, for functions in threads."""
    if found := PARTY.search(text):
        rooms.setdefault(found[1], threading.Barrier(int(found[2]))).wait(SECONDS)


def note(scope: RunScope, about: str) -> None:
    with LOG.open("a") as log:
        log.write(f"{about} {scope.context.user_id} {scope.context.run_id}\n")


@tool(timeout=SECONDS)
async def consult(query: str, *, scope: RunScope) -> str:
    """Knows something of the user who asks, and tells it once all are there."""
    before = VARIABLE.get()
    VARIABLE.set(scope.context.user_id)
    await meet(query)
    return f"{secret_of(scope.context.user_id)} {before} {VARIABLE.get()} {query}"


@tool(timeout=SECONDS)
def consult_in_a_thread(query: str, *, scope: RunScope) -> dict[str, Any]:
    """The same, in a thread of its own."""
    user_id = scope.context.user_id
    before = [VARIABLE.get(), getattr(LOCAL, "whose", "nobody's")]
    VARIABLE.set(user_id)
    LOCAL.whose = user_id
    meet_in_threads(query)
    return {"knows": secret_of(user_id), "before": before, "after": [VARIABLE.get(), LOCAL.whose]}


@tool(requires="orders:destroy")
async def destroy(query: str, *, scope: RunScope) -> str:
    """Nobody here may."""
    note(scope, "destroy")
    return query


@tool(timeout=SECONDS)
def block(query: str, *, scope: RunScope) -> str:
    """Holds a thread."""
    note(scope, "block")
    time.sleep(BLOCKED_SECONDS)
    return query


@tool
async def crash(query: str, *, scope: RunScope) -> str:
    """Fails, and says more than it should."""
    await meet(query)
    raise RuntimeError(f"cannot find {query} of {secret_of(scope.context.user_id)}")


class Assistant(ChatAgent):
    """Consults."""

    name = "assistant"
    instructions = "Answer briefly."
    tools = (consult, consult_in_a_thread, destroy, block, crash)


class Witness(BaseAgent):
    """Keeps state where it may, and tells what it found there before and after it met the others."""

    name = "witness"

    async def run(self, task: str, scope: RunScope) -> dict[str, Any]:
        found = {"attributes": sorted(vars(self)), "variable": VARIABLE.get(), "history": str(scope.history)}
        user_id = scope.context.user_id
        self.task = task
        self.notes = [user_id]
        VARIABLE.set(user_id)
        await scope.think(f"I am {user_id}'s and was told {task}")
        await meet(task)
        self.notes.append(await scope.tools.call(consult, PARTY.sub("", task)))
        seen = await scope.tools.call(consult_in_a_thread, PARTY.sub("", task))
        return found | {
            "task": self.task,
            "notes": self.notes,
            "in a thread": seen,
            "variable afterwards": VARIABLE.get(),
            "user": scope.context.user_id,
            "instance": id(self),
        }


class Troublemaker(BaseAgent):
    """Does to the server what its task says."""

    name = "troublemaker"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think(task)
        match task.split()[0]:
            case "raise":
                raise RuntimeError(f"trouble of {secret_of(scope.context.user_id)}")
            case "exit":
                raise SystemExit(3)
            case "hang":
                while True:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        note(scope, "ignored")
            case "block":
                async with asyncio.TaskGroup() as group:
                    for number in range(30):
                        group.create_task(scope.tools.call(block, f"{number}"))
            case "flood":
                for number in range(1500):
                    await scope.think(f"{number} ".ljust(400, "x"))
            case "exit_in_a_task":
                async with asyncio.TaskGroup() as group:
                    group.create_task(leave(SystemExit(4)))
            case "interrupt_in_a_task":
                await asyncio.gather(leave(KeyboardInterrupt()))
            case "exit_in_a_callback":
                asyncio.get_running_loop().call_soon(sys.exit, 5)
                await asyncio.sleep(0)
            case "haunt":
                asyncio.create_task(haunt(scope))  # noqa: RUF006 - nobody is to own it
            case "wait":
                await asyncio.Event().wait()
        return "done"


async def leave(error: BaseException) -> None:
    raise error


async def haunt(scope: RunScope) -> None:
    """Goes on after its run, and does not let itself be told so."""
    while True:
        with contextlib.suppress(Exception):
            await scope.tools.call(consult, "boo")
            await scope.think("boo")


class Stillborn(BaseAgent):
    """Cannot be made."""

    name = "stillborn"

    def __init__(self) -> None:
        raise asyncio.CancelledError

    async def run(self, task: str, scope: RunScope) -> str:
        return task


@tool(needs_approval=True)
async def sign(text: str) -> str:
    """Sign something."""
    return f"signed {text}"


class Signer(BaseAgent):
    """Signs what its user lets it sign."""

    name = "signer"

    async def run(self, task: str, scope: RunScope) -> str:
        with contextlib.suppress(CallFailed):
            return str(await scope.tools.call(sign, task))
        return "not signed"


class Asker(BaseAgent):
    """Asks its user."""

    name = "asker"

    async def run(self, task: str, scope: RunScope) -> str:
        return f"heard {await scope.tools.call(ask_user, task)}"


registry = AgentRegistry([Assistant, Witness, Troublemaker, Stillborn, Signer, Asker], default="assistant")
