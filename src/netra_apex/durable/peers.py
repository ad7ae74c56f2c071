"""`Peers`: the other processes on this database. What a dead one had is put back for whoever has room.

A killed process is noticed within about half a second: its lock is free, and it is seen no more. One that only stopped
(a machine that hangs, SIGSTOP) keeps its lock, and has until the end of its lease; when it comes back, what it writes
into runs that were taken up is refused, and it lets go of them.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from netra_apex.core.processes import Presence
from netra_apex.errors import StoreError

LOOK_SECONDS = 0.2
SILENT_MS = 500  # a living process is seen five times a second
STEADY_SECONDS = 3.0  # after the database, or this process, was away: how long others have to come back
LEASE_BEYOND_DRAIN_SECONDS = 10.0

log = structlog.get_logger()


class Peers:
    """Says that this process lives, and looks after the others.

    `room` is how many runs it may have at once, asked with each look.
    """

    def __init__(
        self, presence: Presence, room: Callable[[], int], *, drain_seconds: float, on_left: Callable[[], None]
    ) -> None:
        self._presence = presence
        self._room = room
        self._lease_ms = round(1000 * (drain_seconds + LEASE_BEYOND_DRAIN_SECONDS))
        self._on_left = on_left
        self._steady_since = float("-inf")
        self.alone = False  # as far as is known
        self._answers = True

    async def enter(self) -> None:
        """Says so for the first time.

        Raises:
            ConfigurationError: others have another secret.
            StoreError: the database does not answer.
        """
        await self._presence.check_secret()
        await self._judging()
        self.alone = not await self._presence.others()
        if not self.alone:
            # Until those who believed that they were alone have seen it, and tell it what it would have to hear.
            await asyncio.sleep(2 * LOOK_SECONDS)

    async def run(self) -> None:
        """Five times a second, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                self._answers = True
            except StoreError as error:
                if self._answers:
                    log.warning("the database does not answer", error=str(error))
                self._answers = False
                self._steady_since = float("inf")
            except Exception:
                # A fault in looking must not end the group that every run is in; the next look comes soon.
                log.exception("a look at the other processes failed")

    async def look(self) -> None:
        """Once.

        Raises:
            StoreError: the database does not answer.
        """
        judging = await self._judging()
        others = await self._presence.others()
        self.alone = not others
        for executor, silent_ms in others if judging else ():
            if silent_ms > self._lease_ms:
                await self._bury(executor, self._lease_ms, locked=True)
            elif silent_ms > SILENT_MS:
                await self._bury(executor, SILENT_MS, locked=False)

    async def _judging(self) -> bool:
        """Says that this process lives; whether others who are silent may be taken for dead.

        Who was away itself, or has just found the database again, gives the others a while: so may they have been.
        """
        if not await self._presence.seen(self._room()) or self._steady_since == float("inf"):
            self._steady_since = time.monotonic()
        return time.monotonic() - self._steady_since > STEADY_SECONDS

    async def _bury(self, executor: str, silent_ms: int, *, locked: bool) -> None:
        count = await self._presence.bury(executor, silent_ms=silent_ms, locked=locked)
        if count is None:
            return
        log.warning("a process is gone: its runs go on elsewhere", executor=executor, runs=count)
        if count:
            self._on_left()
