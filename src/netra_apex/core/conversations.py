"""What a conversation is made of, as a reader of it sees it: threads, messages, and a message that is posted."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, TypeVar

from netra_apex.core.messages import Attachment, ModelMessage
from netra_apex.errors import Invalid

Verdict = Literal["approve", "reject"]
IfBusy = Literal["enqueue", "reject", "interrupt", "steer"]
Order = Literal["asc", "desc"]
T = TypeVar("T")
MAX_CONTENT = 100_000  # code points of one message; a socket's frame is bounded in bytes before
MAX_NOTE = 2_000  # of what a person remarks on a decision
MAX_ANSWER = 10_000  # of an answer to a question: within what a tool may give, and a socket's frame
MAX_KEY = 200
MAX_FILES = 20  # of one message


@dataclass(frozen=True, kw_only=True, slots=True)
class Thread:
    """A conversation of one user."""

    thread_id: str
    user_id: str
    title: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message of a thread."""

    message_id: str
    run_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: datetime
    files: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """A user's message as it is sent: by socket and by HTTP alike.

    `thread_id` None begins a thread, `agent` None is the registry's default. `replace` names an earlier message of
    the user's in that thread: it and all that followed it give way to this one (edit and retry). `files` are the ids
    of files of that thread which come with the message. With `begins` a thread that the user does not have is begun
    under the id that is named: only for ids that are made here, of nothing that another user could have.

    `before` is what was said before a new thread, elsewhere; a thread that is there is never given any.
    `follows` is the run that must be the thread's last one, for a post that goes on from that one alone.
    """

    content: str
    thread_id: str | None = None
    agent: str | None = None
    replace: str | None = None
    if_busy: IfBusy = "enqueue"
    idempotency_key: str | None = None
    files: tuple[str, ...] = ()
    before: tuple[ModelMessage, ...] = ()
    follows: str | None = None
    begins: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The answer to a post. `repeated` tells that the same idempotency key had been accepted before."""

    thread_id: str
    run_id: str
    message_id: str
    status: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """An accepted post with what was said in its thread before it, as that stood in the same moment.

    `started`: it is this process's to carry out, now. `queued` is the event that it waits, which is stored, as JSON.
    `steers`: it made no run, but is for the one that its thread has. `files` are those that came with it.
    """

    accepted: Accepted
    history: tuple[ModelMessage, ...] = ()
    started: bool = False
    queued: str | None = None
    steers: bool = False
    files: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A call that waits, or waited, for its user's word. `arguments` is JSON, redacted; `decision` None while open.

    `again`: it was begun before and nobody saw how it ended.
    """

    approval_id: str
    run_id: str
    thread_id: str
    call_id: str
    tool: str
    arguments: str
    requested_at: datetime
    expires_at: datetime
    again: bool = False
    decision: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A call that waits, or waited, for its user's answer. `text` is redacted."""

    question_id: str
    run_id: str
    thread_id: str
    call_id: str
    text: str
    asked_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next_cursor` is None on the last."""

    items: tuple[T, ...]
    next_cursor: str | None = None


def check_text(name: str, text: str, *, limit: int) -> str:
    """The text, if it can be stored and shown: not blank, within `limit` code points, no NUL, no lone surrogate.

    Raises:
        Invalid: naming the field and what is wrong with it.
    """
    if not text.strip():
        raise Invalid(f"{name} is empty")
    if len(text) > limit:
        raise Invalid(f"{name} has {len(text)} characters; {limit} is the most")
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Invalid(f"{name} has a character that is no text (NUL or a lone surrogate)")
    return text


def check_post(post: Post) -> Post:
    """The post, if every text in it is one.

    Raises:
        Invalid: naming the field and what is wrong with it.
    """
    check_text("content", post.content, limit=MAX_CONTENT)
    for name in ("thread_id", "agent", "replace", "idempotency_key"):
        value: str | None = getattr(post, name)
        if value is not None:
            check_text(name, value, limit=MAX_KEY)
    for file_id in post.files:
        check_text("a file's id", file_id, limit=MAX_KEY)
    if len(post.files) > MAX_FILES:
        raise Invalid(f"files has {len(post.files)}; {MAX_FILES} is the most for one message")
    if post.files and post.thread_id is None:
        raise Invalid("files are a thread's: thread_id is missing")
    if post.replace is not None and post.thread_id is None:
        raise Invalid("replace names a message of a thread: thread_id is missing")
    if post.before and post.thread_id is not None:
        raise Invalid("what was said before begins a new thread: a thread that is there has its own history")
    return post
