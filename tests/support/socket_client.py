"""A user's side, written against the contract and nothing else: log in, HTTP, SSE, the socket."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from tests.support.raw_socket import RawSocket
from tests.support.server import PASSWORD, Server

Frame = dict[str, Any]
T = TypeVar("T")
WAIT = 15.0
ENDINGS = ("agent_completed", "agent_failed", "agent_cancelled")
_numbers = itertools.count(1)


class Closed(Exception):
    """The server closed the connection."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True)
class Login:
    """What a login gave."""

    name: str
    token: str
    cookies: Mapping[str, str]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Socket:
    """One connection. It reads when it is asked to, so a test decides what waits in it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.frames: list[Frame] = []
        self.texts: list[str] = []

    async def next(self, seconds: float = WAIT) -> Frame:
        """The next frame. Raises: Closed, TimeoutError."""
        message = await asyncio.wait_for(self.ws.receive(), seconds)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Closed(self.ws.close_code, str(message.extra or ""))
        frame = json.loads(message.data)
        assert isinstance(frame, dict)
        self.texts.append(message.data)
        self.frames.append(frame)
        return frame

    async def until(self, found: Callable[[Frame], object], seconds: float = WAIT) -> Frame:
        """The first frame that is what is looked for, of those that came and those that come."""
        for frame in self.frames:
            if found(frame):
                return frame
        async with asyncio.timeout(seconds):
            while not found(frame := await self.next(seconds)):
                pass
        return frame

    async def frame(self, kind: str, seconds: float = WAIT, **fields: Any) -> Frame:
        """The first frame of this type with these fields."""
        return await self.until(lambda frame: fields | {"type": kind} == {k: frame.get(k) for k in (*fields, "type")})

    async def send(self, kind: str, **fields: Any) -> None:
        """Sends a frame."""
        await self.ws.send_str(json.dumps({"type": kind} | fields))

    async def answer(self, kind: str, **fields: Any) -> Frame:
        """Sends a frame with an id of its own, and returns the answer to it."""
        ident = f"i{next(_numbers)}"
        await self.send(kind, id=ident, **fields)
        return await self.until(lambda frame: frame.get("id") == ident)

    async def ask(self, content: str, **fields: Any) -> Frame:
        """Sends a message, which must be accepted."""
        accepted = await self.answer("user_message", content=content, **fields)
        assert accepted["type"] == "message_accepted", accepted
        return accepted

    async def follow(self, *, seconds: float = WAIT, **fields: Any) -> None:
        """Subscribes, which must be answered with ok."""
        answer = await self.answer("subscribe", **fields)
        assert answer["type"] == "ok", answer

    async def ended(self, run_id: str, seconds: float = WAIT) -> Frame:
        """The run's ending, once this socket has been told it."""
        return await self.until(
            lambda frame: frame.get("run_id") == run_id and frame["type"] in ENDINGS and frame["depth"] == 0, seconds
        )

    async def settled(self) -> None:
        """Returns once everything that was on its way to this socket before has come.

        By a short run: a pong may overtake what runs tell, but runs are told in turn.
        """
        await self.ended((await self.ask("settled? [[chunks=1]]"))["run_id"])

    async def closed(self, seconds: float = WAIT) -> int | None:
        """Reads to the end, and returns the code that the server closed with."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.next(seconds)
        except Closed as closed:
            return closed.code

    def of(self, run_id: str) -> list[Frame]:
        """A run's frames."""
        return [frame for frame in self.frames if frame.get("run_id") == run_id and frame["type"] != "message_accepted"]

    def durable_texts(self, run_id: str) -> list[str]:
        """A run's durable events, byte for byte."""
        return [
            text
            for text, frame in zip(self.texts, self.frames, strict=True)
            if frame.get("run_id") == run_id and "seq" in frame
        ]

    async def close(self) -> None:
        """Says goodbye."""
        await self.ws.close()

    def cut(self) -> None:
        """As a lost network does it: no goodbye."""
        transport = self.ws.get_extra_info("socket")
        assert transport is not None
        self.ws._response.connection.transport.abort()


class Client:
    """HTTP and sockets to one server, for any number of users."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=30),
        )
        self._sockets: list[Socket] = []
        self._raw: list[RawSocket] = []
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for socket in self._sockets:
            if not socket.ws.closed:
                await socket.ws.close()
        for raw in self._raw:
            raw.close()
        await self.http.close()

    async def call(
        self,
        method: str,
        path: str,
        login: Login | None = None,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> Answer:
        """One request."""
        sent = (login.bearer if login else {}) | dict(headers or {})
        async with self.http.request(method, self.url + path, json=body, data=data, headers=sent) as answer:
            return Answer(answer.status, answer.headers.copy(), (await answer.read()).decode())

    async def get(self, path: str, login: Login | None = None, **more: Any) -> Answer:
        return await self.call("GET", path, login, **more)

    async def post(self, path: str, login: Login | None = None, body: Any = None, **more: Any) -> Answer:
        return await self.call("POST", path, login, body, **more)

    async def login(self, name: str, password: str = PASSWORD) -> Login:
        """Logs in."""
        body = {"username": name, "password": password}
        async with self.http.post(self.url + "/api/auth/login", json=body) as answer:
            given = await answer.json(content_type=None)
            assert answer.status == 200, given
            cookies = {name: morsel.value for name, morsel in answer.cookies.items()}
            return Login(name, given["access_token"], cookies)

    async def connect(
        self,
        headers: Mapping[str, str] | None = None,
        *,
        protocols: tuple[str, ...] = ("netra.v1",),
        autoping: bool = True,
    ) -> Socket:
        """A connection with these headers; nothing has been read from it."""
        ws = await self.http.ws_connect(
            self.url + "/ws",
            headers=headers,
            protocols=protocols,
            autoping=autoping,
            max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=2),
        )
        socket = Socket(ws)
        self._sockets.append(socket)
        return socket

    async def socket(self, login: Login) -> Socket:
        """A connection of this user, which has said hello."""
        socket = await self.connect(login.bearer)
        assert (await socket.next())["type"] == "connection_established"
        return socket

    async def stalled(self, headers: Mapping[str, str]) -> RawSocket:
        """A connection whose buffer is soon full, and which reads nothing by itself."""
        self._raw.append(await RawSocket.open(self.url, headers, receive_buffer=4096))
        return self._raw[-1]

    async def thread(self, login: Login, title: str = "A thread") -> str:
        """A new thread."""
        answer = await self.post("/api/threads", login, {"title": title})
        assert answer.status == 201, answer.text
        return answer.json["thread_id"]

    async def events(self, login: Login, run_id: str, after: int = 0) -> list[Frame]:
        """A run's durable events, by HTTP."""
        answer = await self.get(f"/api/runs/{run_id}/events?after={after}", login)
        assert answer.status == 200, answer.text
        return answer.json["events"]

    async def sse(self, login: Login, run_id: str, last_event_id: int | None = None) -> AsyncIterator[tuple[str, str]]:
        """(id, data) of an event stream to its end; the id is empty for passing frames."""
        headers = login.bearer | {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        async with self.http.get(f"{self.url}/api/runs/{run_id}/events", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            ident = data = ""
            async for raw in answer.content:
                field, _, value = raw.decode().rstrip("\n").partition(": ")
                if field == "id":
                    ident = value
                elif field == "data":
                    data = value
                elif not field and data:
                    yield ident, data
                    ident = data = ""


def play(server: Server, scenario: Callable[[Client], Awaitable[T]], seconds: float = 60) -> T:
    """Plays a scenario against a server, bounded."""

    async def main() -> T:
        async with asyncio.timeout(seconds), Client(server.url) as client:
            return await scenario(client)

    return asyncio.run(main())
