"""The socket's protocol `netra.v1` as values: a client's frame in, a typed frame or a refusal out. No I/O.

Source: docs/reference/socket.md. A frame is checked whole before anything is done with it: unknown fields are
refused, since a misspelt option that is ignored is a surprise.
"""

from enum import IntEnum
from typing import Annotated, Any, cast

import msgspec

from netra_apex.core.conversations import IfBusy, Post, Verdict
from netra_apex.errors import Invalid, Refused, UnknownType

PROTOCOL = "netra.v1"
MAX_ID = 200
Number = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]  # what every JSON reader holds exactly
Ident = Annotated[str, msgspec.Meta(max_length=MAX_ID)] | Number


class Close(IntEnum):
    """Why the server closes a socket."""

    COME_BACK = 1001
    BINARY = 1003
    NOT_UTF8 = 1007
    BUG = 1011
    UNAUTHENTICATED = 4401
    ORIGIN = 4403
    TIMED_OUT = 4408
    TOO_MANY = 4409
    TOO_LARGE = 4413
    FLOOD = 4429


class _Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    id: Ident | None = None


class Authenticate(_Frame, frozen=True, kw_only=True, tag="authenticate"):
    """An access token, as the first frame or to go on with a new one."""

    token: str


class UserMessage(_Frame, frozen=True, kw_only=True, tag="user_message"):
    """What the person says."""

    content: str
    thread_id: str | None = None
    agent: str | None = None
    replace: str | None = None
    if_busy: IfBusy = "enqueue"
    idempotency_key: str | None = None
    files: tuple[str, ...] = ()

    @property
    def post(self) -> Post:
        """The message as admission takes it."""
        return Post(
            content=self.content,
            thread_id=self.thread_id,
            agent=self.agent,
            replace=self.replace,
            if_busy=self.if_busy,
            idempotency_key=self.idempotency_key,
            files=self.files,
        )


class Subscribe(_Frame, frozen=True, kw_only=True, tag="subscribe"):
    """Follow a run after a seq, or a thread after a seq for each run that is named."""

    run_id: str | None = None
    thread_id: str | None = None
    after: Number | dict[str, Number] | None = None

    @property
    def after_run(self) -> int:
        """`after` of a run: 0 where it was left out."""
        return self.after if isinstance(self.after, int) else 0

    @property
    def after_runs(self) -> dict[str, int]:
        """`after` of a thread: by run."""
        return self.after if isinstance(self.after, dict) else {}


class Unsubscribe(_Frame, frozen=True, kw_only=True, tag="unsubscribe"):
    """Follow a run, or a thread, no more."""

    run_id: str | None = None
    thread_id: str | None = None


class Cancel(_Frame, frozen=True, kw_only=True, tag="cancel"):
    """Stop a run."""

    run_id: str


class Decide(_Frame, frozen=True, kw_only=True, tag="decide"):
    """Approve a call that waits, or reject it."""

    approval_id: str
    decision: Verdict
    note: str | None = None


class Answer(_Frame, frozen=True, kw_only=True, tag="answer"):
    """What the person answers to a question."""

    question_id: str
    content: str


class Ping(_Frame, frozen=True, kw_only=True, tag="ping"):
    """Is anybody there?"""


class _Identified(msgspec.Struct, frozen=True):
    id: Ident | None = None


ClientFrame = Authenticate | UserMessage | Subscribe | Unsubscribe | Cancel | Decide | Answer | Ping
TYPES = frozenset({"authenticate", "user_message", "subscribe", "unsubscribe", "cancel", "decide", "answer", "ping"})

_decoder: "msgspec.json.Decoder[ClientFrame]" = msgspec.json.Decoder(ClientFrame)
_identified = msgspec.json.Decoder(_Identified)
_encoder = msgspec.json.Encoder()


def read_frame(text: str) -> ClientFrame:
    """The client's frame.

    Raises:
        Invalid: it is no JSON object, a field is missing, unknown or of another type, or fields contradict each other.
        UnknownType: its type is none that the server knows.
    """
    try:
        frame = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise _why(text, error) from error
    match frame:
        case Subscribe() | Unsubscribe() if (frame.run_id is None) == (frame.thread_id is None):
            raise Invalid("name either run_id or thread_id")
        case Subscribe(run_id=str(), after=dict()):
            raise Invalid("after of a run is a number")
        case Subscribe(thread_id=str(), after=int()):
            raise Invalid("after of a thread is an object: a number for each run_id")
        case Subscribe() if any(seq < 0 for seq in (frame.after_run, *frame.after_runs.values())):
            raise Invalid("after is not below 0")
        case _:
            return frame


def id_of(text: str) -> Ident | None:
    """The id of a frame that was refused, where it has one that can be echoed."""
    try:
        return _identified.decode(text).id
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None


def write(kind: str, ident: Ident | None = None, **fields: Any) -> str:
    """A frame of the server's own: an answer, with the id of what it answers, or the first frame."""
    frame: dict[str, Any] = {"type": kind}
    if ident is not None:
        frame["id"] = ident
    return _encoder.encode(frame | fields).decode()


def write_refusal(refusal: Refused, ident: Ident | None) -> str:
    """The answer to a frame that is refused; its `id` is null where the frame had none."""
    return _encoder.encode({"type": "error", "id": ident, "code": refusal.code, "message": str(refusal)}).decode()


def _why(text: str, error: Exception) -> Refused:
    try:
        frame: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as broken:
        return Invalid(f"the frame is no JSON: {broken}")
    except RecursionError:
        return Invalid("the frame is nested too deep")
    if not isinstance(frame, dict):
        return Invalid("a frame is a JSON object")
    kind = cast("dict[str, Any]", frame).get("type")
    if not isinstance(kind, str):
        return Invalid("a frame has a type, which is a string")
    if kind not in TYPES:
        return UnknownType(f"there is no frame of type {kind[:64]!r}; there are {', '.join(sorted(TYPES))}")
    return Invalid(f"{kind}: {error}")
