"""A2A 1.0's methods on our runs: one handler for each request, which acts for who sent it and for nobody else."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from datetime import UTC
from typing import NoReturn

import structlog
from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers import RequestHandler
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import apply_history_length, validate_history_length
from google.protobuf.message import Message as ProtoMessage
from starlette.types import Scope

from netra_apex.core.conversations import Post
from netra_apex.core.events import decode
from netra_apex.core.ids import derived_id, new_id
from netra_apex.core.runs import Run
from netra_apex.errors import NotFound, Refused, StoreError, Unavailable
from netra_apex.server.auth import Principal
from netra_apex.server.protocols.a2a_card import card
from netra_apex.server.protocols.a2a_input import agent_of, answer_of, check, files_of, key_of, text_of
from netra_apex.server.protocols.a2a_tasks import STATES, Teller
from netra_apex.server.protocols.following import while_valid
from netra_apex.server.protocols.tailing import tailed
from netra_apex.server.protocols.taking import keep_files
from netra_apex.server.services import Services
from netra_apex.server.turns import give_turn_back
from netra_apex.stores.runs import Which
from netra_apex.stream.reader import PAGE

MAX_PAGE = 100
DEFAULT_PAGE = 50
LOOK_SECONDS = 0.5  # between two looks whether the server is about to stop
log = structlog.get_logger("netra_apex.server")


class RunsAsTasks(RequestHandler):
    """One user's runs as tasks: a task's id is its run's, its context the thread. What is not his is not there.

    `refused` is what one of our own refusals was, for its HTTP status.
    """

    def __init__(self, services: Services, principal: Principal, scope: Scope, base: str) -> None:
        self.refused: Refused | None = None
        self._services = services
        self._runtime = services.runtime
        self._principal = principal
        self._user_id = principal.user_id
        self._scope = scope
        self._base = base

    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task | Message:
        """Starts a run, or answers one, and waits until it has ended or asks, unless `return_immediately`."""
        with self._told_theirs(params):
            run_id = await self._send(params)
            if not params.configuration.return_immediately:
                # It may take as long as a run: this user's other requests do not wait for it.
                give_turn_back(self._scope)
                await while_valid(self._services, self._principal, lambda: self._rest(run_id))
            teller = await self._heard(run_id)
            return apply_history_length(teller.task(), params.configuration)

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """As `on_message_send`, telling what happens meanwhile."""
        with self._told_theirs(params):
            with self._runtime.manager.stream(self._user_id):
                pass  # without a place for its stream nothing is begun
            run_id = await self._send(params)
            async with aclosing(self._stream(run_id)) as told:
                async for each in told:
                    yield each

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """The task as it stands, and then what happens."""
        with self._told_theirs(params):
            if (await self._run(params.id)).status.ended:
                raise UnsupportedOperationError(message="the task has ended: there is nothing to come")
            async with aclosing(self._stream(params.id)) as told:
                async for each in told:
                    yield each

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task | None:
        """A task."""
        with self._told_theirs(params):
            validate_history_length(params)
            return apply_history_length((await self._heard(params.id)).task(), params)

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """This user's tasks, the latest begun first."""
        with self._told_theirs(params):
            validate_history_length(params)
            size = params.page_size if params.HasField("page_size") else DEFAULT_PAGE
            if not 1 <= size <= MAX_PAGE:
                raise InvalidParamsError(message=f"pageSize is from 1 to {MAX_PAGE}")
            statuses = {state: status for status, state in STATES.items()}
            if params.status != TaskState.TASK_STATE_UNSPECIFIED and params.status not in statuses:
                return ListTasksResponse(page_size=size)
            since = params.status_timestamp_after if params.HasField("status_timestamp_after") else None
            which = Which(
                thread_id=params.context_id or None,
                status=statuses.get(params.status),
                since=None if since is None else since.ToDatetime(tzinfo=UTC),
            )
            page, total = await self._runtime.stores.runs.page(
                self._user_id, which, limit=size, cursor=params.page_token or None
            )
            tasks = [await self._listed(run, params) for run in page.items]
            return ListTasksResponse(
                tasks=tasks, next_page_token=page.next_cursor or "", page_size=size, total_size=total
            )

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task | None:
        """Ends a task."""
        with self._told_theirs(params):
            if (await self._run(params.id)).status.ended:
                raise TaskNotCancelableError(message="the task has ended")
            await self._runtime.admission.cancel(self._user_id, params.id)
            return (await self._heard(params.id)).task()

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """The card with every agent that this user may run."""
        return card(self._runtime.registry, self._base, self._principal.permissions)

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuses."""
        _no_push()

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuses."""
        _no_push()

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Refuses."""
        _no_push()

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Refuses."""
        _no_push()

    async def _send(self, params: SendMessageRequest) -> str:
        """The run that a message started, or answered."""
        validate_history_length(params.configuration)
        if params.configuration.HasField("task_push_notification_config"):
            _no_push()
        message = check(params)
        self._runtime.admission.check_open()
        if message.task_id:
            await self._answer(message)
            return message.task_id
        # A context of its own, which is the same where the same message comes again.
        thread_id = message.context_id or derived_id("thr", "a2a", self._user_id, message.message_id)
        if message.context_id and await self._runtime.stores.conversations.thread(self._user_id, thread_id) is None:
            raise InvalidParamsError(message=f"there is no context {thread_id}: leave it out to begin one")
        files = await keep_files(
            self._runtime, self._user_id, thread_id, (key_of(message.message_id), files_of(message))
        )
        post = Post(
            content=text_of(message),
            thread_id=thread_id,
            agent=agent_of(params),
            idempotency_key=key_of(message.message_id),
            files=files,
            begins=not message.context_id,
        )
        accepted = await self._runtime.admission.post(self._user_id, self._principal.permissions, post)
        return accepted.run_id

    async def _answer(self, message: Message) -> None:
        """Hands an answer to the task that waits for it."""
        teller = await self._heard(message.task_id)
        run = teller.run
        if message.context_id and message.context_id != run.thread_id:
            raise InvalidParamsError(message=f"task {run.run_id} is not of context {message.context_id}")
        if run.status.ended:
            raise UnsupportedOperationError(message="the task has ended: send the message to its context")
        if not teller.asked:
            raise UnsupportedOperationError(message="the task waits for nothing: send the message to its context")
        answer = answer_of(message, teller.asked)
        house, may = self._runtime.house, self._principal.permissions
        if answer.verdict is not None:
            await house.decide(self._user_id, answer.ident, answer.verdict, answer.text, may=may)
        else:
            await house.answer(self._user_id, answer.ident, answer.text or "", may=may)

    async def _run(self, run_id: str) -> Run:
        run = await self._runtime.stores.runs.run(self._user_id, run_id)
        if run is None:
            raise TaskNotFoundError
        return run

    async def _heard(self, run_id: str) -> Teller:
        """What a run has told so far."""
        run = await self._run(run_id)
        teller = Teller(run)
        while page := await self._runtime.stores.runs.events(self._user_id, run_id, teller.seq, PAGE):
            for seq, body in page:
                teller.learn(seq, decode(body))
        return teller

    async def _listed(self, run: Run, params: ListTasksRequest) -> Task:
        task = (await self._heard(run.run_id)).task()
        if not params.include_artifacts:
            task.ClearField("artifacts")
        return apply_history_length(task, params)

    async def _stream(self, run_id: str) -> AsyncGenerator[Event]:
        """A task as it stands, and then what happens, to its end or to where it waits for a person."""
        teller = await self._heard(run_id)
        yield teller.task()
        if teller.over or teller.run.status.ended:
            return
        follower = await self._runtime.reader.follower(self._user_id, run_id, teller.seq)
        async with aclosing(tailed(self._runtime, self._user_id, follower, lambda: bool(teller.asked))) as heard:
            async for seq, event in heard:
                for each in teller.hear(seq, event):
                    yield each
        if not teller.over and teller.asked:
            yield teller.waits()

    async def _rest(self, run_id: str) -> None:
        """Waits until a task has ended or asks; no longer once the server is about to stop."""
        resting = asyncio.ensure_future(self._through(run_id))
        try:
            while not resting.done() and not self._runtime.admission.draining:
                await asyncio.wait({resting}, timeout=LOOK_SECONDS)
            if resting.done():
                resting.result()
        finally:
            resting.cancel()
            await asyncio.wait({resting})

    async def _through(self, run_id: str) -> None:
        async with aclosing(self._stream(run_id)) as told:
            async for _ in told:
                pass

    @contextmanager
    def _told_theirs(self, params: ProtoMessage) -> Generator[None]:
        """Checks a request, and tells our refusals in the protocol's words; `data.code` is ours."""
        try:
            validate_proto_required_fields(params)
            yield
        except A2AError:
            raise
        except Refused as error:
            raise self._theirs(error) from error
        except StoreError as error:
            raise self._theirs(Unavailable("the server cannot reach its data now", retry_after=5)) from error
        except Exception as error:
            # The request's boundary: what the SDK makes of a bug tells the client what the bug says of itself.
            ident = new_id("err")
            log.exception("internal error", id=ident, path=self._scope["path"])
            raise InternalError(message=f"something went wrong here; the log has it as {ident}") from error

    def _theirs(self, error: Refused) -> A2AError:
        self.refused = error
        if isinstance(error, NotFound) and error.kind == "run":
            return TaskNotFoundError()
        kind = InvalidParamsError if error.status in (404, 409, 413, 422) else UnsupportedOperationError
        return kind(message=str(error), data={"code": error.code})


def _no_push() -> NoReturn:
    raise PushNotificationNotSupportedError(message="this server sends no notifications: subscribe to the task")
