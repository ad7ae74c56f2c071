"""Runs and their event log, on SQLite (port: `core.ports.Runs`). The owner is in every WHERE but the operator's."""

import sqlite3
from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Admitted, Post
from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    DurableEvent,
    MessageCompleted,
)
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Step
from netra_apex.core.messages import ModelMessage
from netra_apex.core.runs import Run, RunStatus
from netra_apex.errors import StoreError
from netra_apex.stores.accepting import accept, digest, open_run, repeated, said_before, title_of
from netra_apex.stores.database import Database
from netra_apex.stores.rows import now_ms, run_of
from netra_apex.stores.statements import statements
from netra_apex.stores.steps import StepRows

SQL = statements("runs")

_STATUS = {
    AgentCompleted: RunStatus.COMPLETED,
    AgentFailed: RunStatus.FAILED,
    AgentCancelled: RunStatus.CANCELLED,
}


class SQLiteRuns:
    """See `core.ports.Runs`, which this is. `history_messages` bounds what a run is told of its thread."""

    def __init__(self, database: Database, history_messages: int, rows: StepRows) -> None:
        self._database = database
        self._limit = history_messages
        self._rows = rows

    async def accept(self, context: UserExecutionContext, post: Post, *, agent: str) -> Admitted:
        """Thread, message and run in one transaction; or the answer that the same idempotency key had.

        The context's thread is the post's, or the one that its new thread is to be. What was said in the thread
        before comes along: a run that starts at once need not ask again.

        Raises:
            NotFound, Busy, IdempotencyConflict: nothing was written.
        """
        values: dict[str, Any] = {
            "user_id": context.user_id,
            "thread_id": context.thread_id,
            "run_id": context.run_id,
            "message_id": new_id("msg"),
            "agent": agent,
            "content": post.content,
            "title": title_of(post.content),
            "scope": post.thread_id or "",
            "key": post.idempotency_key,
            "digest": digest(post),
            "limit": self._limit,
            "now": now_ms(),
            "permissions": msgspec.json.encode(sorted(context.permissions)).decode(),
            "posted": 1,
        }
        accepted, position = await self._database.write(lambda connection: accept(connection, post, values))
        if accepted.repeated or position == 1:
            return Admitted(accepted)
        # Not in the transaction: a thread may be long, and the writer is everybody's.
        return Admitted(accepted, await self._database.read(lambda connection: said_before(connection, values) or ()))

    async def repeated(self, user_id: str, post: Post) -> Accepted | None:
        """The answer that the post's idempotency key had; None where it had none.

        Raises:
            IdempotencyConflict: it had one for other content.
        """
        values = {
            "user_id": user_id,
            "scope": post.thread_id or "",
            "key": post.idempotency_key,
            "digest": digest(post),
        }
        return await self._database.read(lambda connection: repeated(connection, post, values))

    async def begin(self, context: UserExecutionContext, agent: str, task: str) -> tuple[ModelMessage, ...]:
        """Makes sure that the run exists, and returns what was said in its thread before it, oldest first.

        Never a call without its answer.

        Raises:
            NotFound: the context names a thread that is not the user's.
        """
        values = {"user_id": context.user_id, "thread_id": context.thread_id, "run_id": context.run_id} | {
            "limit": self._limit
        }
        said = await self._database.read(lambda connection: said_before(connection, values))
        if said is None:
            new = values | {
                "message_id": new_id("msg"),
                "agent": agent,
                "content": task,
                "title": title_of(task),
                "now": now_ms(),
                "permissions": "[]",
                "posted": 0,
            }
            if await self._database.write(lambda connection: open_run(connection, new)) > 1:
                said = await self._database.read(lambda connection: said_before(connection, values))
        return said or ()

    def append(
        self,
        context: UserExecutionContext,
        events: Sequence[tuple[DurableEvent, str]],
        steps: Sequence[Step] = (),
        *,
        epoch: int = 1,
    ) -> Awaitable[None]:
        """Stores stamped events with their JSON, what follows from them, and the journal's steps, in one transaction.

        Raises:
            StoreError: nothing of it was stored.
        """
        run = {"user_id": context.user_id, "run_id": context.run_id, "thread_id": context.thread_id, "epoch": epoch}
        rows = [run | self._rows.row(context, step) for step in steps]
        return self._database.write(lambda connection: _append(connection, run, events, rows), linger=True)

    def keep_transcript(self, context: UserExecutionContext, messages: Sequence[ModelMessage]) -> Awaitable[None]:
        """What later runs of the thread tell the model that this run said, calls and their answers included."""
        values = {
            "user_id": context.user_id,
            "run_id": context.run_id,
            "body": msgspec.json.encode(list(messages)).decode(),
        }

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(SQL["keep_transcript"], values)

        return self._database.write(job, linger=True)

    def hurry(self) -> None:
        """What was appended goes to the disk now: somebody waits for it."""
        self._database.hurry()

    async def run(self, user_id: str, run_id: str) -> Run | None:
        """The run, or None where the user has no such."""
        values = {"user_id": user_id, "run_id": run_id}
        row = await self._database.read(lambda connection: connection.execute(SQL["run"], values).fetchone())
        return None if row is None else run_of(row)

    async def events(self, user_id: str, run_id: str, after: int, limit: int = 1000) -> tuple[tuple[int, str], ...]:
        """(seq, JSON) of the events after `after`, in order, at most `limit`."""
        values = {"user_id": user_id, "run_id": run_id, "after": after, "limit": limit}
        return tuple(await self._database.read(lambda connection: connection.execute(SQL["events"], values).fetchall()))

    async def operator_run(self, run_id: str) -> Run | None:
        """The operator's look at any run."""
        row = await self._database.read(
            lambda connection: connection.execute(SQL["any_run"], {"run_id": run_id}).fetchone()
        )
        return None if row is None else run_of(row)

    async def request_cancel(self, run_id: str, by: str) -> bool:
        """The operator's cancel, from another process; False where there is no such unfinished run."""
        values = {"run_id": run_id, "by": by}
        return await self._database.write(
            lambda connection: connection.execute(SQL["request_cancel"], values).rowcount > 0
        )

    async def cancels_requested(self) -> tuple[tuple[str, str], ...]:
        """(run id, by whom) of unfinished runs whose end was asked for from another process."""
        return tuple(
            await self._database.read(lambda connection: connection.execute(SQL["cancels_requested"]).fetchall())
        )

    async def unfinished_runs(self, limit: int, *, after: str = "") -> tuple[Run, ...]:
        """Runs that have not ended, of all users, oldest first, after this run id."""
        values = {"limit": limit, "after": after}
        rows = await self._database.read(
            lambda connection: connection.execute(SQL["unfinished_runs"], values).fetchall()
        )
        return tuple(run_of(row) for row in rows)

    async def all_runs(self, *, statuses: Sequence[RunStatus] = (), limit: int = 100) -> tuple[Run, ...]:
        """The operator's list, newest first; of these statuses, or of all where none is named."""
        values = {
            "any": int(not statuses),
            "statuses": msgspec.json.encode([str(status) for status in statuses]).decode(),
            "limit": limit,
        }
        rows = await self._database.read(lambda connection: connection.execute(SQL["all_runs"], values).fetchall())
        return tuple(run_of(row) for row in rows)


def _append(
    connection: sqlite3.Connection,
    run: dict[str, Any],
    events: Sequence[tuple[DurableEvent, str]],
    steps: Sequence[dict[str, Any]],
) -> None:
    # Before the events: a step that goes with the run's ending is a step of a run that has not ended.
    for row in steps:
        if not connection.execute(SQL["put_step"], row).rowcount:
            raise StoreError(_why_not(connection, run, None))
    for event, body in events:
        # It is stored if it follows the last one and the run has not ended. What came before was not stored, or
        # somebody else writes this run: a gap must never be told (G2).
        if not connection.execute(SQL["add_event"], run | {"seq": event.seq, "body": body}).rowcount:
            raise StoreError(_why_not(connection, run, event.seq))
        if event.depth == 0:
            _follow(connection, event, run)


def _why_not(connection: sqlite3.Connection, run: dict[str, Any], seq: int | None) -> str:
    """Why this event (or, with none, a step) of this run cannot be stored."""
    stands = connection.execute(SQL["stands"], run).fetchone()
    if stands is None:
        return f"run {run['run_id']} does not exist"
    last, ended_at, epoch = stands
    if epoch != run["epoch"]:
        return f"run {run['run_id']} was taken up by another process"
    if ended_at is not None:
        return f"run {run['run_id']} has ended: nothing follows"
    return f"event {seq} of run {run['run_id']} does not follow event {last}"


def _follow(connection: sqlite3.Connection, event: DurableEvent, values: dict[str, Any]) -> None:
    """What an event of the run's own agent changes besides the log: status and messages."""
    match event:
        case AgentStarted():
            connection.execute(SQL["start"], values)
        case MessageCompleted(message_id=message_id, content=content):
            answer = values | {"message_id": message_id, "content": content, "now": now_ms()}
            connection.execute(SQL["add_answer"], answer)
        case AgentCompleted() | AgentFailed() | AgentCancelled():
            if isinstance(event, AgentCompleted):
                _keep_output(connection, event, values)
            connection.execute(SQL["end"], values | {"status": _STATUS[type(event)], "now": now_ms()})
            connection.execute(SQL["touch"], values | {"now": now_ms()})
        case _:
            pass


def _keep_output(connection: sqlite3.Connection, event: AgentCompleted, values: dict[str, Any]) -> None:
    """An output that no model answer has said is an answer too: the thread must show it."""
    if event.output is None or event.output == "":
        return
    said = connection.execute(SQL["last_answer"], values).fetchone()
    output = event.output if isinstance(event.output, str) else msgspec.json.encode(event.output).decode()
    if said is None or (isinstance(event.output, str) and said[0] != output):
        answer = values | {"message_id": new_id("msg"), "content": output, "now": now_ms()}
        connection.execute(SQL["add_answer"], answer)
