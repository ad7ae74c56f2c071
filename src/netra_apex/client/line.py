"""`Line`: a socket that comes back. It knows when to dial, to renew the login and to give up, and nothing of runs."""

import asyncio
import dataclasses
import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import aiohttp
import msgspec

from netra_apex.client.comeback import HELD, Comeback, Verdict, verdict
from netra_apex.client.errors import (
    ClientError,
    ConnectionLost,
    ConnectionOver,
    ConnectionRefused,
    RequestRefused,
    ServerUnreachable,
    UnreadableFrame,
    reason_of,
)
from netra_apex.client.frames import ConnectionEstablished, ServerFrame, read
from netra_apex.client.http import Api, Credential
from netra_apex.core.ids import new_id

GREETING_SECONDS = 10.0
RENEWAL_PAUSE = 5.0

ClientFrame = Mapping[str, Any]


class LineUser(Protocol):
    """Who is told what happens on a line; every call returns at once."""

    def greeted(self, greeting: ConnectionEstablished) -> Sequence[ClientFrame]:
        """A socket is up, the first or a later one; gives what must be sent on it before anything else."""
        ...

    def took(self, frame: ServerFrame) -> None:
        """A frame arrived."""
        ...

    def lost(self, reason: str) -> None:
        """The socket, or an attempt to get one, was lost; the line tries again."""
        ...

    def over(self, error: ClientError) -> None:
        """Nothing more comes, and why. May be told again; the first one counts."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Loss:
    """How a socket ended; `code` is None where there was none."""

    reason: str
    code: int | None = None


class Line:
    """One socket at a time to one server, for as long as `patience` (seconds without one) lasts."""

    def __init__(self, api: Api, user: LineUser, *, patience: float) -> None:
        self._api = api
        self._user = user
        self._patience = patience
        self._comeback = Comeback(patience)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._credential: Credential | None = None
        self._refused: Credential | None = None

    async def serve(self) -> None:
        """Keeps a socket up until it is cancelled or has to give up; the user is told `over` in every case."""
        try:
            while True:
                loss = await self._attempt()
                await self._come_back(loss)
        except ClientError as error:
            self._user.over(error)
        finally:
            self._user.over(ConnectionOver())

    async def send(self, frame: ClientFrame) -> None:
        """Sends a frame if a socket is up. Where it is lost on the way, what must arrive is sent again by `greeted`."""
        socket = self._socket
        if socket is None:
            return
        try:
            await socket.send_str(msgspec.json.encode(frame).decode())
        except ConnectionError:
            return

    async def _attempt(self) -> _Loss:
        """One socket, from dialling to its loss."""
        try:
            socket = await self._dial()
        except ServerUnreachable as error:
            return _Loss(error.reason)
        except RequestRefused as error:
            if error.passing:
                return _Loss(str(error))
            raise
        if isinstance(socket, _Loss):
            return socket
        try:
            return await self._listen(socket)
        finally:
            self._socket = None
            await socket.close()

    async def _dial(self) -> aiohttp.ClientWebSocketResponse | _Loss:
        self._credential = await self._api.credential(self._refused)
        try:
            return await self._api.dial(self._credential.token)
        except RequestRefused as error:
            if error.status == 401:
                return _Loss(error.message, 4401)
            raise

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> _Loss:
        try:
            greeting = await self._receive(socket, GREETING_SECONDS)
        except TimeoutError:
            return _Loss("the server accepts the socket and does not greet")
        if isinstance(greeting, _Loss):
            return greeting
        if not isinstance(greeting, ConnectionEstablished):
            raise UnreadableFrame("a first frame", "it is not connection_established")
        held_since = self._now()
        waiting = self._user.greeted(greeting)
        self._socket = socket
        for frame in waiting:
            await self.send(frame)
        while True:
            try:
                frame = await self._receive(socket, self._until_renewal())
            except TimeoutError:
                await self._renew()
                continue
            if isinstance(frame, _Loss):
                if self._now() - held_since > HELD:
                    self._comeback.worked()
                return frame
            self._comeback.worked()
            if frame is not None:
                self._user.took(frame)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, seconds: float) -> ServerFrame | _Loss | None:
        message = await socket.receive(timeout=seconds)
        if message.type is aiohttp.WSMsgType.TEXT:
            return read(message.data)
        if message.type is aiohttp.WSMsgType.BINARY:
            raise UnreadableFrame("a binary frame", "the contract has text frames only")
        said = message.extra if isinstance(message.extra, str) else ""
        code = socket.close_code or 1006
        return _Loss(said or reason_of(code), code)

    def _until_renewal(self) -> float:
        assert self._credential is not None
        return max(0.01, self._credential.renew_at - self._now())

    async def _renew(self) -> None:
        """Renews the token before it expires, and tells the server on the open socket."""
        assert self._credential is not None
        try:
            self._credential = await self._api.credential()
        except (ServerUnreachable, RequestRefused) as error:
            if isinstance(error, RequestRefused) and not error.passing:
                raise
            self._credential = dataclasses.replace(self._credential, renew_at=self._now() + RENEWAL_PAUSE)
            return
        await self.send({"type": "authenticate", "token": self._credential.token, "id": new_id("req")})

    async def _come_back(self, loss: _Loss) -> None:
        match verdict(loss.code):
            case Verdict.STAY_AWAY:
                raise ConnectionRefused(loss.code or 0, loss.reason)
            case Verdict.RENEW:
                if not self._comeback.renew():
                    raise ConnectionRefused(4401)
                self._refused = self._credential
            case Verdict.RETURN:
                pass
        self._user.lost(loss.reason)
        delay = self._comeback.delay(self._now(), random.random())  # noqa: S311 - spreads clients, guards nothing
        if delay is None:
            raise ConnectionLost(self._api.url, self._patience, loss.reason)
        await asyncio.sleep(delay)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
