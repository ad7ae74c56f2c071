"""`MemoryLog`: a log of runs that stores when the test says so, so that a test sees what is told before and after."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.events import DurableEvent
from netra_apex.core.journal import Step
from netra_apex.core.messages import ModelMessage
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import Run, RunStatus, after
from netra_apex.errors import StoreError
from netra_apex.stream.emitter import UserWebSocketEmitter
from netra_apex.stream.feed import Hub
from netra_apex.stream.meter import Meter
from netra_apex.stream.reader import StreamReader

Stamped = Sequence[tuple[DurableEvent, str]]


class MemoryLog:
    """As much of `core.ports.Runs` as telling needs. While `holding`, appends wait for `store`."""

    def __init__(self, *, holding: bool = False) -> None:
        self.holding = holding
        self.bodies: dict[str, list[str]] = {}
        self.owners: dict[str, tuple[str, str]] = {}
        self.statuses: dict[str, RunStatus] = {}
        self.waiting: deque[tuple[str, Stamped, asyncio.Future[None]]] = deque()
        self.transcripts: dict[str, Sequence[ModelMessage]] = {}
        self.steps: list[Step] = []
        self.hurried = 0
        self.reads = 0

    def add(self, context: UserExecutionContext) -> None:
        """A run that was accepted."""
        self.bodies.setdefault(context.run_id, [])
        self.owners[context.run_id] = (context.user_id, context.thread_id)
        self.statuses.setdefault(context.run_id, RunStatus.QUEUED)

    def append(
        self,
        context: UserExecutionContext,
        events: Stamped,
        steps: Sequence[Step] = (),
        *,
        epoch: int = 1,
        bill: Bill | None = None,
        shown_at: int | None = None,
    ) -> Awaitable[None]:
        self.steps += steps
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((context.run_id, events, done))
        if not self.holding:
            asyncio.get_running_loop().call_soon(self.store)  # never in the call itself, as no database does
        return done

    def store(self) -> None:
        """Stores the append that has waited longest."""
        run_id, events, done = self.waiting.popleft()
        for event, body in events:
            assert event.seq == len(self.bodies[run_id]) + 1
            self.bodies[run_id].append(body)
            self.statuses[run_id] = after(self.statuses[run_id], event)
        done.set_result(None)

    def refuse(self) -> None:
        """Fails the append that has waited longest."""
        _, _, done = self.waiting.popleft()
        done.set_exception(StoreError("the database refused: disk is full"))

    def hurry(self) -> None:
        self.hurried += 1

    def keep_transcript(self, context: UserExecutionContext, messages: Sequence[ModelMessage]) -> Awaitable[None]:
        self.transcripts[context.run_id] = messages
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        kept.set_result(None)
        return kept

    async def run(self, user_id: str, run_id: str) -> Run | None:
        owner, thread_id = self.owners.get(run_id, ("", ""))
        if owner != user_id:
            return None
        return Run(
            run_id=run_id,
            user_id=user_id,
            thread_id=thread_id,
            message_id="msg",
            agent="helper",
            status=self.statuses[run_id],
            last_seq=len(self.bodies[run_id]),
            created_at=datetime.now(UTC),
        )

    async def events(self, user_id: str, run_id: str, after: int, limit: int = 1000) -> tuple[tuple[int, str], ...]:
        self.reads += 1
        if self.owners.get(run_id, ("", ""))[0] != user_id:
            return ()
        return tuple(enumerate(self.bodies[run_id], 1))[after : after + limit]


class Telling:
    """A log with the hub, reader and emitters over it."""

    def __init__(self, *, holding: bool = False, secrets: Sequence[str] = (), pace: float = 0.0) -> None:
        self.log = MemoryLog(holding=holding)
        self.hub = Hub(pace=pace)
        self.meter = Meter()
        self.redactor = Redactor(secrets)
        self.reader = StreamReader(self.log, self.hub)  # type: ignore[arg-type]

    def emitter(self, user: str = "ada", *, thread_id: str | None = None) -> UserWebSocketEmitter:
        """The emitter of a new run of this user."""
        context = UserExecutionContext.new(user, thread_id=thread_id)
        self.log.add(context)
        return UserWebSocketEmitter(context, self.log, self.hub, self.redactor, self.meter)  # type: ignore[arg-type]
