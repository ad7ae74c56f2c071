"""Orders to carry runs out, and the port of who does.

A run that was accepted is in the store before it is handed over, so a runner may be replaced by one that survives the
process: the port speaks of orders and run ids, never of tasks.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.journal import Journal
from netra_apex.core.messages import ModelMessage
from netra_apex.core.runs import RunStream
from netra_apex.engine.limits import Place


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What a run had told and done before this process took it up."""

    stream: RunStream
    journal: Journal


@dataclass(frozen=True, slots=True)
class Order:
    """An accepted run, to be carried out. `history` is what was said in its thread when it was accepted.

    `taken_up` is of a run that another process had before; its history is looked up.
    """

    context: UserExecutionContext
    agent: str
    task: str
    history: tuple[ModelMessage, ...]
    taken_up: TakenUp | None = None

    @property
    def place(self) -> Place:
        """Where it stands in the schedule."""
        return Place(self.context.user_id, self.context.thread_id, self.context.run_id)


class Runner(Protocol):
    """What carries accepted runs out."""

    def enter(self, place: Place) -> None:
        """Takes a place for a run that is about to be accepted. Raises: QueueFull."""
        ...

    def leave(self, place: Place) -> None:
        """Gives the place back: the run was not accepted."""
        ...

    def start(self, order: Order) -> bool:
        """Carries out an accepted run, now (True) or in its turn (False)."""
        ...

    def take_up(self, order: Order) -> None:
        """Carries out a run that another process had before, in its turn: it was admitted then."""
        ...

    def cancel(self, run_id: str, by: str) -> asyncio.Event | None:
        """Stops a run; the answer is set once it has ended. None: this runner does not have it."""
        ...
