"""What the server sends over a socket (docs/reference/socket.md), read into typed values."""

from typing import Any, cast

import msgspec

from netra_apex.client.errors import UnreadableFrame
from netra_apex.core.events import DurableEvent, PassingFrame


class ConnectionEstablished(msgspec.Struct, frozen=True, tag_field="type", tag="connection_established"):
    """The first frame of a connection: who the server takes us for."""

    protocol: str
    connection_id: str
    user_id: str
    heartbeat_s: float
    limits: dict[str, Any]


class MessageAccepted(msgspec.Struct, frozen=True, tag_field="type", tag="message_accepted"):
    """A message became a run, which this connection follows from its first event."""

    id: str | None
    thread_id: str
    run_id: str
    message_id: str


class Ok(msgspec.Struct, frozen=True, tag_field="type", tag="ok"):
    """A frame was carried out."""

    id: str | None = None


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """The answer to a `ping` frame."""

    id: str | None = None


class ErrorFrame(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """A frame was refused; the connection lives on."""

    code: str
    message: str
    id: str | None = None


class OtherEvent(msgspec.Struct, frozen=True):
    """A durable event of a kind that this client does not know, from a newer server: counted and passed on."""

    kind: str
    seq: int
    run_id: str
    agent: str
    depth: int
    body: dict[str, Any]


Event = DurableEvent | OtherEvent
Answer = ConnectionEstablished | MessageAccepted | Ok | Pong | ErrorFrame
ServerFrame = Answer | Event | PassingFrame

_decoder: "msgspec.json.Decoder[Answer | DurableEvent | PassingFrame]" = msgspec.json.Decoder(
    Answer | DurableEvent | PassingFrame
)


class _Head(msgspec.Struct, frozen=True):
    type: str
    run_id: str = ""
    seq: int | None = None
    agent: str = ""
    depth: int = 0


_heads = msgspec.json.Decoder(_Head)
_KNOWN = frozenset(
    str(kind.__struct_config__.tag) for kind in (*Answer.__args__, *DurableEvent.__args__, *PassingFrame.__args__)
)


def read(text: str | bytes) -> ServerFrame | None:
    """The frame in `text`; None for a passing frame of a kind that this client does not know.

    A newer server may tell events that are unknown here, and may add fields: neither may break a stream.

    Raises:
        UnreadableFrame: it is no JSON object with a type, or a known frame with a field missing or of a wrong type.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        return _other(text, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableFrame("a frame", str(error)) from error


def kind_of(frame: Event | PassingFrame) -> str:
    """The `type` of a frame, as it stands on the wire."""
    return frame.kind if isinstance(frame, OtherEvent) else str(frame.__struct_config__.tag)


def _other(text: str | bytes, reason: str) -> OtherEvent | None:
    try:
        head = _heads.decode(text)
    except msgspec.ValidationError as error:
        raise UnreadableFrame("a frame", str(error)) from error
    if head.type in _KNOWN:
        raise UnreadableFrame(head.type, reason)
    if head.seq is None:
        return None
    body = cast("dict[str, Any]", msgspec.json.decode(text))
    return OtherEvent(head.type, head.seq, head.run_id, head.agent, head.depth, body)
