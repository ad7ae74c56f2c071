"""What an administrator may do beside what every user may, each of it with a row in the audit."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from netra_apex.core.accounts import User
from netra_apex.core.conversations import Page
from netra_apex.core.runs import Run, RunStatus

OPERATOR = "operator"  # who has cancelled a run, as its user is told: the administrator's name is in the audit


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who wants to do something as an administrator: by these permissions, and in this run where an agent does it."""

    user_id: str
    permissions: frozenset[str]
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """Something that was done as an administrator: by whom, when, and about whom. No content of anybody's."""

    audit_id: str
    at: datetime
    actor: str
    action: str
    subject: str | None = None
    run_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """A run and how it is carried out. `taken_up` counts who carried it on after the first: a takeover, a decision.

    `approvals` and `questions` are what it waits for, `waits_since` the first of them; only where it waits.
    """

    run: Run
    executor: str | None
    taken_up: int
    approvals: int = 0
    questions: int = 0
    waits_since: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UserLoad:
    """How many runs of a user have not ended, and how they stand. `left` wait for a process to take them up again."""

    user_id: str
    running: int
    queued: int
    left: int
    waiting: int
    approvals: int
    questions: int
    queued_since: datetime | None
    waits_since: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessState:
    """A process that executes runs or serves. `figures` is what it says of itself, None for one of an older version.

    `silent_ms` is how long ago it was seen, compared with the one that was seen last. `draining`: it is asked to take
    no new work.
    """

    executor: str
    room: int
    started_at: datetime
    silent_ms: int
    draining: bool
    figures: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """A process began, ended in order, or was `lost` with so many runs, which go on elsewhere."""

    at: datetime
    kind: str
    executor: str
    runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """How it stands in one moment: everybody's runs that have not ended, the last that have, processes. No content."""

    at: datetime
    loads: tuple[UserLoad, ...]
    runs: tuple[RunState, ...]
    ended: tuple[RunState, ...]
    processes: tuple[ProcessState, ...]
    incidents: tuple[Incident, ...]


class Processes(Protocol):
    """What processes say of themselves, and what became of them."""

    async def known(self) -> frozenset[str]:
        """Every process that has said that it began, and not that it ended."""
        ...

    async def enter(self, executor: str, room: int, figures: Mapping[str, Any]) -> None:
        """This process begins."""
        ...

    async def report(self, executor: str, room: int, figures: Mapping[str, Any]) -> bool:
        """What it says of itself now; whether it is asked to take no new work."""
        ...

    async def is_asked_to_drain(self, executor: str) -> bool: ...

    async def lost(self, executor: str, runs: int) -> None:
        """A process is gone that did not say so, and had so many runs."""
        ...

    async def leave(self, executor: str, runs: int) -> None:
        """This process ends, and leaves so many runs to others."""
        ...


class UserAdministration(ABC):
    """What a run may do as an administrator: `scope.store.admin`.

    Each method asks again whether the context has the permission `admin`, and whether its user is an administrator
    still, and raises `Forbidden` where not. What it does and its row in the audit are one transaction.
    """

    @abstractmethod
    async def users(self, *, limit: int = 50, cursor: str | None = None) -> Page[User]:
        """The accounts, by name."""

    @abstractmethod
    async def set_disabled(self, user_id: str, *, disabled: bool) -> User:
        """Keeps a user from logging in and ends his logins, or lets him log in again.

        Raises:
            NotFound: there is no such user.
            Invalid: it is oneself.
        """

    @abstractmethod
    async def runs(
        self, *, statuses: Sequence[RunStatus] = (), limit: int = 50, cursor: str | None = None
    ) -> Page[Run]:
        """Everybody's runs, the latest first: ids, states and times."""

    @abstractmethod
    async def cancel_run(self, run_id: str) -> Run:
        """Has anybody's run end, which it does within moments; one that has ended stays as it is.

        Raises:
            NotFound: there is no such run.
        """

    @abstractmethod
    async def audit(self, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """What was done as an administrator, the latest first."""


class Administration(Protocol):
    """What administrators do. Each method raises `Forbidden` for others, and leaves a row in the audit."""

    async def users(self, actor: Actor, *, limit: int = 50, cursor: str | None = None) -> Page[User]: ...

    async def set_disabled(self, actor: Actor, user_id: str, *, disabled: bool) -> User:
        """Raises: NotFound; Invalid: it is oneself."""
        ...

    async def runs(
        self, actor: Actor, *, statuses: Sequence[RunStatus] = (), limit: int = 50, cursor: str | None = None
    ) -> Page[Run]: ...

    async def cancel_run(self, actor: Actor, run_id: str) -> Run:
        """Raises: NotFound."""
        ...

    async def audit(self, actor: Actor, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]: ...

    async def overview(self, actor: Actor) -> Overview:
        """How it stands now, for one who began to watch."""
        ...

    async def show_run(self, actor: Actor, run_id: str) -> RunState:
        """Raises: NotFound."""
        ...

    async def read_events(self, actor: Actor, run_id: str) -> RunState:
        """Whose run it is, for one who is about to read as its owner what it told. Raises: NotFound."""
        ...

    async def drain(self, actor: Actor, executor: str, *, draining: bool) -> ProcessState:
        """Asks a process to take no new work, or to take some again. Raises: NotFound."""
        ...

    async def is_administrator(self, actor: Actor) -> bool:
        """Whether the actor is one still."""
        ...
