"""What crosses between the server and a call's own process, and how: each way one message, with its length before it.

What comes back is data and no more: a tool that has been turned against its server cannot make it run anything. Its
size is known before it is read.
"""

import struct

import msgspec

from netra_apex.tools.reach import Place

_SIZE = struct.Struct("!Q")
HEAD = _SIZE.size


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A call: the tool's place and its name there, and its arguments, pickled.

    Why pickled: so they are exactly what the tool's validator made of them; as JSON a `SecretStr` is asterisks. This
    way is from the server to its tool, which runs the application's code all the same.
    """

    place: Place
    name: str
    arguments: bytes
    memory_bytes: int


class Gave(msgspec.Struct, frozen=True, tag=True):
    """The function's value, as JSON."""

    value: bytes


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It raised `CallFailed`, or its value is no JSON."""

    code: str
    message: str


class Broke(msgspec.Struct, frozen=True, tag=True):
    """It raised something else: its type and message, and its traceback for the log."""

    said: str
    traceback: str


Reply = Gave | Refused | Broke


# Made once: a call's process, which has all that was made before its fork, would otherwise make them each time.
_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS = msgspec.msgpack.Decoder(Request)
_REPLIES = msgspec.msgpack.Decoder[Reply](Reply)


def packed(message: Request | Reply) -> bytes:
    """The message with its length."""
    body = _ENCODER.encode(message)
    return _SIZE.pack(len(body)) + body


def size_of(head: bytes) -> int:
    """The length that stands before a message."""
    return _SIZE.unpack(head)[0]


def reply_of(body: bytes) -> Reply:
    """The reply that came.

    Raises:
        ValueError: it is none.
    """
    return _REPLIES.decode(body)


def request_of(body: bytes) -> Request:
    """The call that came."""
    return _REQUESTS.decode(body)
