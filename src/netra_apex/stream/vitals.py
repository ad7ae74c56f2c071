"""`Vitals`: how the process itself is: how late its loop is, what it holds. What grows without end is a leak."""

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import TypedDict

LOOK_SECONDS = 0.1
STALL_SECONDS = 0.25  # a loop that is later than this has been held up by code that did not await
MINUTE = 60
_STATM, _FILES = Path("/proc/self/statm"), Path("/proc/self/fd")


class Held(TypedDict):
    """What a process holds. Memory in bytes; None where the system does not say."""

    tasks: int
    threads: int
    memory_bytes: int | None
    open_files: int | None


class Vitals:
    """Measures the loop by asking to be woken ten times a second, and noting how late that is."""

    def __init__(self) -> None:
        self._late: deque[tuple[int, float]] = deque(maxlen=MINUTE)  # (second, the worst in it)
        self.stalls = 0
        self.longest_stall = 0.0  # in seconds
        self.stalled_at: float | None = None  # by the clock that never goes back: the last one's end

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)
            self.note(time.monotonic(), max(0.0, time.monotonic() - began - LOOK_SECONDS))

    def note(self, now: float, late: float) -> None:
        """The loop was so late."""
        second = int(now)
        if self._late and self._late[-1][0] == second:
            self._late[-1] = (second, max(late, self._late[-1][1]))
        else:
            self._late.append((second, late))
        if late >= STALL_SECONDS:
            self.stalls += 1
            self.longest_stall = max(self.longest_stall, late)
            self.stalled_at = now

    def lag(self, now: float, seconds: int) -> float:
        """The worst of the last so many seconds, in seconds."""
        return max((late for second, late in self._late if second > now - seconds - 1), default=0.0)


def held() -> Held:
    """What this process holds now."""
    memory = files = None
    with contextlib.suppress(OSError):
        memory = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        files = sum(1 for _ in _FILES.iterdir())
    return Held(tasks=len(asyncio.all_tasks()), threads=threading.active_count(), memory_bytes=memory, open_files=files)
