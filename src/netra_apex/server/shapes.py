"""The JSON of requests and answers (docs/reference/http.md)."""

import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic_core import from_json

from netra_apex.core.accounts import MAX_PASSWORD, User
from netra_apex.core.belongings import StoredFile
from netra_apex.core.conversations import (
    MAX_ANSWER,
    MAX_CONTENT,
    MAX_FILES,
    MAX_KEY,
    MAX_NOTE,
    Approval,
    IfBusy,
    Message,
    Page,
    Post,
    Question,
    Thread,
    Verdict,
)
from netra_apex.core.messages import Attachment
from netra_apex.core.runs import Run, RunStatus

MAX_TITLE = 200
MAX_NAME = 256
T = TypeVar("T")
S = TypeVar("S")


def check_line(line: str) -> str:
    """A title or a name. Raises: ValueError: it has control characters in it, line ends included."""
    if any(unicodedata.category(character) == "Cc" for character in line):
        raise ValueError("it has control characters in it")
    return line


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime, PlainSerializer(_rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
Content = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT)]  # the rest is `check_post`'s
Title = Annotated[str, Field(max_length=MAX_TITLE), AfterValidator(check_line)]
Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(check_line)]
Password = Annotated[str, Field(max_length=MAX_PASSWORD, json_schema_extra={"format": "password"})]


class RequestBody(BaseModel):
    """What a client sends."""

    # Unknown fields are refused: a misspelled `if_busy` must not be taken for the default.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Credentials(RequestBody):
    """What a login sends."""

    username: Name
    password: Password


class FirstAdmin(RequestBody):
    """What the set-up page sends."""

    token: Annotated[str, Field(max_length=MAX_KEY)]
    username: Name
    password: Password


class NewThread(RequestBody):
    """What begins a thread."""

    title: Title | None = None


class ThreadChange(RequestBody):
    """What changes a thread."""

    title: Title


class NewRun(RequestBody):
    """A message for a thread, and how to run it."""

    content: Content
    agent: Key | None = None
    replace: Key | None = Field(None, description="An earlier message of yours that this one takes the place of")
    if_busy: IfBusy = "enqueue"
    idempotency_key: Key | None = None
    files: Annotated[list[Key], Field(max_length=MAX_FILES)] = Field(
        [], description="Ids of files of this thread that come with the message"
    )

    def post(self, thread_id: str) -> Post:
        """The message as the core knows it."""
        return Post(
            content=self.content,
            thread_id=thread_id,
            agent=self.agent,
            replace=self.replace,
            if_busy=self.if_busy,
            idempotency_key=self.idempotency_key,
            files=tuple(self.files),
        )


class DecisionBody(RequestBody):
    """What a person decides on a call."""

    decision: Verdict
    note: Annotated[str, Field(max_length=MAX_NOTE)] | None = None


class ApprovalShape(BaseModel):
    """A call that waits for its user's word. `arguments` are as the run told them; `decision` is null while open.

    `again`: the call was begun before and nobody saw how it ended, so that it may have been made already.
    """

    approval_id: str
    run_id: str
    thread_id: str
    call_id: str
    tool: str
    arguments: Any
    requested_at: Instant
    expires_at: Instant
    again: bool
    decision: str | None

    @classmethod
    def of(cls, approval: Approval) -> Self:
        """From a stored approval."""
        return cls(
            approval_id=approval.approval_id,
            run_id=approval.run_id,
            thread_id=approval.thread_id,
            call_id=approval.call_id,
            tool=approval.tool,
            arguments=from_json(approval.arguments),
            requested_at=approval.requested_at,
            expires_at=approval.expires_at,
            again=approval.again,
            decision=approval.decision,
        )


class AnswerBody(RequestBody):
    """What a person answers to a question."""

    content: Annotated[str, Field(min_length=1, max_length=MAX_ANSWER)]


class QuestionShape(BaseModel):
    """A question that waits for its user's answer, as its run asked it."""

    question_id: str
    run_id: str
    thread_id: str
    call_id: str
    text: str
    asked_at: Instant
    expires_at: Instant

    @classmethod
    def of(cls, question: Question) -> Self:
        """From a stored question."""
        return cls(
            question_id=question.question_id,
            run_id=question.run_id,
            thread_id=question.thread_id,
            call_id=question.call_id,
            text=question.text,
            asked_at=question.asked_at,
            expires_at=question.expires_at,
        )


class McpCredential(RequestBody):
    """What a user's credential for an MCP server is: as it is sent, without `Bearer`."""

    token: Annotated[
        str,
        Field(min_length=8, max_length=8192, pattern="^[!-~]+$", json_schema_extra={"format": "password"}),
    ]


class McpAuthorization(BaseModel):
    """Where a user is to go, to authorise this application with an MCP server."""

    authorization_url: str


class McpServerShape(BaseModel):
    """An MCP server; `connected` where a call needs nothing more of this user."""

    name: str
    credential: Literal["none", "user"]
    connected: bool


class McpServers(BaseModel):
    """All MCP servers that a user may use."""

    items: list[McpServerShape]


class UserShape(BaseModel):
    """Who somebody is. The name is the id."""

    user_id: str
    username: str
    permissions: list[str]
    created_at: Instant

    @classmethod
    def of(cls, user: User) -> Self:
        """From an account."""
        return cls(
            user_id=user.user_id,
            username=user.user_id,
            permissions=sorted(user.permissions),
            created_at=user.created_at,
        )


class TokenShape(BaseModel):
    """What a login, or its renewal, answers."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name, RFC 6750
    expires_in: int = Field(description="Seconds")
    user: UserShape


class CreatedUser(BaseModel):
    """What set-up answers."""

    user: UserShape


class AgentShape(BaseModel):
    """An agent that may be run."""

    name: str
    description: str


class RunShape(BaseModel):
    """A run."""

    run_id: str
    thread_id: str
    message_id: str
    agent: str
    status: RunStatus
    last_seq: int
    created_at: Instant
    ended_at: Instant | None

    @classmethod
    def of(cls, run: Run) -> Self:
        """From a stored run."""
        return cls(
            run_id=run.run_id,
            thread_id=run.thread_id,
            message_id=run.message_id,
            agent=run.agent,
            status=run.status,
            last_seq=run.last_seq,
            created_at=run.created_at,
            ended_at=run.ended_at,
        )


class AcceptedShape(BaseModel):
    """A message that was accepted."""

    run_id: str
    thread_id: str
    message_id: str
    status: str


class ThreadShape(BaseModel):
    """A thread."""

    thread_id: str
    title: str
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, thread: Thread) -> Self:
        """From a stored thread."""
        return cls(
            thread_id=thread.thread_id,
            title=thread.title,
            created_at=thread.created_at,
            updated_at=thread.updated_at,
        )


class OpenThread(ThreadShape):
    """A thread with its unfinished runs, so that a client knows what to follow and from where."""

    runs: list[RunShape]


class UploadedShape(BaseModel):
    """A file that was uploaded, or that came with a message."""

    file_id: str
    name: str
    size: int = Field(description="Bytes")

    @classmethod
    def of(cls, file: StoredFile | Attachment) -> Self:
        """From a stored file, or from a message's."""
        return cls(file_id=file.file_id, name=file.name, size=file.size)


class FileShape(UploadedShape):
    """A file of a thread."""

    thread_id: str
    media_type: str
    created_at: Instant

    @classmethod
    def of_stored(cls, file: StoredFile) -> Self:
        """From a stored file."""
        return cls(
            file_id=file.file_id,
            name=file.name,
            size=file.size,
            thread_id=file.thread_id,
            media_type=file.media_type,
            created_at=file.created_at,
        )


class MessageShape(BaseModel):
    """A message."""

    message_id: str
    run_id: str
    role: Literal["user", "assistant"]
    content: str
    created_at: Instant
    files: list[UploadedShape] = Field(description="Those that came with it; one of them may be gone by now")

    @classmethod
    def of(cls, message: Message) -> Self:
        """From a stored message."""
        return cls(
            message_id=message.message_id,
            run_id=message.run_id,
            role=message.role,
            content=message.content,
            created_at=message.created_at,
            files=[UploadedShape.of(file) for file in message.files],
        )


class Listing(BaseModel, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = None

    @classmethod
    def of(cls, page: Page[S], shape: Callable[[S], T]) -> Self:
        """From a page of the store."""
        return cls(items=_each(page.items, shape), next_cursor=page.next_cursor)


def _each(items: Iterable[S], shape: Callable[[S], T]) -> list[T]:
    return [shape(item) for item in items]
