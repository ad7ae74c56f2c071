"""How many runs a process has at once, per user and in all. Which of the runs that wait is next: `core.ports.Turns`."""

from collections.abc import Callable

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

    @property
    def room(self) -> int:
        """How many more runs the process could have now."""
        return max(0, self.per_process - self.total)

    def take(self, user_id: str, *, counted: bool = False) -> None:
        """Takes a slot; for a run whose user's limit was `counted` before, where it was admitted, whatever that is.

        Raises:
            QueueFull: the user, or the process, has as many as allowed.
        """
        if counted:
            self._of_user[user_id] = self._of_user.get(user_id, 0) + 1
            self.total += 1
            return
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
