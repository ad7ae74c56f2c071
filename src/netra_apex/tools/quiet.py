"""`Quiet`: notices when a run does nothing any more but wait for a person."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Generator
from dataclasses import dataclass

QUIET_SECONDS = 0.05  # so long nothing is begun: an agent's code may have more to do beside what waits


@dataclass(frozen=True, eq=False, slots=True)
class _Work:
    """Something that is under way; what is `repeatable` may be cut off, and is begun anew."""

    repeatable: bool


_around: "contextvars.ContextVar[tuple[_Work, ...]]" = contextvars.ContextVar("netra_around", default=())


class Quiet:
    """Counts what a run is busy with, and what in it waits for a person.

    Why: a run that waits must take no slot, but a model request or a call that is under way beside what waits must not
    be cut off for it. So the run is left only once all of that has ended. A call in which another call waits does
    nothing but wait itself.

    `on_quiet` leaves the run, or answers False where that is not to be yet: then it is asked again soon.
    """

    def __init__(self) -> None:
        self._busy: set[_Work] = set()
        self._held: list[_Work] = []
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self.on_quiet: Callable[[], bool] = lambda: True

    @contextlib.contextmanager
    def busy(self, *, repeatable: bool = False) -> Generator[None]:
        """Something is under way that must not be cut off; not for another's sake, but for what waits inside it."""
        work = _Work(repeatable)
        self._busy.add(work)
        self._stop()
        inside = _around.set((*_around.get(), work))
        try:
            yield
        finally:
            _around.reset(inside)
            self._busy.discard(work)
            self._look()

    def may_wait(self) -> bool:
        """Whether who calls may wait for a person: not inside of what could not be begun anew afterwards."""
        return all(work.repeatable for work in self._inside())

    async def wait(self) -> None:
        """Waits for a person: until whoever waits is cancelled."""
        inside = self._inside()
        self._waiting += 1
        self._held += inside
        self._look()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._waiting -= 1
            for work in inside:
                self._held.remove(work)
            self._stop()
            self._look()

    def _inside(self) -> list[_Work]:
        return [work for work in _around.get() if work in self._busy]

    @property
    def _calm(self) -> bool:
        return self._waiting > 0 and self._busy.issubset(self._held)

    def _look(self) -> None:
        if self._calm and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        if self._calm and not self.on_quiet():
            self._look()
