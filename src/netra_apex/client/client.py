"""`Client`: a user's side of a netra server."""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from netra_apex.client.connection import Connection
from netra_apex.client.errors import UnreadableFrame
from netra_apex.client.frames import Event, OtherEvent, read
from netra_apex.client.http import Api, read_as
from netra_apex.client.live import Notice
from netra_apex.client.values import (
    AgentInfo,
    ApprovalInfo,
    EventPage,
    FileInfo,
    Listing,
    Login,
    MessageInfo,
    OpenThread,
    QuestionInfo,
    RunInfo,
    ThreadInfo,
    UsageInfo,
)
from netra_apex.core.conversations import Order
from netra_apex.core.events import DurableEvent
from netra_apex.core.files import file_name


class Client:
    """One user at one server: logs in, reads, and opens connections that follow runs.

        async with Client("http://127.0.0.1:8000") as client:
            await client.login("ada", password)
            async with client.connect() as connection:
                run = await connection.send("What time is it?")
                async for frame in run:
                    ...

    `timeout` bounds each request and answer, in seconds. Every method raises `RequestRefused` where the server says
    no, `ServerUnreachable` where none answers, and `UnreadableFrame` where the answer is not the contract's.
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self._api = Api(url, timeout=timeout)

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.__aexit__()

    async def login(self, username: str, password: str) -> Login:
        """Logs in; the tokens are kept and renewed here, the password is not kept."""
        return await self._api.login(username, password)

    async def reach(self) -> None:
        """Returns once something answers at the address, so that one need not ask for a password in vain."""
        await self._api.reach()

    async def logout(self) -> None:
        """Ends the session with its tokens and sockets."""
        await self._api.logout()

    @asynccontextmanager
    async def connect(
        self, *, patience: float = 60.0, notices: bool = False, idle: Callable[[Notice], None] | None = None
    ) -> AsyncGenerator[Connection]:
        """A connection that comes back by itself for as long as `patience` (seconds without a socket) lasts.

        With `notices`, the runs also tell that the socket was lost and is back; `idle` is told while none is under way.

        Raises:
            ConnectionLost: there was no socket for that long.
            ConnectionRefused, RequestRefused: the server will not have this user or client.
        """
        connection = Connection(self._api, patience=patience, notices=notices, idle=idle)
        serving = asyncio.create_task(connection.line.serve(), name="netra connection")
        try:
            await connection.established()
            yield connection
        finally:
            serving.cancel()
            await asyncio.wait({serving})
            if not serving.cancelled():
                serving.result()

    async def agents(self) -> tuple[AgentInfo, ...]:
        """The agents that this user may run."""
        body = await self._api.call("GET", "/api/agents")
        return read_as(Listing[AgentInfo], body, "a list of agents").items

    async def threads(self, *, limit: int = 50, cursor: str | None = None) -> Listing[ThreadInfo]:
        """A page of this user's conversations, the latest first."""
        body = await self._api.call("GET", "/api/threads", params=_page(limit, cursor))
        return read_as(Listing[ThreadInfo], body, "a list of threads")

    async def thread(self, thread_id: str) -> OpenThread:
        """A conversation, with the runs in it that have not ended."""
        return read_as(OpenThread, await self._api.call("GET", f"/api/threads/{_part(thread_id)}"), "a thread")

    async def messages(
        self, thread_id: str, *, limit: int = 50, cursor: str | None = None, order: Order = "asc"
    ) -> Listing[MessageInfo]:
        """A page of a conversation, the oldest first; `order="desc"`: the newest first."""
        params = _page(limit, cursor) | {"order": order}
        body = await self._api.call("GET", f"/api/threads/{_part(thread_id)}/messages", params=params)
        return read_as(Listing[MessageInfo], body, "a list of messages")

    async def new_thread(self, title: str = "") -> ThreadInfo:
        """Begins a conversation; without a title it gets one from its first message."""
        body = await self._api.call("POST", "/api/threads", json={"title": title} if title else {})
        return read_as(ThreadInfo, body, "a thread")

    async def upload(self, thread_id: str, file: Path | bytes, name: str | None = None) -> FileInfo:
        """Adds a file to a conversation: one of this machine's, read as it is sent, or these bytes under this name.

        Raises:
            OSError: it cannot be read.
            Invalid: there is nothing that it could be called.
        """
        called = file_name(name or (file.name if isinstance(file, Path) else ""))
        size = await asyncio.to_thread(_size, file)
        body = await self._api.upload(f"/api/threads/{_part(thread_id)}/files", partial(_opened, file), called, size)
        return read_as(FileInfo, body, "a file")

    async def files(self, thread_id: str, *, limit: int = 50, cursor: str | None = None) -> Listing[FileInfo]:
        """A page of a conversation's files, the oldest first."""
        body = await self._api.call("GET", f"/api/threads/{_part(thread_id)}/files", params=_page(limit, cursor))
        return read_as(Listing[FileInfo], body, "a list of files")

    async def run(self, run_id: str) -> RunInfo:
        """Where a run stands."""
        return read_as(RunInfo, await self._api.call("GET", f"/api/runs/{_part(run_id)}"), "a run")

    async def cancel(self, run_id: str) -> None:
        """Cancels a run."""
        await self._api.call("POST", f"/api/runs/{_part(run_id)}/cancel")

    async def approvals(self, *, limit: int = 50, cursor: str | None = None) -> Listing[ApprovalInfo]:
        """A page of the calls that wait for this user's decision, the oldest first; `Connection.decide` decides."""
        body = await self._api.call("GET", "/api/approvals", params=_page(limit, cursor))
        return read_as(Listing[ApprovalInfo], body, "a list of approvals")

    async def questions(self, *, limit: int = 50, cursor: str | None = None) -> Listing[QuestionInfo]:
        """A page of the questions that wait for this user's answer, the oldest first; `Connection.answer` answers."""
        body = await self._api.call("GET", "/api/questions", params=_page(limit, cursor))
        return read_as(Listing[QuestionInfo], body, "a list of questions")

    async def usage(self) -> UsageInfo:
        """What this user has used of models today, and what is left."""
        return read_as(UsageInfo, await self._api.call("GET", "/api/me/usage"), "a day's usage")

    async def events(self, run_id: str, *, after: int = 0) -> tuple[Event, ...]:
        """All events of a run after `after`, as they are stored."""
        events: list[Event] = []
        while True:
            params = {"after": str(after)}
            body = await self._api.call("GET", f"/api/runs/{_part(run_id)}/events", params=params)
            page = read_as(EventPage, body, "a list of events")
            events += [_event(bytes(raw)) for raw in page.events]
            if not page.events or events[-1].seq >= page.last_seq:
                return tuple(events)
            after = events[-1].seq


def _size(file: Path | bytes) -> int:
    """How many bytes a file has, if it can be read."""
    if isinstance(file, bytes):
        return len(file)
    with file.open("rb") as opened:
        return opened.seek(0, io.SEEK_END)


def _opened(file: Path | bytes) -> BinaryIO:
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")


def _page(limit: int, cursor: str | None) -> dict[str, str]:
    return {"limit": str(limit)} | ({"cursor": cursor} if cursor is not None else {})


def _part(ident: str) -> str:
    """An id as one part of a path, whatever somebody typed."""
    return quote(ident, safe="")


def _event(text: bytes) -> Event:
    event = read(text)
    if not isinstance(event, DurableEvent | OtherEvent):
        raise UnreadableFrame("an event", "it has no seq")
    return event
