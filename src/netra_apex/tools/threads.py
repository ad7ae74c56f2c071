"""Where tools that are not async run: threads of their own, so that none of them holds up the event loop."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from netra_apex.tools.slots import UserSlots

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Ended:
    """What a thread brings back: a value or an exception. An exception must cross as a value: a future refuses some."""

    value: Any = None
    error: BaseException | None = None


class ToolThreads:
    """Runs blocking functions, at most `size` at once in the process and `per_user` of one user.

    Why `per_user`: a function in a thread cannot be stopped, so a user whose calls hang would otherwise come to hold
    every thread. A call that is given up, by a time-out or a cancel, holds its slot until its thread really ends.

    Why a new thread for each call: what a function leaves in a `threading.local` is gone with its thread, so no later
    user can find it there. Handing the call to a waiting thread would save about 30 µs of 115. Each call runs in a copy
    of its caller's contextvars, so that what it sets there is seen by nobody else.

    Why daemon threads: the interpreter does not wait for them, so a function that never returns cannot keep the process
    from ending. Belongs to one event loop.
    """

    def __init__(self, *, size: int = 64, per_user: int = 16) -> None:
        self._slots = UserSlots(size=size, per_user=per_user)

    @property
    def running(self) -> int:
        """Threads that have not ended, given-up ones included."""
        return self._slots.taken

    async def run(self, user_id: str, function: Callable[[], R], begins: Callable[[], None] = lambda: None) -> R:
        """Calls `function` in a thread, once a slot is free; `begins` is called when it is about to.

        Raises:
            CallFailed: `cancelled`, the process is stopping.
            BaseException: whatever the function raised.
        """
        await self._slots.take(user_id)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_Ended] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            ended = _call(context, function)
            # The loop may be gone by the time a stuck function returns; then nobody waits for it either.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._end, user_id, answer, ended)

        try:
            threading.Thread(target=work, name="netra-tool", daemon=True).start()
        except RuntimeError:
            self._slots.release(user_id)
            raise
        begins()
        ended = await answer
        if ended.error is not None:
            raise ended.error
        return ended.value

    def close(self) -> None:
        """Takes no more calls and refuses those that wait. Nobody waits for the threads that run."""
        self._slots.close()

    def _end(self, user_id: str, answer: "asyncio.Future[_Ended]", ended: _Ended) -> None:
        self._slots.release(user_id)
        if not answer.done():
            answer.set_result(ended)


def _call(context: contextvars.Context, function: Callable[[], Any]) -> _Ended:
    try:
        return _Ended(context.run(function))
    except BaseException as error:  # noqa: BLE001 - carried to the caller, who judges it; a thread has nobody to tell
        return _Ended(error=error)
