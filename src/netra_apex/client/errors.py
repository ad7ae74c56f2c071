"""What a client can meet, as one tree below `NetraError`.

ClientError
├── ServerUnreachable   nothing answers at this address, or something that is no netra server
├── RequestRefused      the server said no, with a code (docs/reference/errors.md)
├── ConnectionRefused   the server closed the socket with a code after which coming back is of no use
├── ConnectionLost      the socket was lost, and it did not come back in the time that the caller gave
├── ConnectionOver      the connection was used after its `async with`
├── StreamBroken        a run's events had a gap, a duplicate, or something after the ending
└── UnreadableFrame     what came is not what the contract says
"""

from netra_apex.errors import NetraError

_REASONS = {
    1000: "the server closed it",
    1001: "the server stops or restarts",
    1006: "it went away without a word",
    1011: "the server had an internal error",
    1012: "the server restarts",
    1013: "the server asks to come back later",
    1003: "the server takes text frames only",
    1007: "a frame was not UTF-8",
    1009: "a frame was far over the server's limit",
    4401: "the login is no longer valid",
    4408: "it was silent for too long",
    4403: "this origin is not allowed",
    4409: "this user has too many connections",
    4413: "a frame was over the server's limit",
    4429: "too many frames in too short a time",
}


def reason_of(close_code: int) -> str:
    """What a close code says, for a person."""
    return _REASONS.get(close_code, f"it was closed with {close_code}")


class ClientError(NetraError):
    """Anything that keeps a client from its answer."""


class ServerUnreachable(ClientError):
    """Nothing answers at `url`, or something that does not speak the contract. Trying again may help."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"no server answers at {self.url}: {self.reason}"


class RequestRefused(ClientError):
    """The server refused: `code` is one of docs/reference/errors.md, `status` the HTTP status, None on the socket."""

    def __init__(self, code: str, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether it is the moment that is refused, not the request: the server drains, is flooded or fails."""
        return self.code in ("draining", "flood") or (self.status is not None and self.status >= 500)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class ConnectionRefused(ClientError):
    """The socket was closed with a code (docs/reference/socket.md) that says: the same again will end the same."""

    def __init__(self, close_code: int, reason: str = "") -> None:
        super().__init__(close_code, reason)
        self.close_code = close_code
        self.reason = reason or reason_of(close_code)

    def __str__(self) -> str:
        return f"the server closed the connection with {self.close_code}: {self.reason}"


class ConnectionLost(ClientError):
    """The socket was lost and did not come back for `seconds`; `reason` is what the last attempt met."""

    def __init__(self, url: str, seconds: float, reason: str) -> None:
        super().__init__(url, seconds, reason)
        self.url = url
        self.seconds = seconds
        self.reason = reason

    def __str__(self) -> str:
        return f"the connection to {self.url} was lost and did not come back within {self.seconds:g} s: {self.reason}"


class ConnectionOver(ClientError):
    """The connection was used after it had been left."""

    def __str__(self) -> str:
        return "the connection has been closed"


class StreamBroken(ClientError):
    """A run's stream is not what G2 and G3 promise.

    `expected` is the `seq` that had to come, None after the ending; `got` is the one that came, None for a passing
    frame; `told` is the type of the frame.
    """

    def __init__(self, run_id: str, expected: int | None, got: int | None, told: str) -> None:
        super().__init__(run_id, expected, got, told)
        self.run_id = run_id
        self.expected = expected
        self.got = got
        self.told = told

    def __str__(self) -> str:
        came = self.told if self.got is None else f"{self.told} with seq {self.got}"
        if self.expected is None:
            return f"run {self.run_id} had ended, and then came {came}"
        return f"run {self.run_id} told {came} where seq {self.expected} was expected"


class UnreadableFrame(ClientError):
    """A frame or an answer that is not what the contract says it is; `reason` names the field."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"the server sent {self.kind} that is not what the contract says: {self.reason}"
