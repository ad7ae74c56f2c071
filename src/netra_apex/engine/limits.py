"""How many runs there may be at once, per user and per process; and who runs next when there are more."""

from collections import OrderedDict, deque
from collections.abc import Callable, Container
from dataclasses import dataclass

from netra_apex.errors import QueueFull


class Slots:
    """Counts running runs. Atomic, as it never waits: it is used on the loop alone."""

    def __init__(self, *, per_user: int, per_process: int) -> None:
        self.per_user = per_user
        self.per_process = per_process
        self.total = 0
        self._of_user: dict[str, int] = {}
        self._on_release: Callable[[], None] | None = None

    def on_release(self, call: Callable[[], None]) -> None:
        """Calls this each time a slot is freed."""
        self._on_release = call

    def free(self, user_id: str) -> int:
        """How many more slots this user could have now."""
        return min(self.per_process - self.total, self.per_user - self._of_user.get(user_id, 0))

    def take(self, user_id: str) -> None:
        """Takes a slot.

        Raises:
            QueueFull: the user, or the process, has as many as allowed.
        """
        if self._of_user.get(user_id, 0) >= self.per_user:
            raise QueueFull(f"a user has at most {self.per_user} runs at once")
        if self.total >= self.per_process:
            raise QueueFull(f"this process has at most {self.per_process} runs at once")
        self._of_user[user_id] = self._of_user.get(user_id, 0) + 1
        self.total += 1

    def release(self, user_id: str) -> None:
        """Frees a slot that was taken."""
        left = self._of_user[user_id] - 1
        if left:
            self._of_user[user_id] = left
        else:
            del self._of_user[user_id]
        self.total -= 1
        if self._on_release is not None:
            self._on_release()


@dataclass(frozen=True, slots=True)
class Place:
    """A run in the schedule."""

    user_id: str
    thread_id: str
    run_id: str


class Schedule:
    """Which run is next: a thread's runs one after another, users in turn. A machine without I/O.

    Why in turn: one user's flood must not delay another's run (G8), so the queue is a ring of users and not of runs.
    """

    def __init__(self, slots: Slots, *, queued_per_user: int) -> None:
        self._slots = slots
        self._queued_per_user = queued_per_user
        self._waiting: OrderedDict[str, deque[Place]] = OrderedDict()
        self._busy_threads: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def reason_to_wait(self, place: Place) -> str | None:
        """Why a run entered now would have to wait; None where it would not."""
        mine = self._waiting.get(place.user_id, ())
        if (place.user_id, place.thread_id) in self._busy_threads or any(p.thread_id == place.thread_id for p in mine):
            return "another run of this thread is under way"
        if self._about_to_start(place.user_id) >= self._slots.free(place.user_id):
            full = self._slots.total >= self._slots.per_process
            return "the server is busy" if full else "as many of your runs as may be are under way"
        return None

    def enter(self, place: Place, *, limited: bool = True) -> str | None:
        """Takes a run in; it is waiting until `start_next` names it. Answers why it has to wait, None if it need not.

        One that was admitted before is not `limited`: it has its place however many there are.

        Raises:
            QueueFull: as many of the user's runs wait as may.
        """
        reason = self.reason_to_wait(place)
        mine = self._waiting.get(place.user_id)
        if (
            limited
            and reason is not None
            and len(mine or ()) - self._about_to_start(place.user_id) >= self._queued_per_user
        ):
            raise QueueFull(f"{self._queued_per_user} of your runs are waiting already")
        if mine is None:
            mine = self._waiting[place.user_id] = deque()
        mine.append(place)
        return reason

    def start_next(self, accepted: Container[str]) -> Place | None:
        """The run that may start now, if any, of those that are accepted; its thread is taken until `leave`.

        The caller takes its slot before it asks again.
        """
        for user_id, mine in self._waiting.items():
            if not self._slots.free(user_id):
                continue
            for place in mine:
                if place.run_id in accepted and self._first_in_thread(place, mine):
                    mine.remove(place)
                    self._forget_or_requeue(user_id)
                    self._busy_threads.add((user_id, place.thread_id))
                    return place
        return None

    def leave(self, place: Place) -> None:
        """The run has ended, or is given up before it began."""
        mine = self._waiting.get(place.user_id)
        if mine is not None and place in mine:
            mine.remove(place)
            if not mine:
                del self._waiting[place.user_id]
            return
        self._busy_threads.discard((place.user_id, place.thread_id))

    def _about_to_start(self, user_id: str) -> int:
        """How many of the user's runs that have entered need not wait: they are being accepted in this moment."""
        mine = self._waiting.get(user_id, ())
        firsts = {place.thread_id for place in mine if (user_id, place.thread_id) not in self._busy_threads}
        return min(len(firsts), self._slots.free(user_id))

    def _first_in_thread(self, place: Place, mine: deque[Place]) -> bool:
        if (place.user_id, place.thread_id) in self._busy_threads:
            return False
        return next(other for other in mine if other.thread_id == place.thread_id) == place

    def _forget_or_requeue(self, user_id: str) -> None:
        if self._waiting[user_id]:
            self._waiting.move_to_end(user_id)
        else:
            del self._waiting[user_id]
