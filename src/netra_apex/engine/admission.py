"""Admission: a user's message becomes an accepted run. One way in, for socket and HTTP alike."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from msgspec.structs import replace as say_again

from netra_apex.agents import AgentRegistry
from netra_apex.core.context import UserExecutionContext, check_identity
from netra_apex.core.conversations import Accepted, Admitted, Post, check_post
from netra_apex.core.permissions import allows
from netra_apex.core.ports import Conversations, Runs
from netra_apex.core.redaction import Redactor
from netra_apex.core.runs import Run, RunStatus, Seat
from netra_apex.core.telemetry import Telemetry
from netra_apex.engine.orders import Order, Runner
from netra_apex.errors import Draining, Forbidden, InvalidContext, NotFound

CANCEL_SECONDS = 2.5  # how long a cancel waits to see the ending that G9 promises within 2 s
LOOK_SECONDS = 0.03  # between two looks at a run that ends elsewhere


@dataclass(frozen=True, slots=True)
class Doors:
    """What a process gives its admission: the group of its tasks, a redactor, and what it could give a run.

    `accepted` is called for each run that was, before it starts. `telemetry` knows in which trace one is asked for.
    """

    group: asyncio.TaskGroup
    redactor: Redactor
    seat: Seat
    accepted: Callable[[UserExecutionContext, Admitted], None]
    telemetry: Telemetry


class Admission:
    """Accepts posts, cancels runs and deletes threads, for their owner."""

    def __init__(
        self,
        registry: AgentRegistry,
        runs: Runs,
        conversations: Conversations,
        runner: Runner,
        doors: Doors,
    ) -> None:
        self._registry = registry
        self._runs = runs
        self._conversations = conversations
        self._runner = runner
        self._group = doors.group
        self._redactor = doors.redactor
        self._seat = doors.seat
        self._accepted = doors.accepted
        self._telemetry = doors.telemetry
        self.draining = False

    def check_open(self) -> None:
        """Whether anything is still taken.

        Raises:
            Draining: the process is about to stop.
        """
        if self.draining:
            raise Draining("the server is about to stop: come back in a moment", retry_after=5)

    async def post(
        self,
        user_id: str,
        permissions: frozenset[str],
        post: Post,
        on_accepted: Callable[[Accepted], None] = lambda _: None,
    ) -> Accepted:
        """Accepts a message: it is stored, and its run starts now or in its turn.

        `on_accepted` is called before anything of the run is told, and also for a repeated post.

        Raises:
            Invalid, NotFound, Forbidden, Busy, QueueFull, IdempotencyConflict, Draining: nothing was stored.
        """
        self.check_open()
        check_post(post)
        _check_thread(post)
        agent = self._registry.default if post.agent is None else post.agent
        requires = self._registry.get(agent).requires
        if not allows(permissions, requires):
            raise Forbidden(f"agent {agent} needs the permission {requires}")
        # In a task of the process: a client that goes away in this moment must not leave a run that nobody starts.
        accepted: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._group.create_task(_settle(accepted, self._accept(user_id, permissions, post, agent, on_accepted)))
        return await asyncio.shield(accepted)

    async def cancel(self, user_id: str, run_id: str, *, wait: bool = True) -> Run:
        """Cancels a run of this user, and answers how it stands; one that has ended stays as it is.

        With `wait` it answers once the run has ended, which G9 promises within two seconds.

        Raises:
            NotFound: the user has no such run.
        """
        run = await self._runs.run(user_id, run_id)
        if run is None:
            raise NotFound("run", run_id)
        if run.status.ended:
            return run
        ended = await self._runner.cancel(run, user_id)
        if not wait:
            return run
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_SECONDS):
                if ended is not None:
                    await ended.wait()
                return await self._until_ended(run)
        return await self._runs.run(user_id, run_id) or run

    async def _until_ended(self, run: Run) -> Run:
        """How the run stands once it has ended, wherever that is."""
        while True:
            now = await self._runs.run(run.user_id, run.run_id)
            if now is None or now.status.ended or self.draining:
                return now or run
            await asyncio.sleep(LOOK_SECONDS)

    async def delete_thread(self, user_id: str, thread_id: str) -> bool:
        """Deletes a thread of this user; what runs in it is cancelled first. False: the user has no such thread.

        Raises:
            Busy: a new run began in it meanwhile.
        """
        for run in await self._conversations.unfinished(user_id, thread_id):
            await self.cancel(user_id, run.run_id)
        return await self._conversations.delete_thread(user_id, thread_id)

    async def delete_run(self, user_id: str, run_id: str) -> bool:
        """Deletes a run of this user, with its thread where that has no other; it is cancelled first.

        Raises:
            Busy: it has not ended in time.
        """
        with contextlib.suppress(NotFound):
            await self.cancel(user_id, run_id)
        return await self._conversations.delete_run(user_id, run_id)

    async def _accept(
        self,
        user_id: str,
        permissions: frozenset[str],
        post: Post,
        agent: str,
        on_accepted: Callable[[Accepted], None],
    ) -> Accepted:
        context = UserExecutionContext.new(user_id, thread_id=post.thread_id, permissions=permissions)
        content = self._redactor.text(post.content)
        before = tuple(say_again(said, content=self._redactor.text(said.content)) for said in post.before)
        stored = replace(post, content=content, before=before)
        room = self._runner.reserve()
        try:
            seat = replace(self._seat, room=room, trace=self._telemetry.here())
            admitted = await self._runs.accept(context, stored, agent=agent, seat=seat)
        except BaseException:
            if room:
                self._runner.free()
            raise
        accepted = admitted.accepted
        on_accepted(accepted)
        if not accepted.repeated and not admitted.steers:
            self._accepted(context, admitted)
        if admitted.started:
            self._runner.start(Order(context, agent, content, admitted.history, files=admitted.files))
            return replace(accepted, status=RunStatus.RUNNING)
        if room:
            self._runner.free()
        if admitted.steers:
            self._runner.steer(accepted.run_id)
            return accepted
        if post.if_busy == "interrupt" and not accepted.repeated:
            await self._interrupt(user_id, accepted)
        return accepted

    async def _interrupt(self, user_id: str, accepted: Accepted) -> None:
        """Cancels what the thread was about to do before this run, which then has its turn."""
        unfinished = [run.run_id for run in await self._conversations.unfinished(user_id, accepted.thread_id)]
        if accepted.run_id in unfinished:
            for run_id in unfinished[: unfinished.index(accepted.run_id)]:
                await self.cancel(user_id, run_id, wait=False)


def _check_thread(post: Post) -> None:
    """An id that cannot be one is that of no thread, like any other that is not the user's."""
    if post.thread_id is not None:
        try:
            check_identity("thread_id", post.thread_id)
        except InvalidContext as error:
            raise NotFound("thread", post.thread_id) from error


async def _settle(future: "asyncio.Future[Accepted]", accepting: Coroutine[Any, Any, Accepted]) -> None:
    """Hands what came of it to who asked: a refusal is theirs, and must not end the group that every run is in."""
    try:
        future.set_result(await accepting)
    except Exception as error:  # noqa: BLE001 - handed on unchanged
        future.set_exception(error)
        future.exception()  # who asked may have gone, and then nobody else does
