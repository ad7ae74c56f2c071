"""Runs and their event log (port: `core.ports.Runs`). The owner is in every WHERE but the operator's."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Admitted, Page, Post
from netra_apex.core.events import DurableEvent
from netra_apex.core.golden import Ended
from netra_apex.core.ids import new_id
from netra_apex.core.journal import Step
from netra_apex.core.messages import ModelMessage, UserMessage, told_with
from netra_apex.core.runs import Run, RunStatus, Seat
from netra_apex.stores.accepting import accept, digest, open_run, said_before, title_of
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import attachments, now_ms, page_of, read_cursor, run_of, to_ms
from netra_apex.stores.statements import statements
from netra_apex.stores.steps import StepRows
from netra_apex.stores.telling import Told

SQL = statements("runs")
LAST_ID = chr(0x10FFFF)  # after every id


@dataclass(frozen=True, kw_only=True, slots=True)
class Which:
    """Which of a user's runs: of one thread, of one status, begun or ended since."""

    thread_id: str | None = None
    status: RunStatus | None = None
    since: datetime | None = None


class RunStore:
    """See `core.ports.Runs`, which this is. `history_messages` bounds what a run is told of its thread.

    A question that a run asks is open for `answer_days`.

    `on_given` is told (user, thread, run) of runs that were made for messages that came too late for another, and
    `on_ended` of those that this process has ended.
    """

    def __init__(self, database: Database, history_messages: int, rows: StepRows, answer_days: float = 30.0) -> None:
        self._database = database
        self._limit = history_messages
        self._telling: dict[str, tuple[Told, asyncio.Future[None]]] = {}  # what has not been stored yet, by run
        self._rows = rows
        self._answer_ms = round(answer_days * 24 * 3600 * 1000)
        self.on_given: Callable[[str, str, str], None] = lambda _user_id, _thread_id, _run_id: None
        self.on_ended: Callable[[Ended], None] = lambda _: None

    async def accept(self, context: UserExecutionContext, post: Post, *, agent: str, seat: Seat) -> Admitted:
        """Thread, message and run in one transaction; or the answer that the same idempotency key had.

        The context's thread is the post's, or the one that its new thread is to be. What was said in the thread
        before comes along: a run that starts at once need not ask again.

        Raises:
            NotFound, Busy, QueueFull, IdempotencyConflict: nothing was written.
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
            "trace": seat.trace,
        }
        admitted, position = await self._database.write(
            lambda tx: accept(tx, post, values, seat),
            user=context.user_id,
            alone=True,
            # One with a key, or that steers, is known again by that only where it is no accident of a lost connection.
            repeatable=post.idempotency_key is None and post.if_busy != "steer",
        )
        if (position == 1 and not post.before) or not admitted.started:
            return admitted  # one that waits asks when it starts: those before it will have said something
        return replace(admitted, history=await self._said_before(values))

    async def begin(
        self, context: UserExecutionContext, agent: str, task: str, *, executor: str | None = None
    ) -> tuple[ModelMessage, ...]:
        """Makes sure that the run exists, and returns what was said in its thread before it, oldest first.

        Never a call without its answer.

        Raises:
            NotFound: the context names a thread that is not the user's.
        """
        values = {"user_id": context.user_id, "thread_id": context.thread_id, "run_id": context.run_id} | {
            "limit": self._limit
        }
        said = await self._database.read(lambda tx: said_before(tx, values), user=context.user_id)
        if said is None:
            new = values | {
                "message_id": new_id("msg"),
                "agent": agent,
                "content": task,
                "title": title_of(task),
                "now": now_ms(),
                "permissions": msgspec.json.encode(sorted(context.permissions)).decode(),
                "posted": 0,
                "trace": None,
                "executor": executor,
            }
            if await self._database.write(lambda tx: open_run(tx, new), user=context.user_id, alone=True) > 1:
                said = await self._said_before(values)
        return said or ()

    async def said(self, user_id: str, run_id: str) -> tuple[ModelMessage, ...]:
        """What was said in a run's thread up to its end, as a run after it would be told; nothing where it is none."""
        run = await self.run(user_id, run_id)
        if run is None:
            return ()
        values = {"user_id": user_id, "thread_id": run.thread_id, "run_id": run_id, "limit": self._limit}
        return await self._database.read(lambda tx: said_before(tx, values, itself=True), user=user_id) or ()

    async def _said_before(self, values: dict[str, Any]) -> tuple[ModelMessage, ...]:
        # Not in the transaction that accepts: a thread may be long, and the writer is everybody's.
        return await self._database.read(lambda tx: said_before(tx, values), user=values["user_id"]) or ()

    def append(
        self,
        context: UserExecutionContext,
        events: Sequence[tuple[DurableEvent, str]],
        steps: Sequence[Step] = (),
        *,
        epoch: int = 1,
        bill: Bill | None = None,
        shown_at: int | None = None,
    ) -> Awaitable[None]:
        """Stores stamped events with their JSON, what follows from them, and the journal's steps, in one transaction.

        `bill` is what a run has used that ends with these events; `shown_at` when it first showed text of an answer.

        Raises:
            StoreError: nothing of it was stored.
        """
        run = {"user_id": context.user_id, "run_id": context.run_id, "thread_id": context.thread_id}
        run |= {"epoch": epoch, "answer_ms": self._answer_ms}
        rows = [run | self._rows.row(context, step) for step in steps]
        waiting = self._telling.get(context.run_id)
        if waiting is not None and waiting[0].extend(epoch, events, rows, bill, shown_at):
            return waiting[1]
        told = Told(run, events, rows, bill, shown_at)
        stored = asyncio.ensure_future(self._database.write(told.store, user=context.user_id, linger=True))
        mine = self._telling[context.run_id] = (told, stored)
        stored.add_done_callback(lambda _: self._stored(context, mine))
        return stored

    def _stored(self, context: UserExecutionContext, mine: "tuple[Told, asyncio.Future[None]]") -> None:
        told, stored = mine
        if self._telling.get(context.run_id) is mine:
            del self._telling[context.run_id]
        if not stored.cancelled() and stored.exception() is None:
            for run_id in told.given:
                self.on_given(context.user_id, context.thread_id, run_id)
            if told.ended is not None:
                self.on_ended(told.ended)

    def keep_trace(self, context: UserExecutionContext, trace: str, *, epoch: int) -> Awaitable[None]:
        """Where in its trace the run is by now, for whoever takes it up; the first word is what all of it is under."""
        values = {"user_id": context.user_id, "run_id": context.run_id, "epoch": epoch, "trace": trace}

        async def job(tx: Transaction) -> None:
            await tx.run(SQL["keep_trace"], values)

        return self._database.write(job, user=context.user_id, linger=True)

    def keep_transcript(self, context: UserExecutionContext, messages: Sequence[ModelMessage]) -> Awaitable[None]:
        """What later runs of the thread tell the model that this run said, calls and their answers included."""
        values = {
            "user_id": context.user_id,
            "run_id": context.run_id,
            "body": msgspec.json.encode(list(messages)).decode(),
        }

        async def job(tx: Transaction) -> None:
            await tx.run(SQL["keep_transcript"], values)

        return self._database.write(job, user=context.user_id, linger=True)

    def hurry(self) -> None:
        """What was appended goes to the disk now: somebody waits for it."""
        self._database.hurry()

    async def run(self, user_id: str, run_id: str) -> Run | None:
        """The run, or None where the user has no such."""
        if not run_id.isprintable():
            return None  # no identity, and half a surrogate pair or a NUL is nothing that a database can be asked for
        values = {"user_id": user_id, "run_id": run_id}
        row = await self._database.read(lambda tx: tx.one(SQL["run"], values), user=user_id)
        return None if row is None else run_of(row)

    async def page(self, user_id: str, which: Which, *, limit: int, cursor: str | None = None) -> tuple[Page[Run], int]:
        """A page of the user's runs, the latest begun first, and how many there are on all pages.

        Raises:
            Invalid: the cursor is none of ours.
        """
        before = LAST_ID if cursor is None else read_cursor(cursor)[1]
        values = {"user_id": user_id, "before": before, "limit": limit + 1, "thread_id": which.thread_id}
        values |= {"status": which.status, "since": 0 if which.since is None else to_ms(which.since)}

        async def job(tx: Transaction) -> tuple[list[Row], int]:
            count = await tx.one(SQL["count_runs_of"], values)
            assert count is not None
            return await tx.all(SQL["runs_of"], values), int(count[0])

        rows, total = await self._database.read(job, user=user_id)
        return page_of(rows, limit, run_of, lambda row: (0, row[0])), total

    async def events(self, user_id: str, run_id: str, after: int, limit: int = 1000) -> tuple[tuple[int, str], ...]:
        """(seq, JSON) of the events after `after`, in order, at most `limit`."""
        values = {"user_id": user_id, "run_id": run_id, "after": after, "limit": limit}
        rows = await self._database.read(lambda tx: tx.all(SQL["events"], values), user=user_id)
        return tuple((seq, body) for seq, body in rows)

    async def steering(self, user_id: str, run_id: str, heard: int) -> tuple[tuple[int, UserMessage], ...]:
        """(ordinal, message) of the messages that the run was given while it was under way, after this one."""
        values = {"user_id": user_id, "run_id": run_id, "heard": heard}
        rows = await self._database.read(lambda tx: tx.all(SQL["steering"], values), user=user_id)
        return tuple((ordinal, told_with(content, attachments(files))) for ordinal, content, files in rows)

    async def prune(self, before: datetime, limit: int = 100) -> int:
        """Deletes events and journal of runs that ended before this, at most so many; how many there were.

        What was said in them stays, with their threads.
        """
        values = {"before": to_ms(before), "limit": limit}
        found = await self._database.read(lambda tx: tx.all(SQL["to_prune"], values), user=None)
        for user_id, run_id in found:
            await self._prune({"user_id": user_id, "run_id": run_id})
        return len(found)

    async def _prune(self, run: dict[str, Any]) -> None:
        async def job(tx: Transaction) -> None:
            for name in ("prune_events", "prune_steps", "prune_approvals", "prune_questions", "pruned"):
                await tx.run(SQL[name], run)

        await self._database.write(job, user=run["user_id"], alone=True)

    async def operator_run(self, run_id: str) -> Run | None:
        """The operator's look at any run."""
        row = await self._database.read(lambda tx: tx.one(SQL["any_run"], {"run_id": run_id}), user=None)
        return None if row is None else run_of(row)

    async def request_cancel(self, run_id: str, by: str) -> bool:
        """The operator's cancel, from another process; False where there is no such unfinished run."""
        values = {"run_id": run_id, "by": by}
        return await self._database.write(lambda tx: tx.run(SQL["request_cancel"], values), user=None) > 0

    async def cancels_requested(self) -> tuple[tuple[str, str], ...]:
        """(run id, by whom) of unfinished runs whose end was asked for from another process."""
        rows = await self._database.read(lambda tx: tx.all(SQL["cancels_requested"], {}), user=None)
        return tuple((run_id, by) for run_id, by in rows)

    async def all_runs(self, *, statuses: Sequence[RunStatus] = (), limit: int = 100) -> tuple[Run, ...]:
        """The operator's list, newest first; of these statuses, or of all where none is named."""
        named = msgspec.json.encode([str(status) for status in statuses]).decode()
        values = {"statuses": named if statuses else None, "limit": limit}
        rows = await self._database.read(lambda tx: tx.all(SQL["all_runs"], values), user=None)
        return tuple(run_of(row) for row in rows)
