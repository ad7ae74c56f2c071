"""Runs and their event log, on SQLite (port: `core.ports.Runs`). The owner is in every WHERE but the operator's."""

import hashlib
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
from netra_apex.core.messages import AssistantMessage, ModelMessage, UserMessage
from netra_apex.core.runs import Run, RunStatus
from netra_apex.errors import Busy, IdempotencyConflict, NotFound, StoreError
from netra_apex.stores.database import Database
from netra_apex.stores.rows import now_ms, run_of
from netra_apex.stores.statements import statements

SQL = statements("runs")
TITLE_LENGTH = 80
HISTORY_CHARACTERS = 2 * 1024 * 1024  # of a thread's past, as JSON, that a run is told: no model takes more

_transcript: "msgspec.json.Decoder[list[ModelMessage]]" = msgspec.json.Decoder(list[ModelMessage])
_STATUS = {
    AgentCompleted: RunStatus.COMPLETED,
    AgentFailed: RunStatus.FAILED,
    AgentCancelled: RunStatus.CANCELLED,
}


class SQLiteRuns:
    """See `core.ports.Runs`, which this is. `history_messages` bounds what a run is told of its thread."""

    def __init__(self, database: Database, history_messages: int) -> None:
        self._database = database
        self._limit = history_messages

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
            "digest": _digest(post),
            "limit": self._limit,
            "now": now_ms(),
        }
        accepted, position = await self._database.write(lambda connection: _accept(connection, post, values))
        if accepted.repeated or position == 1:
            return Admitted(accepted)
        # Not in the transaction: a thread may be long, and the writer is everybody's.
        return Admitted(accepted, await self._database.read(lambda connection: _said_before(connection, values) or ()))

    async def repeated(self, user_id: str, post: Post) -> Accepted | None:
        """The answer that the post's idempotency key had; None where it had none.

        Raises:
            IdempotencyConflict: it had one for other content.
        """
        values = {
            "user_id": user_id,
            "scope": post.thread_id or "",
            "key": post.idempotency_key,
            "digest": _digest(post),
        }
        return await self._database.read(lambda connection: _repeated(connection, post, values))

    async def begin(self, context: UserExecutionContext, agent: str, task: str) -> tuple[ModelMessage, ...]:
        """Makes sure that the run exists, and returns what was said in its thread before it, oldest first.

        Never a call without its answer.

        Raises:
            NotFound: the context names a thread that is not the user's.
        """
        values = {"user_id": context.user_id, "thread_id": context.thread_id, "run_id": context.run_id} | {
            "limit": self._limit
        }
        said = await self._database.read(lambda connection: _said_before(connection, values))
        if said is None:
            new = values | {
                "message_id": new_id("msg"),
                "agent": agent,
                "content": task,
                "title": title_of(task),
                "now": now_ms(),
            }
            if await self._database.write(lambda connection: _open(connection, new)) > 1:
                said = await self._database.read(lambda connection: _said_before(connection, values))
        return said or ()

    def append(self, context: UserExecutionContext, events: Sequence[tuple[DurableEvent, str]]) -> Awaitable[None]:
        """Stores stamped events with their JSON, and what follows from them, in one transaction.

        Raises:
            StoreError: nothing of it was stored.
        """
        return self._database.write(lambda connection: _append(connection, context, events), linger=True)

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

    async def unfinished_runs(self, limit: int) -> tuple[Run, ...]:
        """Some of the runs that have not ended, of all users."""
        rows = await self._database.read(
            lambda connection: connection.execute(SQL["unfinished_runs"], {"limit": limit}).fetchall()
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


def title_of(content: str) -> str:
    """A thread's title, from the first line of its first message."""
    line = next((line.strip() for line in content.splitlines() if line.strip()), "")
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"


def _digest(post: Post) -> str:
    said = msgspec.json.encode((post.content, post.agent, post.replace))
    return hashlib.sha256(said).hexdigest()


def _accept(connection: sqlite3.Connection, post: Post, values: dict[str, Any]) -> tuple[Accepted, int]:
    # Refusals come first: a job that refuses has written nothing.
    repeated = _repeated(connection, post, values)
    if repeated is not None:
        return repeated, 1
    position = 1
    if post.thread_id is not None:
        position = _in_thread(connection, post, values)
    else:
        connection.execute(SQL["add_thread"], values)
    row = values | {"position": position}
    connection.execute(SQL["add_run"], row)
    connection.execute(SQL["add_message"], row)
    if post.idempotency_key is not None:
        connection.execute(SQL["remember_key"], values)
    accepted = Accepted(
        thread_id=values["thread_id"], run_id=values["run_id"], message_id=values["message_id"], status="queued"
    )
    return accepted, position


def _repeated(connection: sqlite3.Connection, post: Post, values: dict[str, Any]) -> Accepted | None:
    if post.idempotency_key is None:
        return None
    before = connection.execute(SQL["repeated"], values).fetchone()
    if before is None:
        return None
    digest, thread_id, run_id, message_id, status = before
    if digest != values["digest"]:
        raise IdempotencyConflict("this idempotency_key came before, with other content")
    return Accepted(thread_id=thread_id, run_id=run_id, message_id=message_id, status=status, repeated=True)


def _in_thread(connection: sqlite3.Connection, post: Post, values: dict[str, Any]) -> int:
    """The position of a new run in an existing thread, once it is sure that the post may be accepted."""
    if connection.execute(SQL["thread_title"], values).fetchone() is None:
        raise NotFound("thread", values["thread_id"])
    replaced = None
    if post.replace is not None:
        replaced = connection.execute(SQL["position_of"], values | {"message_id": post.replace}).fetchone()
        if replaced is None:
            raise NotFound("message of yours in this thread", post.replace)
    if post.if_busy == "reject" and connection.execute(SQL["busy"], values).fetchone() is not None:
        raise Busy("the thread has a run under way")
    position = int(connection.execute(SQL["next_position"], values).fetchone()[0])
    if replaced is not None:
        connection.execute(SQL["replace_from"], values | {"position": replaced[0]})
    connection.execute(SQL["touch_thread"], values)
    return position


def _open(connection: sqlite3.Connection, values: dict[str, Any]) -> int:
    """Thread, run and message of a run that no post began, a program's own; its position in the thread."""
    connection.execute(SQL["add_thread"], values)
    if connection.execute(SQL["thread_title"], values).fetchone() is None:
        raise NotFound("thread", values["thread_id"])
    position = int(connection.execute(SQL["next_position"], values).fetchone()[0])
    row = values | {"position": position}
    connection.execute(SQL["add_run"], row)
    connection.execute(SQL["add_message"], row)
    return position


def _said_before(connection: sqlite3.Connection, values: dict[str, Any]) -> tuple[ModelMessage, ...] | None:
    """What was said before a run, oldest first; None where the run does not exist.

    A run's transcript where it has one, else its bare messages. No more is read than is wanted: of a thread with long
    tool results that is little.
    """
    position = connection.execute(SQL["position"], values).fetchone()
    if position is None:
        return None
    if position[0] == 1:
        return ()
    limit, size, latest_first = values["limit"], 0, list[ModelMessage]()
    bare: list[ModelMessage] = []  # a run's messages, until it is known whether it has a transcript
    for role, content, body in connection.execute(SQL["said_before"], values | {"position": position[0]}):
        bare.append(UserMessage(content) if role == "user" else AssistantMessage(content))
        if role != "user":
            continue
        # The user's own message is a run's last row here, and brings the transcript.
        latest_first += reversed(_transcript.decode(body)) if body is not None else bare
        bare = []
        size += len(body or content)
        if len(latest_first) >= limit or size > HISTORY_CHARACTERS:
            break
    said = latest_first[:limit][::-1]
    # A history that begins with a call's answer is one that providers refuse.
    while said and not isinstance(said[0], UserMessage):
        said.pop(0)
    return tuple(said)


def _append(
    connection: sqlite3.Connection, context: UserExecutionContext, events: Sequence[tuple[DurableEvent, str]]
) -> None:
    run = {"user_id": context.user_id, "run_id": context.run_id, "thread_id": context.thread_id}
    for event, body in events:
        # It is stored if it follows the last one and the run has not ended. What came before was not stored, or
        # somebody else writes this run: a gap must never be told (G2).
        if not connection.execute(SQL["add_event"], run | {"seq": event.seq, "body": body}).rowcount:
            raise StoreError(_why_not(connection, run, event.seq))
        if event.depth == 0:
            _follow(connection, event, run)


def _why_not(connection: sqlite3.Connection, run: dict[str, Any], seq: int) -> str:
    """Why an event of this run cannot be stored."""
    stands = connection.execute(SQL["stands"], run).fetchone()
    if stands is None:
        return f"run {run['run_id']} does not exist"
    last, ended_at = stands
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
