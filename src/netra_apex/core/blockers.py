"""What keeps runs from ending well just now, and how everything stands: from values alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from netra_apex.core.golden import DONE
from netra_apex.core.runs import RunStatus

LATELY_MS = 300_000  # how long a model's failure is a reason to look at it
SLOW_MS = 250.0  # a write takes some milliseconds


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is in the way, and of how many runs or users; `since` in milliseconds since 1970, where known."""

    kind: str
    count: int
    since: int | None
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """Runs of one user that have not ended and stand alike."""

    user_id: str
    status: RunStatus
    taken: bool
    overdue: bool
    runs: int
    since: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEnds:
    """Runs that asked this model last and ended so within the last minutes, the first and the last of them when."""

    model: str
    ended_as: str
    runs: int
    first: int
    last: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How everything stands. `workers` is None where no others can be; `database_ms` how long it took to answer."""

    unfinished: Sequence[Unfinished]
    models: Sequence[ModelEnds]
    workers: int | None
    database_ms: float

    @property
    def queued(self) -> int:
        """Runs that wait for their turn."""
        return sum(each.runs for each in self.unfinished if each.status is not RunStatus.WAITING and not each.taken)

    @property
    def running(self) -> int:
        """Runs that are carried out."""
        return sum(each.runs for each in self.unfinished if each.taken)

    @property
    def waiting(self) -> int:
        """Runs that wait for a person."""
        return sum(each.runs for each in self.unfinished if each.status is RunStatus.WAITING)

    @property
    def overdue(self) -> int:
        """Runs that go on, or wait, beyond the limit of the golden path."""
        return sum(each.runs for each in self.unfinished if each.overdue)

    @property
    def users(self) -> int:
        """Whose runs these are."""
        return len({each.user_id for each in self.unfinished})


def blockers(standing: Standing, *, queued_per_user: int) -> tuple[Blocker, ...]:
    """What is in the way, the worst first."""
    return (*_models(standing.models), *_database(standing), *_queues(standing, queued_per_user), *_people(standing))


def _models(ends: Iterable[ModelEnds]) -> Iterator[Blocker]:
    ends = tuple(ends)
    well = {each.model: each.last for each in ends if each.ended_as == DONE}
    kinds = {"model_unavailable": ("model_unreachable", "cannot be reached")}
    for each in ends:
        if each.ended_as == DONE or well.get(each.model, 0) > each.last:
            continue
        kind, said = kinds.get(each.ended_as, ("model_failing", "answers with errors"))
        message = f"{each.model or 'a model'} {said}: {_runs(each.runs)} failed by it lately"
        yield Blocker(kind=kind, count=each.runs, since=each.first, message=message)


def _database(standing: Standing) -> Iterator[Blocker]:
    if standing.database_ms > SLOW_MS:
        message = f"the database is slow: it took {standing.database_ms:.0f} ms to answer"
        yield Blocker(kind="database_slow", count=1, since=None, message=message)


def _queues(standing: Standing, queued_per_user: int) -> Iterator[Blocker]:
    queued = [each for each in standing.unfinished if each.status is not RunStatus.WAITING and not each.taken]
    if queued and standing.workers == 0:
        since = min(each.since for each in queued)
        message = f"{_runs(standing.queued)} waiting, and no process executes runs"
        yield Blocker(kind="no_worker", count=standing.queued, since=since, message=message)
    by_user: dict[str, int] = {}
    for each in queued:
        by_user[each.user_id] = by_user.get(each.user_id, 0) + each.runs
    full = [user_id for user_id, runs in by_user.items() if runs >= queued_per_user]
    if full:
        message = f"of {len(full)} {'user' if len(full) == 1 else 'users'} as many runs wait as may"
        yield Blocker(kind="queue_full", count=len(full), since=None, message=message)
    if standing.overdue:
        since = min(each.since for each in standing.unfinished if each.overdue)
        message = f"{_runs(standing.overdue)} beyond the limit and without an end"
        yield Blocker(kind="overdue", count=standing.overdue, since=since, message=message)


def _people(standing: Standing) -> Iterator[Blocker]:
    if standing.waiting:
        since = min(each.since for each in standing.unfinished if each.status is RunStatus.WAITING)
        message = f"{_runs(standing.waiting)} waiting for a person: an approval, or an answer"
        yield Blocker(kind="waiting_for_people", count=standing.waiting, since=since, message=message)


def _runs(count: int) -> str:
    return f"{count} {'run' if count == 1 else 'runs'}"
