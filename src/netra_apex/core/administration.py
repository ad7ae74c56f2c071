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
