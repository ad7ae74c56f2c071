"""What is written when a run tells something: one job, in which everything that follows from its events is stored."""

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from netra_apex.core.budgets import Bill
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    ApprovalDecided,
    ApprovalRequested,
    DurableEvent,
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    ToolCompleted,
    is_terminal,
)
from netra_apex.core.golden import STARTED, Ended, Telling
from netra_apex.core.ids import new_id
from netra_apex.core.messages import NO_USAGE, as_said
from netra_apex.core.runs import RunStatus
from netra_apex.errors import StoreError, TakenOver
from netra_apex.stores.budgets import close_account, figures_of, settle
from netra_apex.stores.database import Row, Transaction
from netra_apex.stores.rows import now_ms, to_ms
from netra_apex.stores.statements import statements

SQL = statements("runs")
APPROVALS = statements("approvals")
QUESTIONS = statements("questions")
_STATUS: dict[type[DurableEvent], RunStatus] = {
    AgentStarted: RunStatus.RUNNING,
    AgentCompleted: RunStatus.COMPLETED,
    AgentFailed: RunStatus.FAILED,
    AgentCancelled: RunStatus.CANCELLED,
}


class Told:
    """Events of one run with their JSON, and steps of its journal: all of it is stored, or nothing.

    `run` names the run, its thread and the epoch of who tells, and says for how many `answer_ms` its questions are
    open; `steps` are rows; `bill` is that of a run that ends. `shown_at` is when text of an answer was first shown, in
    milliseconds since 1970. Once a run that ends is stored, `ended` is what service-level figures are made of.
    """

    def __init__(
        self,
        run: dict[str, Any],
        events: Sequence[tuple[DurableEvent, str]],
        steps: Sequence[dict[str, Any]],
        bill: Bill | None = None,
        shown_at: int | None = None,
    ) -> None:
        self._run = run
        self._bill = bill
        self._shown_at = shown_at
        self._events = list(events)
        self._steps = list(steps)
        self._begun = False
        self._steered = False
        self.ended: Ended | None = None
        self.given: list[str] = []  # runs that were made for messages that came too late for this one
        self._lock = threading.Lock()  # a database may carry it out in a thread of its own

    def extend(
        self,
        epoch: int,
        events: Sequence[tuple[DurableEvent, str]],
        steps: Sequence[dict[str, Any]],
        bill: Bill | None = None,
        shown_at: int | None = None,
    ) -> bool:
        """Takes in what the run tells next, while this has not begun; whether it could.

        Why: what is told in one moment passes the fence, and goes to the disk, once.
        """
        with self._lock:
            if self._begun or epoch != self._run["epoch"] or not self._goes_on(events):
                return False
            self._events += events
            self._steps += steps
            self._bill = bill or self._bill
            self._shown_at = self._shown_at or shown_at
            return True

    def _goes_on(self, events: Sequence[tuple[DurableEvent, str]]) -> bool:
        """Whether these events follow the last one: what cannot be stored must not take the rest with it."""
        if not self._events or not events:
            return True
        last = self._events[-1][0]
        return events[0][0].seq == last.seq + 1 and not is_terminal(last)

    async def store(self, tx: Transaction) -> None:
        """The job.

        Raises:
            TakenOver: another process has the run, or it has ended.
            StoreError: what came before it was not stored.
        """
        with self._lock:
            self._begun = True
        self.given = []
        seqs = [event.seq for event, _ in self._events]
        if seqs != list(range(self._before + 1, self._before + 1 + len(seqs))):
            raise StoreError(f"events {seqs} of run {self._run['run_id']} do not follow one another")
        if any(is_terminal(event) for event, _ in self._events[:-1]):
            raise StoreError(f"run {self._run['run_id']} has ended: nothing follows")
        if not await self._pass_fence(tx):
            if await self._stored_before(tx):
                return
            raise await self._why_not(tx)
        await tx.run_each(SQL["put_step"], self._steps)
        if charges := [step["charge"] for step in self._steps if step["charge"] is not None]:
            await settle(tx, self._run, charges)
        rows = [self._run | {"seq": event.seq, "body": body} for event, body in self._events]
        await tx.run_each(SQL["add_event"], rows)
        for event, _ in self._events:
            await self._follow_call(tx, event)
            if event.depth == 0:
                await self._follow(tx, event)

    async def _pass_fence(self, tx: Transaction) -> bool:
        """Takes the numbers of the events, which must follow the last one, in the name of who has the run.

        What came before was not stored otherwise, or somebody else writes this run: a gap must never be told (G2). It
        locks the run's row too: who takes the run up waits for what is being stored, and then reads it.
        """
        own = [event for event, _ in self._events if event.depth == 0]
        ends = bool(own) and is_terminal(own[-1])
        if ends:
            # Before the run's row, as who accepts takes them: each would else have what the other waits for.
            await tx.lock(self._run["user_id"])
        status = next((_STATUS[type(event)] for event in reversed(own) if type(event) in _STATUS), None)
        now = now_ms()
        values = self._run | {"count": len(self._events), "before": self._before, "status": status, "now": now}
        values["heard"] = max((step["heard"] for step in self._steps), default=0)
        if not self._events:
            # Steps alone do not follow any event: whatever the last one is.
            return await tx.run(SQL["fence_steps"], values) > 0
        telling = Telling.of(event for event, _ in self._events)
        values |= self._signs(telling, now)
        if not ends:
            return await tx.run(SQL["fence"], values) > 0
        values |= figures_of(NO_USAGE if self._bill is None else self._bill.usage)
        values |= {"ended_as": telling.ended_as, "model": None if self._bill is None else self._bill.model}
        passed = await tx.one(SQL["fence_end"], values)
        if passed is not None:
            self._steered = passed[0] > 0
            self.ended = _ended(passed[1:], values)
        return passed is not None

    def _signs(self, telling: Telling, now: int) -> dict[str, Any]:
        """What these events say of the golden path, as columns that are added to the run's."""
        shown = self._shown_at
        if shown is None and any(isinstance(event, MessageCompleted) for event, _ in self._events):
            shown = now
        return {
            "told": telling.told,
            "calls": telling.calls,
            "calls_ended": telling.calls_ended,
            "calls_failed": telling.calls_failed,
            "started_at": now if telling.told & STARTED else None,
            "shown_at": shown,
        }

    @property
    def _before(self) -> int:
        return self._events[0][0].seq - 1 if self._events else 0

    async def _stored_before(self, tx: Transaction) -> bool:
        """Whether all of it is there already.

        The answer to a commit may be lost with the connection, and then it is asked for again.
        """
        if not self._events:
            return False
        stands = await tx.one(SQL["stands"], self._run)
        if stands is None or stands[2] != self._run["epoch"]:
            return False
        values = self._run | {"after": self._before, "limit": len(self._events)}
        return await tx.all(SQL["events"], values) == [(event.seq, body) for event, body in self._events]

    async def _why_not(self, tx: Transaction) -> StoreError:
        run_id = self._run["run_id"]
        stands = await tx.one(SQL["stands"], self._run)
        if stands is None:
            return TakenOver(f"run {run_id} does not exist")
        last, ended_at, epoch = stands
        if epoch != self._run["epoch"]:
            return TakenOver(f"run {run_id} was taken up by another process")
        if ended_at is not None:
            return TakenOver(f"run {run_id} has ended: nothing follows")
        return StoreError(f"event {self._before + 1} of run {run_id} does not follow event {last}")

    async def _follow_call(self, tx: Transaction, event: DurableEvent) -> None:
        """What an event of a call that waits for a person changes besides the log, whoever's call it is."""
        match event:
            case ApprovalRequested():
                now = now_ms()
                asked = {
                    "approval_id": event.approval_id,
                    "call_id": event.call_id,
                    "tool": _storable(event.tool),
                    "arguments": msgspec.json.encode(event.arguments).decode(),
                    "now": now,
                    "position": _position(now, event),
                    "expires_at": to_ms(datetime.fromisoformat(event.expires_at)),
                    "again": int(event.again is True),
                }
                await tx.run(APPROVALS["ask"], self._run | asked)
            case ApprovalDecided():
                await tx.run(APPROVALS["tell"], self._run | {"approval_id": event.approval_id})
            case QuestionAsked():
                now = now_ms()
                asked = {
                    "question_id": event.question_id,
                    "call_id": event.call_id,
                    "text": _storable(event.text),
                    "now": now,
                    "position": _position(now, event),
                    "expires_at": now + self._run["answer_ms"],
                }
                await tx.run(QUESTIONS["ask"], self._run | asked)
            case QuestionAnswered():
                await tx.run(QUESTIONS["tell"], self._run | {"question_id": event.question_id})
            case ToolCompleted(ok=False):
                # It may have waited for a person: nobody can decide on it any more, nor waits for what was decided.
                for room in (APPROVALS, QUESTIONS):
                    await tx.run(room["give_up"], self._run | {"call_id": event.call_id, "now": now_ms()})
            case _:
                pass

    async def _follow(self, tx: Transaction, event: DurableEvent) -> None:
        """What an event of the run's own agent changes besides the log and the run's own row: messages."""
        match event:
            case MessageCompleted(message_id=message_id, content=content):
                await self._add_answer(tx, message_id, content)
            case AgentCompleted() | AgentFailed() | AgentCancelled():
                if isinstance(event, AgentCompleted):
                    await self._keep_output(tx, event)
                await tx.run(SQL["touch"], self._run | {"now": now_ms()})
                if self._bill is not None:
                    await close_account(tx, self._run, self._bill)
                if not isinstance(event, AgentCancelled):
                    await self._give_runs(tx)
            case _:
                pass

    async def _give_runs(self, tx: Transaction) -> None:
        """A message that was to steer the run, and came too late for it, gets a run of its own.

        Not where the run was cancelled: what was said to it was cancelled with it, and stays in the thread.
        """
        unheard = await tx.all(SQL["unheard"], self._run) if self._steered else []
        for message_id, agent, permissions in unheard:
            row = await tx.one(SQL["next_position"], self._run)
            assert row is not None
            run = {
                "user_id": self._run["user_id"],
                "run_id": new_id("run"),
                "thread_id": self._run["thread_id"],
                "position": row[0],
                "message_id": message_id,
                "agent": agent,
                "last_seq": 0,
                "executor": None,
                "now": now_ms(),
                "posted": 1,
                "permissions": permissions,
                "first_event_at": None,
                "own_wait": 0,
                "trace": None,
            }
            await tx.run(SQL["add_run"], run)
            await tx.run(SQL["give_run"], run)
            self.given.append(str(run["run_id"]))

    async def _keep_output(self, tx: Transaction, event: AgentCompleted) -> None:
        """An output that no model answer has said is an answer too: the thread must show it."""
        if event.output is None or event.output == "":
            return
        said = await tx.one(SQL["last_answer"], self._run)
        output = as_said(event.output)
        if said is None or (isinstance(event.output, str) and said[0] != _storable(output)):
            await self._add_answer(tx, new_id("msg"), output)

    async def _add_answer(self, tx: Transaction, message_id: str, content: str) -> None:
        answer = self._run | {"message_id": message_id, "content": _storable(content), "now": now_ms()}
        await tx.run(SQL["add_answer"], answer)


def _ended(row: Row, values: dict[str, Any]) -> Ended:
    agent, told, calls, calls_ended, calls_failed, accepted, first_event, started, first_token, waited, own_wait = row
    return Ended(
        agent=agent,
        model=values["model"],
        ended_as=values["ended_as"],
        telling=Telling(told, calls, calls_ended, calls_failed),
        accepted_at=accepted,
        first_event_at=first_event,
        started_at=started,
        first_token_at=first_token,
        ended_at=values["now"],
        waited_ms=waited,
        own_wait=bool(own_wait),
        input_tokens=values["input_tokens"],
        output_tokens=values["output_tokens"],
        cost=values["cost"],
    )


def _storable(text: str) -> str:
    """The text as both databases take it: Postgres keeps no NUL."""
    return text.replace("\0", "\ufffd")


def _position(now: int, event: DurableEvent) -> int:
    """Several may be asked for in one millisecond, and a person decides on the first that he was shown."""
    return now * 1_000 + event.seq % 1_000
