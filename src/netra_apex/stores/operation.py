"""What an operator sees, from its rows: how runs, users' loads and processes stand. Ids, numbers and times."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from netra_apex.core.administration import Incident, ProcessState, RunState, UserLoad
from netra_apex.core.runs import RunStatus
from netra_apex.stores.database import Row
from netra_apex.stores.rows import from_ms, run_of


def state_of(row: Row) -> RunState:
    """A run and how it is carried out, from the columns of `run`, `open_runs` and `ended_runs`."""
    run = run_of(row[:9])
    executor, epoch, waits_since, approvals, questions = row[9:]
    if run.status is not RunStatus.WAITING:
        # What it once waited for stands there still.
        waits_since = approvals = questions = 0
    return RunState(
        run=run,
        executor=executor,
        taken_up=epoch - 1,
        approvals=approvals,
        questions=questions,
        waits_since=_at(waits_since),
    )


def load_of(row: Row) -> UserLoad:
    """A user's runs that have not ended, counted."""
    user_id, *counts, queued_since, waits_since = row
    running, queued, left, waiting, approvals, questions = map(int, counts)  # Postgres adds up to decimals
    return UserLoad(
        user_id=user_id,
        running=running,
        queued=queued,
        left=left,
        waiting=waiting,
        approvals=approvals,
        questions=questions,
        queued_since=_at(queued_since),
        waits_since=_at(waits_since),
    )


def processes_of(rows: Sequence[Row]) -> tuple[ProcessState, ...]:
    """The processes. Against one another, as the clock that they are seen by is the database's, and not this one's."""
    last = max((row[3] for row in rows), default=0)
    return tuple(
        ProcessState(
            executor=executor,
            room=room,
            started_at=from_ms(started_at),
            silent_ms=last - seen_at,
            draining=bool(draining),
            figures=None if figures is None else msgspec.json.decode(figures, type=dict[str, Any]),
        )
        for executor, room, started_at, seen_at, figures, draining in rows
    )


def incident_of(row: Row) -> Incident:
    """What happened to a process."""
    at, kind, executor, runs = row
    return Incident(at=from_ms(at), kind=kind, executor=executor, runs=runs)


def _at(ms: int | None) -> datetime | None:
    return from_ms(ms) if ms else None
