"""What the stores ask of a database: transactions, in which statements run. SQLite and Postgres both give it.

Why one interface and not two sets of stores: what is written when a run is accepted, told or taken up is decided once,
in jobs, and the same tests run on both databases. The statements too are one text for both (`sql/*.sql`), in the part
of SQL that both speak.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Values = Mapping[str, Any]
Row = tuple[Any, ...]


class Transaction(Protocol):
    """One transaction. Statements name their values `:name`; a name may stand in them more than once."""

    async def one(self, statement: str, values: Values) -> Row | None:
        """The first row that it gives, or None."""
        ...

    async def all(self, statement: str, values: Values) -> list[Row]:
        """Every row that it gives."""
        ...

    async def run(self, statement: str, values: Values) -> int:
        """Carries it out; how many rows it changed."""
        ...

    async def run_each(self, statement: str, rows: Iterable[Values]) -> None:
        """Carries it out once for each of these, in their order."""
        ...

    async def lock(self, user_id: str) -> None:
        """Nobody else holds this user's lock from here to the end of the transaction.

        For decisions that count what a user has: of two processes that decide at once, the second sees what the
        first did.
        """
        ...


Job = Callable[[Transaction], Coroutine[Any, Any, T]]
"""What runs in a transaction. It awaits nothing but the transaction's own methods, and may be run a second time."""


class Database(Protocol):
    """Carries jobs out, each in one transaction, on behalf of one user: `user` is whom its content belongs to.

    Postgres shows and takes that user's rows alone, whatever the statements say. None is the system's own work, which
    sees no content: accounts and the ids, states and times of runs.
    """

    def write(
        self, job: Job[T], *, user: str | None, linger: bool = False, alone: bool = False, repeatable: bool = False
    ) -> Awaitable[T]:
        """Runs `job` in a transaction that writes; done once it is on disk. A user's jobs keep their order.

        With `linger` it waits up to 3 ms for others to share its commit, unless somebody is in a `hurry`. One that
        takes locks is `alone` in its transaction. Such a job is run a second time only where it is certain that the
        first time came to nothing; one that is `repeatable` knows what it did before, and need not be asked about.

        A job that raises `Refused` must not have written anything. Any other error undoes what it wrote, and only that.

        Raises:
            StoreError: the database is closed or cannot be reached; from the answer: it refused.
        """
        ...

    def read(self, job: Job[T], *, user: str | None) -> Awaitable[T]:
        """Runs `job` where it sees what has been committed, and may not write."""
        ...

    def hurry(self) -> None:
        """Somebody waits: what was asked for goes to the disk at the end of this turn of the loop."""
        ...

    def give_up_soon(self) -> None:
        """The process ends: a database that is gone is waited for briefly from now on, by whoever waits already too."""
        ...

    def trouble(self) -> str | None:
        """Why it cannot be reached now, in a sentence for operators; None where nothing is known to be wrong."""
        ...

    async def check(self) -> None:
        """Writes what is there already, down to the disk. Raises: StoreError: nothing can be written."""
        ...

    async def changed_elsewhere(self) -> bool:
        """Whether another process may have written since this was last asked."""
        ...

    async def close(self) -> None:
        """Ends it, after what was asked for has been done."""
        ...


def run_now(job: Coroutine[Any, Any, T]) -> T:
    """What a job gives on a database whose methods do not wait: it is run to its end here, in the calling thread."""
    try:
        job.send(None)
    except StopIteration as done:
        return done.value
    job.close()
    raise AssertionError("a job awaits nothing but its transaction")
