"""`Patience`: how long a database that is gone is waited for, and how much less long by a process that ends."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from netra_apex.stores.connecting import in_the_way, lost

T = TypeVar("T")

LAST_SECONDS = 2.0  # for what is being waited for when it runs out
EACH_LAST_SECONDS = 1.0  # and for what is asked for afterwards


class Patience:
    """Rides out an outage of so many seconds, until it is told to give up soon."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: float | None = None
        self._riding: dict[asyncio.Timeout, float] = {}  # since when
        self.trouble: BaseException | None = None  # why the database could not be reached, since it last answered

    async def riding_out(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` gives; done again while the database is gone, or had two transactions in each other's way."""
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(self._limit(began)) as limit:
            self._riding[limit] = began
            try:
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception(self._passes),
                    stop=stop_after_delay(self._seconds),
                    wait=wait_random_exponential(0.05, max=1.0),
                    reraise=True,
                ):
                    with attempt:
                        done = await work()
                        self.trouble = None
                        return done
            finally:
                del self._riding[limit]
        raise AssertionError("it either gives or raises")

    def _passes(self, error: BaseException) -> bool:
        if gone := lost(error):
            self.trouble = error
        return gone or in_the_way(error)

    def give_up_soon(self) -> None:
        """From now on waits briefly, for what is being waited for as well."""
        if self._last is not None:
            return
        self._last = asyncio.get_running_loop().time() + LAST_SECONDS
        for limit, began in self._riding.items():
            limit.reschedule(self._limit(began))

    def _limit(self, began: float) -> float | None:
        """When whatever began then is given up, though an attempt be under way: a server that hangs says nothing."""
        return None if self._last is None else max(self._last, began + EACH_LAST_SECONDS)
