"""How many calls may be at work at once, in the process and of one user: users in turn."""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque

from netra_apex.errors import CallFailed


class UserSlots:
    """Slots for calls: at most `size` are taken in the process, and `per_user` by one user.

    Why `per_user`: what a call started may outlast it, so a user whose calls hang would otherwise come to hold every
    slot. Belongs to one event loop.
    """

    def __init__(self, *, size: int, per_user: int) -> None:
        self._size = size
        self._per_user = per_user
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._closed = False

    @property
    def taken(self) -> int:
        """Slots that are not free."""
        return self._held.total()

    async def take(self, user_id: str) -> None:
        """Takes a slot, once one is free; slots go round the users who wait. `release` gives it back.

        Raises:
            CallFailed: `cancelled`, the process is stopping.
        """
        if self._closed:
            raise _stopping()
        # While a slot is free, whoever waits does so at his own bound: nobody is overtaken here.
        if self._may_start(user_id):
            self._held[user_id] += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(user_id, deque())
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release(user_id)  # the slot was given in the same moment as the call was cancelled
            raise
        finally:
            with contextlib.suppress(ValueError):
                queue.remove(place)

    def release(self, user_id: str) -> None:
        """Gives a slot of this user's back, to whoever is next."""
        self._held[user_id] -= 1
        if not self._held[user_id]:
            del self._held[user_id]
        for waiter in tuple(self._waiting):
            if self._give(waiter):
                return

    def close(self) -> None:
        """Gives out no more slots, and refuses those who wait."""
        self._closed = True
        for queue in self._waiting.values():
            for place in queue:
                if not place.done():
                    place.set_exception(_stopping())
        self._waiting.clear()

    def _may_start(self, user_id: str) -> bool:
        return self._held.total() < self._size and self._held[user_id] < self._per_user

    def _give(self, user_id: str) -> bool:
        """Gives the free slot to the first waiting call of this user; False where he has none or is at his bound."""
        queue = self._waiting[user_id]
        while queue and queue[0].done():
            queue.popleft()
        if not queue:
            del self._waiting[user_id]
            return False
        if not self._may_start(user_id):
            return False
        self._waiting.move_to_end(user_id)
        self._held[user_id] += 1
        queue.popleft().set_result(None)
        return True


def _stopping() -> CallFailed:
    return CallFailed("cancelled", "the process is stopping")
