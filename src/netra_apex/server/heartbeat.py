"""uvicorn's WebSocket protocol with our close codes, and an end that does not wait for the peer.

Source of the codes: docs/reference/socket.md.
"""

import asyncio
from typing import Any, ClassVar

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from netra_apex.core.buckets import TokenBucket
from netra_apex.settings import Settings

HEARTBEAT_MISSED = 4408
FLOOD = 4429
NOT_UTF8 = 1007
# After a close frame, how long a peer that takes nothing keeps its socket. uvicorn waits until the peer has read all
# that was written, which one that has stopped reading never does.
ABORT_SECONDS = 5.0


def protocol(settings: Settings) -> type["HeartbeatProtocol"]:
    """The protocol class with the limits that are set (uvicorn constructs it and passes on nothing of ours)."""

    class Limited(HeartbeatProtocol):
        pings_per_minute = settings.frames_per_minute
        pings_burst = settings.frames_burst

    return Limited


class HeartbeatProtocol(WebSocketsSansIOProtocol):
    """What is replaced, and why, stands at each method; everything else is uvicorn's."""

    pings_per_minute: ClassVar[int] = 60
    pings_burst: ClassVar[int] = 30

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._abort_timer: asyncio.TimerHandle | None = None
        self._closed_here = False
        self._pings = TokenBucket(burst=self.pings_burst, per_minute=self.pings_per_minute, now=self.loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn's, and the abort is off: there is nothing left to abort."""
        super().connection_lost(exc)
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None

    def keepalive_timeout(self) -> None:
        """uvicorn closes with 1011, which says that the server is broken; and tells the application too late."""
        self.pong_timer = None
        self.pending_ping_payload = None
        if not self.close_sent and not self.transport.is_closing():
            self._end(HEARTBEAT_MISSED, "no pong in time")

    def send_receive_event_to_app(self) -> None:
        """uvicorn logs a stack trace for text that is not UTF-8: anybody could fill the log."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self._end(NOT_UTF8, "text that is not UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """uvicorn's; from now on the peer has a few seconds."""
        super().handle_parser_exception()
        self._closed_here = True
        self._abort_soon()

    def handle_ping(self) -> None:
        """uvicorn answers any number, and gathers the answers for a peer that reads none of them.

        Pings are limited as frames are; while the peer does not read, they go unanswered.
        """
        if not self._pings.take(self.loop.time()) and not self.close_sent:
            self._end(FLOOD, "too many pings")
        elif self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    async def send(self, message: ASGISendEvent) -> None:
        """uvicorn's flow control and checks.

        A frame that the application sends while this class has just closed is not the application's error: it is
        told that the client is gone, as for any other lost connection.
        """
        try:
            await super().send(message)
        except RuntimeError:
            if self._closed_here:
                raise ClientDisconnected from None
            raise
        if message["type"] == "websocket.close":
            self._abort_soon()

    def _end(self, code: int, reason: str) -> None:
        self.stop_keepalive()
        self._closed_here = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        if self._abort_timer is None and not self.disconnected:
            self._abort_timer = self.loop.call_later(ABORT_SECONDS, self.transport.abort)
