"""`UserExecutionContext`: who a run belongs to, as one frozen value."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Self, cast
from uuid import UUID

from netra_apex.core.ids import new_id
from netra_apex.errors import InvalidContext

MAX_DEPTH = 10
MAX_ID_LENGTH = 256

# Words that stand where somebody forgot the real identity. Refused alone and as the first word of an id
# ("default_user", "placeholder-1"), whatever comes after and in every environment.
_PLACEHOLDER = re.compile(
    r"(?:placeholder|default|none|null|nil|undefined|unknown|anonymous|anon|temp|tmp|todo|tbd|dummy|example|sample"
    r"|template|registry|mock|fake|changeme|string|n/a|nan|x{3,}|y{3,}|user[_-]?id|your[_-]?user)(?:$|[_\-.:@ /].*)",
    re.IGNORECASE | re.DOTALL,
)
_NOBODY = frozenset({"0", "-1", "1", "user", "me", "self", "-", "*", "?", "system"})
_VALUES = (str, bytes, int, float, Decimal, date, time, timedelta, UUID, Enum, type(None))  # cannot change


def check_identity(name: str, value: object) -> str:
    """`value` if it can name somebody or something.

    Raises:
        InvalidContext: not a string, empty, blank, padded, with control characters, too long, or a placeholder.
    """
    if not isinstance(value, str):
        raise InvalidContext(name, value, f"it must be a string, not {type(value).__name__}")
    if not value or not value.strip():
        raise InvalidContext(name, value, "it is empty")
    if value != value.strip() or not value.isprintable():
        raise InvalidContext(name, value, "it has blanks around it or control characters in it")
    if len(value) > MAX_ID_LENGTH:
        raise InvalidContext(name, value[:20] + "…", f"it is longer than {MAX_ID_LENGTH} characters")
    if value.lower() in _NOBODY or _PLACEHOLDER.fullmatch(value):
        raise InvalidContext(name, value, "it is a placeholder, not an identity")
    return value


def freeze(value: Any) -> Any:
    """A deep, read-only copy of JSON-like data: mappings become read-only mappings, lists tuples, sets frozen sets.

    Raises:
        InvalidContext: there is something in it that may change.
    """
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return MappingProxyType({key: freeze(item) for key, item in items})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in cast("Iterable[Any]", value))
    if isinstance(value, set | frozenset):
        return frozenset(freeze(item) for item in cast("Iterable[Any]", value))
    if isinstance(value, bytearray):
        return bytes(value)
    if not isinstance(value, _VALUES):
        # Kept as it is, it would be shared with whoever else holds it; a copy of anything is not always possible.
        raise InvalidContext("metadata", type(value).__name__, "only JSON-like data can be kept unchanged")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class UserExecutionContext:
    """Identity of one run, or of one operation inside it: a value, safe to log and to store.

    Why: everything that acts for a user is given this and nothing else to know whom it acts for, so there is no
    ambient or default identity to fall back to. It is validated once, at construction, in microseconds.

    `deadline` is an aware UTC time or None. `depth` is 0 for the run's own agent and at most 10. `correlation_id`
    is the same throughout a run, `audit_id` is each context's own, `parent_audit_id` points upwards.
    `idempotency_key` is set in a tool call's own context, and is the same when the call is repeated after a crash.
    `metadata` is frozen, nested data included.

    Raises:
        InvalidContext: an id is empty, a placeholder or malformed; the depth is over 10; the deadline has no zone; the
            metadata has something that may change.
    """

    user_id: str
    thread_id: str
    run_id: str
    request_id: str
    permissions: frozenset[str] = frozenset()
    deadline: datetime | None = None
    depth: int = 0
    operation: str = "run"
    correlation_id: str = field(default_factory=lambda: new_id("cor"))
    audit_id: str = field(default_factory=lambda: new_id("aud"))
    parent_audit_id: str | None = None
    idempotency_key: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    def __post_init__(self) -> None:
        for name in ("user_id", "thread_id", "run_id", "request_id", "correlation_id", "audit_id", "operation"):
            check_identity(name, getattr(self, name))
        if not 0 <= self.depth <= MAX_DEPTH:
            raise InvalidContext("depth", self.depth, f"operations nest at most {MAX_DEPTH} deep")
        if self.deadline is not None and self.deadline.tzinfo is None:
            raise InvalidContext("deadline", self.deadline, "it has no time zone")
        if isinstance(self.permissions, str):
            raise InvalidContext("permissions", self.permissions, "it must be a set of strings, not one string")
        # object.__setattr__ is how a frozen dataclass normalises its own fields.
        object.__setattr__(self, "permissions", frozenset(self.permissions))
        object.__setattr__(self, "metadata", freeze(self.metadata))

    @classmethod
    def new(
        cls,
        user_id: str,
        *,
        thread_id: str | None = None,
        permissions: Iterable[str] = (),
        deadline: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """A context for a new run of `user_id`, in a new thread unless `thread_id` names one; ids are made here."""
        return cls(
            user_id=user_id,
            thread_id=new_id("thr") if thread_id is None else thread_id,
            run_id=new_id("run"),
            request_id=new_id("req"),
            permissions=permissions if isinstance(permissions, str) else frozenset(permissions),  # type: ignore[arg-type]
            deadline=deadline,
            metadata=metadata or {},
        )

    def child(self, operation: str, *, permissions: Iterable[str] | None = None) -> Self:
        """The context of an operation inside this one: same user, thread and run, one deeper, its own audit id.

        `permissions` may narrow what the parent has and never widens it.

        Raises:
            InvalidContext: it would be deeper than 10, or would have a permission that its parent lacks.
        """
        narrowed = self.permissions if permissions is None else frozenset(permissions)
        if not narrowed <= self.permissions:
            raise InvalidContext(
                "permissions", sorted(narrowed - self.permissions), "a child has no more than its parent"
            )
        return replace(
            self,
            operation=operation,
            depth=self.depth + 1,
            permissions=narrowed,
            audit_id=new_id("aud"),
            parent_audit_id=self.audit_id,
        )

    def for_call(self, call_id: str) -> Self:
        """The context that a tool call receives: the same operation, with the call's idempotency key."""
        return replace(self, idempotency_key=f"{self.run_id}:{call_id}")
