"""`LiveRun`: a run as its consumer sees it, an asynchronous iterator that ends with the run."""

import asyncio
from typing import Self

import msgspec

from netra_apex.client.errors import ClientError, ConnectionOver, StreamBroken
from netra_apex.client.following import Following
from netra_apex.client.frames import Event
from netra_apex.core.events import Ending, PassingFrame


class Reconnecting(msgspec.Struct, frozen=True):
    """A notice: the socket was lost, for `reason`, and the client is on its way back."""

    reason: str


class Reconnected(msgspec.Struct, frozen=True):
    """A notice: the socket is back after `seconds`; the run goes on where it was, with nothing missing."""

    seconds: float


Notice = Reconnecting | Reconnected
Frame = Event | PassingFrame | Notice


class LiveRun:
    """A run that is followed: `async for frame in run` gives each event once, in order, until the run has ended.

    `message_id` is the user's message that it answers, where this connection sent it. Iterating raises the
    `ClientError` that ended the connection, or `StreamBroken` where the server broke the stream.
    """

    def __init__(self, following: Following, *, thread_id: str | None = None, message_id: str | None = None) -> None:
        self.run_id = following.run_id
        self.thread_id = thread_id
        self.message_id = message_id
        self.following = following
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._error: ClientError | None = None
        self._broken = asyncio.Event()

    @property
    def last_seq(self) -> int:
        """The last durable event that arrived."""
        return self.following.last_seq

    @property
    def ending(self) -> Ending | None:
        """How the run ended; None while it goes on."""
        return self.following.ending

    @property
    def faults(self) -> tuple[str, ...]:
        """What was wrong with the passing frames: sentences; empty from a server that keeps the contract."""
        return tuple(self.following.faults)

    def text(self, message_id: str) -> str:
        """An answer's text as far as it is known."""
        return self.following.text(message_id)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        if self._frames.empty() and (self._error is not None or self.ending is not None):
            return self._stop()
        frame = await self._frames.get()
        return self._stop() if frame is None else frame

    async def ended(self) -> Ending:
        """Reads on to the end, and gives it.

        Raises:
            ClientError: the connection or the stream ended before the run.
        """
        async for _ in self:
            pass
        if self.ending is None:
            raise ConnectionOver
        return self.ending

    async def quiet(self, seconds: float) -> None:
        """Waits that long after the ending, since nothing may follow it.

        Raises:
            StreamBroken: something did.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._broken.wait()
        except TimeoutError:
            return
        assert self._error is not None
        raise self._error

    def told(self, frame: Event | PassingFrame) -> None:
        """What the connection calls with each frame of the run."""
        try:
            for fresh in self.following.take(frame):
                self._frames.put_nowait(fresh)
        except StreamBroken as error:
            self.failed(error)

    def noticed(self, notice: Notice) -> None:
        """What the connection calls when it was lost and when it is back."""
        self._frames.put_nowait(notice)

    def failed(self, error: ClientError) -> None:
        """Ends the iteration with an error, once what came before it has been read; the first one stays."""
        if self._error is None:
            self._error = error
            self._broken.set()
            self._frames.put_nowait(None)

    @property
    def active(self) -> bool:
        """Whether more is to come."""
        return self.ending is None and self._error is None

    def _stop(self) -> Frame:
        # What came after the ending is `quiet`'s to tell: who iterates has had the whole run.
        if self.ending is None and self._error is not None:
            raise self._error
        raise StopAsyncIteration
