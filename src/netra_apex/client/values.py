"""What the HTTP routes answer (docs/reference/http.md), as typed values. Unknown fields are left out."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

import msgspec

from netra_apex.core.messages import Usage
from netra_apex.core.runs import RunStatus

T = TypeVar("T")


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list; `next_cursor` is None on the last."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class AgentInfo(msgspec.Struct, frozen=True):
    """An agent that this user may run."""

    name: str
    description: str = ""


class ThreadInfo(msgspec.Struct, frozen=True):
    """A conversation of this user."""

    thread_id: str
    title: str
    created_at: datetime


class FileInfo(msgspec.Struct, frozen=True):
    """A file of a thread; `size` is in bytes."""

    file_id: str
    name: str
    size: int


class MessageInfo(msgspec.Struct, frozen=True):
    """A message of a thread."""

    message_id: str
    run_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: datetime
    files: tuple[FileInfo, ...] = ()


class RunInfo(msgspec.Struct, frozen=True):
    """Where a run stands."""

    run_id: str
    thread_id: str
    agent: str
    status: RunStatus
    last_seq: int


class OpenThread(ThreadInfo, frozen=True):
    """A conversation with its unfinished runs, so that they can be followed."""

    runs: tuple[RunInfo, ...] = ()


class ApprovalInfo(msgspec.Struct, frozen=True):
    """A call that waits for this user's decision, until `expires_at`; `again`: it may have been made already."""

    approval_id: str
    run_id: str
    thread_id: str
    call_id: str
    tool: str
    arguments: Any
    requested_at: datetime
    expires_at: datetime
    again: bool = False


class QuestionInfo(msgspec.Struct, frozen=True):
    """A question that waits for this user's answer, until `expires_at`."""

    question_id: str
    run_id: str
    thread_id: str
    call_id: str
    text: str
    asked_at: datetime
    expires_at: datetime


class Budget(msgspec.Struct, frozen=True):
    """What is left, or set aside; None where there is no such budget."""

    tokens: int | None = None
    cost_usd: float | None = None


class UsageInfo(msgspec.Struct, frozen=True):
    """What this user has used of models on this day in UTC, and what is left of it until `renews_at`."""

    day: str
    used: Usage
    left: Budget
    reserved: Budget
    renews_at: datetime


class Login(msgspec.Struct, frozen=True):
    """The answer to a login or a refresh; `expires_in` is the access token's life in seconds."""

    access_token: str
    expires_in: float
    user: Any = None

    def __repr__(self) -> str:
        """Without the token, which must not end in a log."""
        return f"Login(user={self.user!r}, expires_in={self.expires_in:g})"


class EventPage(msgspec.Struct, frozen=True):
    """Events of a run as raw JSON; `last_seq` is the run's last when they were read."""

    events: tuple[msgspec.Raw, ...]
    last_seq: int


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem document, with the contract's `code`."""

    code: str = ""
    title: str = ""
    detail: str = ""
