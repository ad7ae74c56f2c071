"""What the upper floors need from the outside, as narrow protocols: a model, an account store, conversations, a log.

`stores` and `providers` satisfy them; `runtime` brings the two together. Nothing here has a body.
"""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

from netra_apex.core.accounts import Session, User
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Accepted, Message, Page, Post, Thread
from netra_apex.core.events import DurableEvent
from netra_apex.core.messages import ModelMessage, ModelRequest, Reply
from netra_apex.core.runs import Run, RunStatus


class Deltas(Protocol):
    """Where a model's answer goes while it comes. Called on the loop; each call returns at once."""

    def text(self, piece: str) -> None:
        """More of the answer's text."""
        ...

    def thinking(self, piece: str) -> None:
        """More of what the model thinks aloud."""
        ...

    def reset(self) -> None:
        """What came so far is void: the answer is asked for anew."""
        ...


class Emitter(Protocol):
    """The only writer of a run's events; bound to one run of one user."""

    def emit(self, *events: DurableEvent) -> Awaitable[None]:
        """Stores the events in one transaction, then tells them. The order of calls is the order of `seq`.

        The events are admitted at once, in the call; awaiting the answer waits until they are on disk. Who does not
        need to know may leave it: a failure to store is raised by the run's next `emit`, and ends the run.

        Raises:
            IllegalTransition: the stream may not tell this now (G3, G4); nothing was stored.
            ScopeClosed: the run has ended.
        """
        ...


class Model(Protocol):
    """A model that can be asked. One instance serves every run of a process, so it keeps nothing of any request."""

    @property
    def name(self) -> str:
        """`provider:name`, as people write it."""
        ...

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """The whole answer; its pieces go to `deltas` as they arrive.

        Raises:
            ModelFailed: the provider answered with an error, also after the retries.
            ModelUnavailable: it could not be reached, or is not set up.
        """
        ...

    async def check(self) -> str | None:
        """None where the provider answers, otherwise a sentence with the reason. For `doctor` and `/readyz`."""
        ...

    async def aclose(self) -> None:
        """Closes its connections."""
        ...


class Accounts(Protocol):
    """Users, sessions and the first admin's set-up link."""

    async def user(self, user_id: str) -> User | None: ...

    async def password_hash(self, user_id: str) -> str | None: ...

    async def users(self) -> tuple[User, ...]: ...

    async def add_user(self, user_id: str, password_hash: str, permissions: frozenset[str]) -> None:
        """Raises: Invalid: the name is taken."""
        ...

    async def set_password(self, user_id: str, password_hash: str) -> bool:
        """Also ends the user's sessions. False: there is no such user."""
        ...

    async def set_disabled(self, user_id: str, disabled: bool) -> bool:  # noqa: FBT001 - the value is the point
        """Disabling also ends the user's sessions. False: there is no such user."""
        ...

    async def add_session(self, session: Session) -> None: ...

    async def session(self, session_id: str) -> Session | None: ...

    async def session_by_cookie(self, cookie_hash: str) -> Session | None: ...

    async def session_by_refresh(self, refresh_hash: str) -> Session | None:
        """The session whose current or previous refresh token this is."""
        ...

    async def rotate(self, session_id: str, old_hash: str, new_hash: str, at: datetime) -> bool:
        """Puts `new_hash` in the place of `old_hash`; False where another rotation was first."""
        ...

    async def end_session(self, session_id: str) -> None: ...

    async def put_setup_token(self, token_hash: str, expires_at: datetime) -> None:
        """The one valid set-up token; an earlier one is void."""
        ...

    async def redeem_setup_token(self, token_hash: str, at: datetime, user_id: str, password_hash: str) -> bool:
        """Makes the first admin and voids the token, in one transaction.

        False where the token is not valid, has expired, or an admin exists by now.
        """
        ...

    async def has_admin(self) -> bool: ...


class Conversations(Protocol):
    """Threads and messages. Every method takes the owner, and another's thread is as none (G5)."""

    async def threads(self, user_id: str, *, limit: int, cursor: str | None, query: str | None) -> Page[Thread]: ...

    async def thread(self, user_id: str, thread_id: str) -> Thread | None: ...

    async def add_thread(self, user_id: str, thread_id: str, title: str) -> Thread: ...

    async def rename_thread(self, user_id: str, thread_id: str, title: str) -> Thread | None: ...

    async def delete_thread(self, user_id: str, thread_id: str) -> bool:
        """Deletes it with its messages, runs and events. Raises: Busy: it has an unfinished run."""
        ...

    async def messages(
        self, user_id: str, thread_id: str, *, limit: int, cursor: str | None
    ) -> Page[Message] | None: ...

    async def unfinished(self, user_id: str, thread_id: str) -> tuple[Run, ...]: ...


class Runs(Protocol):
    """Runs and their event log. Every method but the two for the operator takes the owner."""

    async def accept(self, user_id: str, post: Post, *, agent: str, run_id: str, queue_limit: int) -> Accepted:
        """Thread, message and run in one transaction, or the answer that the same idempotency key had.

        Raises: NotFound, Busy, QueueFull, IdempotencyConflict: nothing was written.
        """
        ...

    async def begin(self, context: UserExecutionContext, agent: str, task: str, limit: int) -> tuple[ModelMessage, ...]:
        """Makes sure that the run exists, and returns what was said in its thread before it, oldest first."""
        ...

    async def append(self, context: UserExecutionContext, events: Sequence[tuple[DurableEvent, str]]) -> None:
        """Stores stamped events with their JSON, and what follows from them (status, messages), in one transaction.

        All that is appended in one moment shares one commit. Returns once it is on disk (G1).
        """
        ...

    async def keep_transcript(self, context: UserExecutionContext, messages: Sequence[ModelMessage]) -> None:
        """What the model will be told in later runs of the thread that this run did."""
        ...

    async def run(self, user_id: str, run_id: str) -> Run | None: ...

    async def events(self, user_id: str, run_id: str, after: int, limit: int = 1000) -> tuple[tuple[int, str], ...]:
        """(seq, JSON) of the events after `after`, in order."""
        ...

    async def request_cancel(self, run_id: str, by: str) -> bool:
        """The operator's cancel, from another process; False where there is no such unfinished run."""
        ...

    async def all_runs(self, *, statuses: Sequence[RunStatus] = (), limit: int = 100) -> tuple[Run, ...]:
        """The operator's list, newest first."""
        ...
