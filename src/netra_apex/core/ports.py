"""What the upper floors need from the outside, as narrow protocols: a model, an account store, conversations, a log.

`stores` and `providers` satisfy them; `runtime` brings the two together. Nothing here has a body.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from netra_apex.core.accounts import Session, User
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Admitted, Message, Page, Post, Thread
from netra_apex.core.events import DurableEvent
from netra_apex.core.journal import LedgerEntry, Step
from netra_apex.core.messages import ModelMessage, ModelRequest, Reply
from netra_apex.core.runs import Claim, Run, RunStatus, RunStream, Seat


class Deltas(Protocol):
    """Where a model's answer goes while it comes. Called on the loop; each call returns at once."""

    @property
    def pace(self) -> float:
        """Seconds within which more of the answer is not shown anyway: what comes meanwhile may be told together."""
        ...

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

    def emit(self, *events: DurableEvent, steps: Sequence[Step] = ()) -> Awaitable[None]:
        """Stores the events in one transaction, then tells them. The order of calls is the order of `seq`.

        `steps` are what the journal is to know with them: all of it is stored, or nothing.

        The events are admitted at once, in the call; awaiting the answer waits until they are on disk, and a cancel
        of who awaits does not undo the storing. Who does not need to know may leave it: a failure to store is raised
        by the run's next `emit`, and ends the run.

        Raises:
            IllegalTransition: the stream may not tell this now (G3, G4); nothing was stored.
            ScopeClosed: the run has ended.
        """
        ...


class Writer(Deltas, Protocol):
    """An answer that is being written to the user."""

    def finish(self) -> str:
        """Shows what was held back, and returns the id that the answer's `message_completed` is to have."""
        ...


class Voice(Emitter, Protocol):
    """What one agent of a run tells: its events carry the agent's name and depth."""

    def writer(self, *, show: bool, key: str, anew: bool = False) -> Writer:
        """Where the model's answer of this step goes while it comes; nowhere, if it is not shown.

        `anew`: the process that had the run before may have shown some of it.
        """
        ...


class RunEmitter(Protocol):
    """A run's emitter, as the engine uses it."""

    @property
    def stream(self) -> RunStream:
        """What the run has told so far."""
        ...

    def voice(
        self, agent: str, *, depth: int = 0, parent_agent: str | None = None, parent_call_id: str | None = None
    ) -> Voice: ...

    def keep(self, transcript: Sequence[ModelMessage]) -> None:
        """Stores what later runs of the thread are to know, with whatever is emitted next."""
        ...

    def close(self) -> None:
        """Nothing is told any more."""
        ...


class EmitterFor(Protocol):
    """Makes a run's emitter; for one that is taken up, from what it has told."""

    def __call__(self, context: UserExecutionContext, stream: RunStream | None = None) -> RunEmitter: ...


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

    async def add_users(self, users: Sequence[tuple[str, str, frozenset[str]]]) -> None:
        """Adds all of these (name, password hash, permissions), or none. Raises: Invalid: names are taken."""
        ...

    async def set_password(self, user_id: str, password_hash: str) -> bool:
        """Also ends the user's sessions. False: there is no such user."""
        ...

    async def set_disabled(self, user_id: str, *, disabled: bool) -> bool:
        """Disabling also ends the user's sessions. False: there is no such user."""
        ...

    async def add_session(self, session: Session) -> None: ...

    async def session(self, session_id: str) -> Session | None: ...

    async def session_by_cookie(self, cookie_hash: str) -> Session | None: ...

    async def session_by_refresh(self, refresh_hash: str) -> Session | None:
        """The session whose refresh token this is, or was."""
        ...

    async def rotate(self, session_id: str, old_hash: str, new_hash: str, at: datetime) -> bool:
        """Puts `new_hash` in the place of `old_hash`; False where another rotation was first."""
        ...

    async def end_session(self, session_id: str) -> None: ...

    async def live_sessions(self) -> frozenset[str]: ...

    async def put_setup_token(self, token_hash: str, expires_at: datetime) -> None:
        """The one valid set-up token; an earlier one is void."""
        ...

    async def setup_token_valid(self, token_hash: str, at: datetime) -> bool:
        """Whether `redeem_setup_token` would take it now."""
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
    """Runs and their event log. Every method but the operator's takes the owner.

    The methods that are not coroutines ask at once, in the call: what is asked for in one moment shares one commit,
    and keeps its order.
    """

    def accept(self, context: UserExecutionContext, post: Post, *, agent: str, seat: Seat) -> Awaitable[Admitted]:
        """Thread, message and run in one transaction; or the answer that the same idempotency key had.

        The context's thread is the post's, or the one that its new thread is to be. What was said in the thread before
        comes along. Whether it starts here and now, or waits, is decided in the same transaction.

        Raises: NotFound, Busy, QueueFull, IdempotencyConflict: nothing was written.
        """
        ...

    async def begin(
        self, context: UserExecutionContext, agent: str, task: str, *, executor: str | None = None
    ) -> tuple[ModelMessage, ...]:
        """Makes sure that the run exists, and returns what was said in its thread before it, oldest first.

        One that is made here is a program's own, and `executor`'s.

        Raises: NotFound: the context names a thread that is not the user's.
        """
        ...

    def append(
        self,
        context: UserExecutionContext,
        events: Sequence[tuple[DurableEvent, str]],
        steps: Sequence[Step] = (),
        *,
        epoch: int = 1,
    ) -> Awaitable[None]:
        """Stores stamped events with their JSON, what follows from them (status, messages), and the journal's steps.

        All in one transaction, and only while the run's epoch is this one. Done once it is on disk (G1), which may
        take some milliseconds unless somebody calls `hurry`.
        """
        ...

    def hurry(self) -> None:
        """What was appended goes to the disk now: somebody waits for it."""
        ...

    def keep_transcript(self, context: UserExecutionContext, messages: Sequence[ModelMessage]) -> Awaitable[None]:
        """What later runs of the thread tell the model that this run said, calls and their answers included."""
        ...

    async def run(self, user_id: str, run_id: str) -> Run | None: ...

    async def events(self, user_id: str, run_id: str, after: int, limit: int = 1000) -> tuple[tuple[int, str], ...]:
        """(seq, JSON) of the events after `after`, in order, at most `limit`."""
        ...

    async def operator_run(self, run_id: str) -> Run | None: ...

    async def request_cancel(self, run_id: str, by: str) -> bool:
        """The operator's cancel, from another process; False where there is no such unfinished run."""
        ...

    async def cancels_requested(self) -> tuple[tuple[str, str], ...]:
        """(run id, by whom) of unfinished runs whose end was asked for from another process."""
        ...

    async def all_runs(self, *, statuses: Sequence[RunStatus] = (), limit: int = 100) -> tuple[Run, ...]:
        """The operator's list, newest first."""
        ...


class Journals(Protocol):
    """What runs have done."""

    async def steps(self, user_id: str, run_id: str) -> tuple[Step, ...]:
        """The run's journal, in the order of its keys. Raises: StoreError: it cannot be read."""
        ...

    async def ledger(self, user_id: str, run_id: str) -> tuple[LedgerEntry, ...]:
        """The run's steps without their results, in the order in which they began."""
        ...


class Turns(Protocol):
    """Whose turn it is: which of the runs that wait may start, decided in one place for all processes.

    A run waits while nobody carries it out: it was accepted and not started, or whoever had it is gone.
    """

    async def waiting(self) -> tuple[tuple[str, int], ...]:
        """(user, how many of theirs are carried out) of everybody of whom a run waits."""
        ...

    async def take(self, user_id: str, executor: str, *, per_user: int) -> Claim | None:
        """Takes up the first of this user's runs whose turn it is; None where it is none's.

        Those of one thread come one after another, and no more than `per_user` at once.
        """
        ...

    async def claim(self, user_id: str, run_id: str, executor: str | None = None) -> Claim | None:
        """Takes up this run, which waits, whatever the limits: from now on nobody who had it can store anything in it.

        None where the user has no such run, where it has ended, or somebody has it.
        """
        ...

    async def leave(self, user_id: str, run_id: str, epoch: int) -> None:
        """Lets go of a run: it waits for another process."""
        ...

    async def leave_all_of(self, executor: str) -> int:
        """Lets go, in its name, of everything that a process has that is no more. Answers how many."""
        ...

    async def executors(self) -> frozenset[str]:
        """Processes that have runs."""
        ...

    async def waiting_runs(self) -> int:
        """How many runs wait, of all users."""
        ...


class Presence(Protocol):
    """Which processes on this database live, where there may be several."""

    async def seen(self, room: int) -> bool:
        """Says that this process lives; True where it had to begin anew, having lost its connection."""
        ...

    async def others(self) -> tuple[tuple[str, int], ...]:
        """(executor, ms since it was seen) of every other process that is known or has runs."""
        ...

    async def bury(self, executor: str, *, whatever: bool) -> int | None:
        """Lets go of what a dead process has: how many runs. None where it lives, unless `whatever`."""
        ...

    async def close(self) -> None:
        """This process is gone."""
        ...


class Bus(Protocol):
    """What processes tell one another, where there are several. It may be lost; what must not be is in the store."""

    def send(self, topic: str, text: str, *, urgent: bool = True) -> None:
        """Tells everybody who listens to this topic, soon. `text` is a JSON object."""
        ...

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        """Calls `heard` with what is told on this topic."""
        ...

    def on_back(self, call: Callable[[], None]) -> None:
        """Calls this when it listens again after something may have been missed."""
        ...

    async def run(self) -> None:
        """Listens and tells, until it is cancelled."""
        ...
