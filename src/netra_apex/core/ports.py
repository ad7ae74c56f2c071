"""What the upper floors need of a database and of other processes, as narrow protocols.

`stores` satisfies them; `runtime` brings the two together. Ports with values of their own stand beside these, in
`core.budgets`, `core.memories`, `core.processes` and `core.administration`; those of models, and of who tells what they
say, in `core.voices`.
"""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from netra_apex.core.accounts import Session, User
from netra_apex.core.belongings import NewFile, StoredFile
from netra_apex.core.budgets import Bill
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Admitted, Approval, Message, Order, Page, Post, Question, Thread, Verdict
from netra_apex.core.events import DurableEvent
from netra_apex.core.journal import Decision, LedgerEntry, Step
from netra_apex.core.messages import ModelMessage, UserMessage
from netra_apex.core.runs import Claim, Run, RunStatus, Seat
from netra_apex.core.telemetry import Traces


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

    async def sessions_of(self, user_id: str) -> tuple[Session, ...]: ...

    async def end_session_of(self, user_id: str, session_id: str) -> bool:
        """Ends a login of this user; False where there is no such."""
        ...

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

    async def claim_title(self, user_id: str, thread_id: str, run_id: str) -> tuple[str, str] | None:
        """What was asked in this run and answered, for whoever is to give its thread a title.

        None where it has one already, of a person or of a model, or somebody was told this before.
        """
        ...

    async def put_title(self, user_id: str, thread_id: str, title: str) -> bool:
        """Gives it the title that was asked for; False where a person has given it one meanwhile, or it is gone."""
        ...

    async def delete_thread(self, user_id: str, thread_id: str) -> bool:
        """Deletes it with its messages, runs and events. Raises: Busy: it has an unfinished run."""
        ...

    async def delete_run(self, user_id: str, run_id: str) -> bool: ...

    async def messages(
        self, user_id: str, thread_id: str, *, limit: int, cursor: str | None, order: Order
    ) -> Page[Message] | None: ...

    async def unfinished(self, user_id: str, thread_id: str) -> tuple[Run, ...]: ...


class Files(Protocol):
    """Files of threads. Every method takes owner and thread, and another's file is as none (G5).

    A file is there once all of it is.
    """

    async def files(self, user_id: str, thread_id: str, *, limit: int, cursor: str | None) -> Page[StoredFile] | None:
        """A page of the thread's files, oldest first; None where the user has no such thread."""
        ...

    async def file(self, user_id: str, thread_id: str, file_id: str) -> StoredFile | None: ...

    async def add_file(self, user_id: str, thread_id: str, new: NewFile, content: AsyncIterable[bytes]) -> StoredFile:
        """Stores what comes, piece by piece; the file of an id that is there already is answered as it is.

        Raises:
            NotFound: the user has no such thread, or has it no longer.
            Invalid, TooLarge: nothing came, or too much, for a file or for its user.
        """
        ...

    def read_file(self, user_id: str, thread_id: str, file_id: str) -> AsyncIterator[bytes]:
        """What is in it, piece by piece. Raises: NotFound."""
        ...

    async def delete_file(self, user_id: str, thread_id: str, file_id: str) -> bool: ...


class Runs(Traces, Protocol):
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
        bill: Bill | None = None,
        shown_at: int | None = None,
    ) -> Awaitable[None]:
        """Stores stamped events with their JSON, what follows from them (status, messages), and the journal's steps.

        `bill` is what a run has used that ends with these events; `shown_at` when it first showed text of an answer,
        in milliseconds since 1970. All in one transaction, and only while the run's
        epoch is this one. Done once it is on disk (G1), which may take some milliseconds unless somebody calls
        `hurry`.
        """
        ...

    def hurry(self) -> None:
        """What was appended goes to the disk now: somebody waits for it."""
        ...

    def keep_transcript(self, context: UserExecutionContext, messages: Sequence[ModelMessage]) -> Awaitable[None]:
        """What later runs of the thread tell the model that this run said, calls and their answers included."""
        ...

    async def run(self, user_id: str, run_id: str) -> Run | None: ...

    async def said(self, user_id: str, run_id: str) -> tuple[ModelMessage, ...]: ...

    async def events(self, user_id: str, run_id: str, after: int, limit: int = 1000) -> tuple[tuple[int, str], ...]:
        """(seq, JSON) of the events after `after`, in order, at most `limit`."""
        ...

    async def steering(self, user_id: str, run_id: str, heard: int) -> tuple[tuple[int, UserMessage], ...]:
        """(ordinal, message) of the messages that the run was given while it was under way, after this one."""
        ...

    async def prune(self, before: datetime, limit: int = 100) -> int:
        """Deletes events and journal of runs that ended before this, at most so many; how many there were."""
        ...

    async def operator_run(self, run_id: str) -> Run | None: ...

    async def request_cancel(self, run_id: str, by: str) -> bool:
        """The operator's cancel, from another process; False where there is no such unfinished run."""
        ...

    async def cancels_requested(self) -> tuple[tuple[str, str], ...]:
        """(run id, by whom) of unfinished runs whose end was asked for from another process."""
        ...

    async def all_runs(self, *, statuses: Sequence[RunStatus] = (), limit: int = 100) -> tuple[Run, ...]: ...


class Journals(Protocol):
    """What runs have done."""

    async def steps(self, user_id: str, run_id: str) -> tuple[Step, ...]:
        """The run's journal, in the order of its keys. Raises: StoreError: it cannot be read."""
        ...

    async def ledger(self, user_id: str, run_id: str) -> tuple[LedgerEntry, ...]:
        """The run's steps without their results, in the order in which they began."""
        ...


class Approvals(Protocol):
    """Calls that wait for a person's word, and runs that wait for a person.

    Every method takes the owner, and another's approval is as none (G5).
    """

    async def pending(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Approval]:
        """Those that may be decided now, the oldest first."""
        ...

    async def decide(
        self, user_id: str, approval_id: str, verdict: Verdict, note: str | None, *, may: frozenset[str] | None = None
    ) -> Approval:
        """Decides, once; a run that waits for nothing else has its turn again.

        Raises: NotFound; AlreadyDecided: also where it has expired, or its run has ended.
        """
        ...

    async def decisions(self, user_id: str, run_id: str) -> Mapping[str, Decision]:
        """What was decided on the run's approvals, and answered to its questions, by their ids."""
        ...

    async def park(self, user_id: str, run_id: str, epoch: int) -> bool:
        """The run waits for a person and is nobody's; False where a decision is there already, and it has its turn."""
        ...

    async def expire(self) -> int:
        """Decides those whose time is over, of all users; how many runs have their turn again."""
        ...


class Questions(Protocol):
    """Calls that wait for a person's answer. Every method takes the owner, and another's question is as none (G5)."""

    async def pending(self, user_id: str, *, limit: int, cursor: str | None) -> Page[Question]:
        """Those that may be answered now, the oldest first."""
        ...

    async def answer(
        self, user_id: str, question_id: str, content: str, *, may: frozenset[str] | None = None
    ) -> Question:
        """Answers, once; a run that waits has its turn again.

        Raises: NotFound; AlreadyDecided: also where it has expired, or its run has ended.
        """
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

        Those of one thread come one after another, and no more than `per_user` at once."""
        ...

    async def ahead(self, user_id: str, run_id: str) -> int | None: ...

    async def claim(self, user_id: str, run_id: str, executor: str | None = None) -> Claim | None:
        """Takes up this run, which waits, whatever the limits: from now on nobody who had it can store anything in it.

        None where the user has no such run, where it has ended, or somebody has it.
        """
        ...

    async def leave(self, user_id: str, run_id: str, epoch: int, executor: str) -> None:
        """Lets go of a run that this process has: it waits for another one."""
        ...

    async def leave_all_of(self, executor: str) -> int:
        """Lets go, in its name, of everything that a process has that is no more. Answers how many."""
        ...

    async def held(self, executor: str) -> tuple[tuple[str, str, int], ...]:
        """(user, run, epoch) of the posted runs that stand in a process's name."""
        ...

    async def recent(self, user_id: str, thread_id: str, seconds: float) -> tuple[str, ...]:
        """The runs of a thread that have not ended, or were accepted within so many seconds; oldest first."""
        ...

    async def executors(self) -> frozenset[str]:
        """Processes that have runs."""
        ...

    async def waiting_runs(self) -> int:
        """How many runs wait, of all users."""
        ...


class Credentials(Protocol):
    """Users' credentials for servers elsewhere; `place` says where a server is, and one for another place is none."""

    async def get(self, user_id: str, server: str, place: str) -> str | None: ...

    async def put(self, user_id: str, server: str, place: str, credential: str) -> None: ...

    async def delete(self, user_id: str, server: str) -> bool:
        """False: there was none."""
        ...
