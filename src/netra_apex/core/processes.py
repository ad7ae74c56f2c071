"""Processes that share a database: who lives, and what they tell one another, as narrow protocols."""

from collections.abc import Callable
from typing import Protocol


class Presence(Protocol):
    """Which processes on this database live, where there may be several."""

    async def seen(self, room: int) -> bool:
        """Says that this process lives. Whether it can judge others: neither it nor the server was away just now."""
        ...

    async def check_secret(self) -> None:
        """Makes sure that those who live have the same secret."""
        ...

    async def others(self) -> tuple[tuple[str, int], ...]:
        """(executor, ms since it was seen) of every other process that is known or has runs."""
        ...

    async def bury(self, executor: str, *, silent_ms: int, locked: bool) -> int | None:
        """Lets go of what a dead process has: how many runs. None where it lives.

        Dead is who was silent for so long and whose lock is free; that of one that hangs may be `locked` still.
        """
        ...

    async def close(self) -> None:
        """This process is gone."""
        ...


class Bus(Protocol):
    """What processes tell one another, where there are several. It may be lost; what must not be is in the store."""

    def send(self, topic: str, text: str, *, urgent: bool = True) -> None:
        """Tells everybody who listens to this topic, soon. `text` is a JSON object."""
        ...

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        """Calls `heard` with what is told on this topic."""
        ...

    def on_back(self, call: Callable[[float], None]) -> None:
        """Calls this when it listens again, with for how many seconds something may have been missed."""
        ...

    async def flush(self) -> None:
        """Waits until what was sent is told, or cannot be for now."""
        ...

    async def run(self) -> None:
        """Listens and tells, until it is cancelled."""
        ...
