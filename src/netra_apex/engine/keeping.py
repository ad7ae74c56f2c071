"""`RunMemory` and `RunAdministration`: what is remembered of a run's user, and what he may do as an administrator.

What they gave is in the journal, as a run may be played again: it sees what it saw, and does nothing twice.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from netra_apex.core.accounts import User
from netra_apex.core.administration import Actor, AuditEntry, UserAdministration
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.conversations import Page
from netra_apex.core.journal import digest_of, note
from netra_apex.core.memories import MAX_FOUND, Memory, UserMemory
from netra_apex.core.runs import Run, RunStatus
from netra_apex.engine.branches import Branches
from netra_apex.engine.lent import Belongings, Lent

MAX_LISTED = 200
R = TypeVar("R")
Opened = Callable[[], Awaitable[Lent]]
"""Gives what was lent, while it is. Raises: ScopeClosed."""


class Kept:
    """Asks something of a store once per place in the run: played again, it gives what it gave."""

    def __init__(self, opened: Opened, branches: Branches) -> None:
        self._opened = opened
        self._branches = branches

    async def once(
        self, name: str, asked: Sequence[Any], kind: type[R], ask: Callable[[Belongings], Awaitable[R]]
    ) -> R:
        """What `ask` gives, a value of this `kind`; `asked` tells it from another of its name."""
        lent = await self._opened()
        digest = digest_of(*asked)
        key = self._branches.step("think", name, digest)
        known = lent.journal.take(key, "think", name, digest)
        if known is not None:
            return msgspec.convert(known.result, kind)
        with lent.quiet.busy(repeatable=True):
            given = await ask(lent.belongings)
        lent = await self._opened()
        # On disk before the agent goes on: what it does next may rest on it.
        await lent.voice.emit(steps=(note(key, name, msgspec.to_builtins(given), digest=digest),))
        return given


class RunMemory(UserMemory):
    """See `core.memories.UserMemory`."""

    def __init__(self, context: UserExecutionContext, kept: Kept) -> None:
        self._user = context.user_id
        self._kept = kept

    async def remember(self, text: str, *, key: str | None = None) -> Memory:
        """See `UserMemory.remember`."""

        async def ask(belongings: Belongings) -> Memory:
            redactor = belongings.redactor
            name = None if key is None else redactor.text(key)
            return await belongings.memories.remember(self._user, redactor.text(text), name)

        return await self._kept.once("remember", (text, key), Memory, ask)

    async def search(self, query: str, *, limit: int = 5) -> tuple[Memory, ...]:
        """See `UserMemory.search`."""

        async def ask(belongings: Belongings) -> tuple[Memory, ...]:
            most = min(max(1, limit), MAX_FOUND)
            return (await belongings.memories.page(self._user, limit=most, query=query)).items

        return await self._kept.once("search_memory", (query, limit), tuple[Memory, ...], ask)

    async def forget(self, memory_id: str) -> bool:
        """See `UserMemory.forget`."""

        async def ask(belongings: Belongings) -> bool:
            return await belongings.memories.forget(self._user, memory_id)

        return await self._kept.once("forget", (memory_id,), bool, ask)

    async def all(self, *, limit: int = 50) -> tuple[Memory, ...]:
        """See `UserMemory.all`."""

        async def ask(belongings: Belongings) -> tuple[Memory, ...]:
            return (await belongings.memories.page(self._user, limit=_within(limit))).items

        return await self._kept.once("all_memory", (limit,), tuple[Memory, ...], ask)


class RunAdministration(UserAdministration):
    """See `core.administration.UserAdministration`."""

    def __init__(self, context: UserExecutionContext, kept: Kept) -> None:
        # The context's own permissions, which may be narrower than its user's.
        self._actor = Actor(user_id=context.user_id, permissions=context.permissions, run_id=context.run_id)
        self._kept = kept

    async def users(self, *, limit: int = 50, cursor: str | None = None) -> Page[User]:
        """See `UserAdministration.users`."""

        async def ask(belongings: Belongings) -> Page[User]:
            return await belongings.administration.users(self._actor, limit=_within(limit), cursor=cursor)

        return await self._kept.once("list_users", (limit, cursor), Page[User], ask)

    async def set_disabled(self, user_id: str, *, disabled: bool) -> User:
        """See `UserAdministration.set_disabled`."""

        async def ask(belongings: Belongings) -> User:
            return await belongings.administration.set_disabled(self._actor, user_id, disabled=disabled)

        return await self._kept.once("set_disabled", (user_id, disabled), User, ask)

    async def runs(
        self, *, statuses: Sequence[RunStatus] = (), limit: int = 50, cursor: str | None = None
    ) -> Page[Run]:
        """See `UserAdministration.runs`."""

        async def ask(belongings: Belongings) -> Page[Run]:
            most = _within(limit)
            return await belongings.administration.runs(self._actor, statuses=statuses, limit=most, cursor=cursor)

        return await self._kept.once("list_runs", (list(statuses), limit, cursor), Page[Run], ask)

    async def cancel_run(self, run_id: str) -> Run:
        """See `UserAdministration.cancel_run`."""

        async def ask(belongings: Belongings) -> Run:
            return await belongings.administration.cancel_run(self._actor, run_id)

        return await self._kept.once("cancel_run", (run_id,), Run, ask)

    async def audit(self, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """See `UserAdministration.audit`."""

        async def ask(belongings: Belongings) -> Page[AuditEntry]:
            return await belongings.administration.audit(self._actor, limit=_within(limit), cursor=cursor)

        return await self._kept.once("read_audit", (limit, cursor), Page[AuditEntry], ask)


def _within(limit: int) -> int:
    return min(max(1, limit), MAX_LISTED)
