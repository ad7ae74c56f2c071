"""What an operator watches: everybody's runs, processes, and what is wrong with its cause; once, or live.

A look needs the database, which may be what is wrong: then only this process's own part is told, and why.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ValidationError

from netra_apex.core.administration import Actor, Incident, Overview, ProcessState, RunState, UserLoad
from netra_apex.core.runs import Run
from netra_apex.errors import Refused, StoreError
from netra_apex.server.auth import Principal
from netra_apex.server.services import Services
from netra_apex.server.shapes import Instant, RunShape

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 1.5  # after so long without an answer the database is said to be away
WRITE_EVERY = 3  # looks: a full disk can still be read
SILENT_MS = 1500
STALL_MS = 1000
LOST_SECONDS = 60.0  # how long it is told of a process that was lost
# Codes of runs that failed of the system they ran on, and not of what their agents did.
OURS = ("model_unavailable", "model_error", "interrupted", "recovered_too_often")
Kind = Literal["database", "model", "lost", "silent", "stalled", "failing", "nobody"]


class AnyRunShape(RunShape):
    """A run, as an administrator sees it."""

    user_id: str

    @classmethod
    def of(cls, run: Run) -> Self:
        """From a stored run."""
        return cls(**dict(RunShape.of(run)), user_id=run.user_id)


class RunStateShape(AnyRunShape):
    """A run and how it is carried out. `taken_up` counts who carried it on after the first: a takeover, a decision."""

    executor: str | None
    taken_up: int
    approvals: int
    questions: int
    waits_since: Instant | None

    @classmethod
    def of_state(cls, state: RunState) -> Self:
        """From a stored run."""
        return cls(
            **dict(AnyRunShape.of(state.run)),
            executor=state.executor,
            taken_up=state.taken_up,
            approvals=state.approvals,
            questions=state.questions,
            waits_since=state.waits_since,
        )


class LoadShape(BaseModel):
    """How many runs of a user have not ended, and how they stand. `left` wait to be taken up again."""

    user_id: str
    running: int
    queued: int
    left: int
    waiting: int
    approvals: int
    questions: int
    queued_since: Instant | None
    waits_since: Instant | None

    @classmethod
    def of(cls, load: UserLoad) -> Self:
        """From what was counted."""
        return cls(**{name: getattr(load, name) for name in cls.model_fields})


class FiguresShape(BaseModel):
    """What a process says of itself. `failed` are the runs that failed there within a minute, by code.

    `feeds` are the runs that it tells of; these, tasks, threads, files and memory show a leak by growing without end.
    """

    version: str
    role: str
    host: str
    pid: int
    executes: bool
    draining: bool
    runs: int
    connections: int
    streams: int
    feeds: int
    lag_ms: float
    worst_lag_ms: float
    stalls: int
    longest_stall_ms: float
    failed: dict[str, int]
    tasks: int
    threads: int
    memory_bytes: int | None
    open_files: int | None

    @classmethod
    def of(cls, figures: Mapping[str, Any] | None) -> Self | None:
        """From what it said; None where that is another version's."""
        try:
            return cls.model_validate(figures)
        except ValidationError:
            return None


class ProcessShape(BaseModel):
    """A process. `draining`: it is asked to take no new work; `figures.draining`: it takes none."""

    executor: str
    room: int
    started_at: Instant
    silent_ms: int
    draining: bool
    figures: FiguresShape | None

    @classmethod
    def of(cls, process: ProcessState) -> Self:
        """From its row."""
        return cls(
            executor=process.executor,
            room=process.room,
            started_at=process.started_at,
            silent_ms=process.silent_ms,
            draining=process.draining,
            figures=FiguresShape.of(process.figures),
        )


class IncidentShape(BaseModel):
    """A process began, ended in order, or was `lost` with so many runs."""

    at: Instant
    kind: Literal["started", "stopped", "lost"]
    executor: str
    runs: int


class ProblemShape(BaseModel):
    """What is wrong now, why, and since when that is known here. `executor` is the process that it is about."""

    kind: Kind
    cause: str
    since: Instant
    executor: str | None = None


class OverviewShape(BaseModel):
    """How it stands. Not `complete` while the database is away: `loads`, `runs` and `ended` are then not known."""

    at: Instant
    complete: bool
    executor: str
    problems: list[ProblemShape]
    loads: list[LoadShape]
    runs: list[RunStateShape]
    ended: list[RunStateShape]
    processes: list[ProcessShape]
    incidents: list[IncidentShape]


class Watch:
    """One administrator's look at everything, again and again: `frames` for a stream, `once` for an answer.

    That he is one still, and logged in, is asked with each look, and no row is added for it: the audit has one for the
    whole watch.
    """

    def __init__(self, services: Services, principal: Principal) -> None:
        self._services = services
        self._principal = principal
        self._actor = Actor(user_id=principal.user_id, permissions=principal.permissions)
        self._since: dict[tuple[Kind, str | None], datetime] = {}
        self._looks = 0

    async def once(self) -> OverviewShape:
        """How it stands now.

        Raises:
            Forbidden: it is no administrator's look.
            StoreError: the database does not answer.
        """
        return self._shape(await self._services.runtime.stores.administration.overview(self._actor), None)

    async def frames(self) -> AsyncGenerator[tuple[int | None, str]]:
        """How it stands, every second, until the login or the process ends."""
        asking: asyncio.Future[Overview | None] | None = None
        closed = self._services.runtime.manager.closed
        try:
            while not closed.is_set():
                asking = asking or asyncio.ensure_future(self._look())
                await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
                overview, trouble = None, self._services.runtime.stores.database.trouble()
                if not asking.done():
                    trouble = trouble or f"the database has not answered for {PATIENCE_SECONDS:g} s"
                else:
                    done, asking = asking, None
                    try:
                        overview = done.result()
                    except StoreError as error:
                        trouble = str(error)
                    except Refused:
                        return
                    else:
                        if overview is None:
                            return
                yield None, self._shape(overview, trouble).model_dump_json()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await closed.wait()
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.wait({asking})

    async def _look(self) -> Overview | None:
        """None where the login has ended."""
        if not await self._services.authenticator.still_valid(self._principal):
            return None
        stores = self._services.runtime.stores
        overview = await stores.administration.overview(self._actor)
        if self._looks % WRITE_EVERY == 0:
            await stores.database.check()
        self._looks += 1
        return overview

    def _shape(self, overview: Overview | None, trouble: str | None) -> OverviewShape:
        house, now = self._services.runtime.house, datetime.now(UTC)
        stored = [] if overview is None else [ProcessShape.of(process) for process in overview.processes]
        own = FiguresShape.of(house.figures())
        processes = [
            each.model_copy(update={"figures": own, "silent_ms": 0}) if each.executor == house.executor else each
            for each in stored
        ]
        found = dict(self._wrong(overview, processes, trouble))
        self._since = {what: self._since.get(what, now) for what in found}
        return OverviewShape(
            at=now,
            complete=overview is not None,
            executor=house.executor,
            problems=[
                ProblemShape(kind=what[0], executor=what[1], cause=cause, since=self._since[what])
                for what, cause in found.items()
            ],
            loads=[LoadShape.of(load) for load in (overview.loads if overview else ())],
            runs=[RunStateShape.of_state(state) for state in (overview.runs if overview else ())],
            ended=[RunStateShape.of_state(state) for state in (overview.ended if overview else ())],
            processes=processes,
            incidents=[_incident(each) for each in (overview.incidents if overview else ())],
        )

    def _wrong(
        self, overview: Overview | None, processes: list[ProcessShape], trouble: str | None
    ) -> Iterator[tuple[tuple[Kind, str | None], str]]:
        if trouble is not None:
            yield ("database", None), trouble
        if (model := self._services.readiness.model_trouble()) is not None:
            yield ("model", None), model
        if overview is not None:
            yield from _lost(overview.incidents, overview.at)
            yield from _ailing(processes)
            waits = sum(load.queued + load.left for load in overview.loads)
            if waits and not any(_takes_work(process) for process in processes):
                yield ("nobody", None), f"{waits} runs wait, and no process takes any: start one, or resume one"


def _lost(incidents: Iterable[Incident], now: datetime) -> Iterator[tuple[tuple[Kind, str | None], str]]:
    for each in incidents:
        if each.kind == "lost" and now - each.at < timedelta(seconds=LOST_SECONDS):
            cause = "it ended without a word: killed, out of memory, or its machine is gone"
            yield ("lost", each.executor), f"{cause}; its {each.runs} runs go on" if each.runs else cause


def _ailing(processes: Iterable[ProcessShape]) -> Iterator[tuple[tuple[Kind, str | None], str]]:
    for process in processes:
        if process.silent_ms > SILENT_MS:
            seconds = process.silent_ms / 1000
            yield ("silent", process.executor), f"it has not been seen for {seconds:.0f} s: it hangs, or is cut off"
        if (figures := process.figures) is None:
            continue
        if figures.worst_lag_ms >= STALL_MS:
            seconds = figures.worst_lag_ms / 1000
            yield ("stalled", process.executor), f"its loop stood still for {seconds:.1f} s: code that does not await"
        if failed := {code: figures.failed[code] for code in OURS if code in figures.failed}:
            told = ", ".join(f"{count} as {code}" for code, count in failed.items())
            yield ("failing", process.executor), f"runs failed within a minute: {told}"


def _takes_work(process: ProcessShape) -> bool:
    figures = process.figures
    return process.silent_ms <= SILENT_MS and (figures is None or (figures.executes and not figures.draining))


def _incident(incident: Incident) -> IncidentShape:
    # The kinds are the table's own, which checks them.
    return IncidentShape.model_validate(
        {"at": incident.at, "kind": incident.kind, "executor": incident.executor, "runs": incident.runs}
    )
