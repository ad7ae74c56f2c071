"""Orders to carry runs out, and the port of who does.

A run that was accepted is in the store before it is handed over, so a runner may be replaced by one that survives the
process: the port speaks of orders and run ids, never of tasks.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.journal import Journal
from netra_apex.core.messages import Attachment, ModelMessage
from netra_apex.core.runs import Run, RunStream, Traced


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What a run had told and done before this process took it up."""

    stream: RunStream
    journal: Journal


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted run, to be carried out. `history` is what was said in its thread when it was accepted.

    `taken_up` is of a run that waited, or that another process had before; its history is looked up.
    `files` came with the message. `traced` says where in its trace one is that was taken up.
    """

    context: UserExecutionContext
    agent: str
    task: str
    history: tuple[ModelMessage, ...]
    taken_up: TakenUp | None = None
    files: tuple[Attachment, ...] = ()
    traced: Traced | None = None


class Runner(Protocol):
    """What carries accepted runs out."""

    def reserve(self) -> bool:
        """Whether there is room for one more run here, which is then kept: `start` uses it, `free` gives it up."""
        ...

    def free(self) -> None:
        """The room that was reserved is not needed: the run was not accepted, or waits."""
        ...

    def start(self, order: Order) -> None:
        """Carries out an accepted run, in the room that was reserved for it."""
        ...

    def look(self) -> None:
        """Some run may wait that could start here: looks for it soon."""
        ...

    def steer(self, run_id: str) -> None:
        """The run's user has said something to it, which is in the store: here, or wherever it is carried out."""
        ...

    async def cancel(self, run: Run, by: str) -> asyncio.Event | None:
        """Stops a run, here or wherever it is carried out; the answer is set once it has ended, where that is here."""
        ...
