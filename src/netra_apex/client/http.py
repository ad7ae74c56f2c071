"""The HTTP side of a client: one session with its cookies, and the access token with its renewal."""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Self, TypeVar

import aiohttp
import msgspec

from netra_apex.client.errors import RequestRefused, ServerUnreachable, UnreadableFrame
from netra_apex.client.values import Login, Problem
from netra_apex.errors import ConfigurationError

T = TypeVar("T")

SUBPROTOCOL = "netra.v1"
LONGEST_FRAME = 32 * 1024 * 1024
PING_SECONDS = 20.0
SLOWEST_UPLOAD = 64 * 1024  # bytes a second: a file has as much time as it needs at this pace
RENEWAL_SHARE = 0.25
RENEWAL_SECONDS = 30.0
_CODES = {401: "unauthenticated", 403: "forbidden", 404: "not_found"}
_CLOSING = aiohttp.ClientWSTimeout(ws_close=2.0)  # pyright: ignore[reportCallIssue] - its decorator hides the fields


@dataclass(frozen=True, slots=True)
class Credential:
    """An access token and when to renew it, on the loop's clock."""

    token: str = field(repr=False)
    renew_at: float


class Api:
    """Requests to one server as one user.

    The refresh token lives in the cookie jar and nowhere else; the password is not kept.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"{url!r} is no address of a server: write http://host:port")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._credential: Credential | None = None
        self._renewing = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # An unsafe jar is one that keeps the cookies of a server with a numeric address, such as 127.0.0.1.
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=aiohttp.ClientTimeout(total=self.timeout)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def login(self, username: str, password: str) -> Login:
        """Logs in.

        Raises:
            RequestRefused: name or password are wrong, or there were too many failures.
            ServerUnreachable, UnreadableFrame
        """
        body = await self.request("POST", "/api/auth/login", json={"username": username, "password": password})
        login = read_as(Login, body, "a login")
        self._keep(login)
        return login

    async def reach(self) -> None:
        """Returns once something answers, whatever it says.

        Raises:
            ServerUnreachable: nothing does.
        """
        try:
            async with self._open().get(self.url + "/healthz", allow_redirects=False):
                pass
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerUnreachable(self.url, _reason(error, self.timeout)) from error

    async def logout(self) -> None:
        """Ends the session on the server, with its tokens, cookies and sockets."""
        await self.call("POST", "/api/auth/logout")
        self._credential = None

    async def credential(self, stale: Credential | None = None) -> Credential:
        """A token that is good for a while, and another one than `stale`.

        Raises:
            RequestRefused: there was no login, or it has ended.
            ServerUnreachable: the server does not answer.
        """
        async with self._renewing:
            known = self._credential
            if known is None:
                raise RequestRefused("unauthenticated", "log in first")
            if known != stale and known.renew_at > asyncio.get_running_loop().time():
                return known
            return self._keep(read_as(Login, await self.request("POST", "/api/auth/refresh"), "a refresh"))

    async def call(self, method: str, path: str, *, json: Any = None, params: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer to the user who is logged in. A token that is refused is renewed once.

        Raises:
            RequestRefused: the server says no, with a code.
            ServerUnreachable: nothing answers, or no netra server.
        """
        return await self._as_user(partial(self.request, method, path, json=json, params=params))

    async def upload(self, path: str, open_file: Callable[[], BinaryIO], name: str, size: int) -> bytes:
        """Sends a file, which is opened anew for each attempt; the answer's body. Raises as `call` does."""

        async def sending(*, token: str) -> bytes:
            form = aiohttp.FormData(quote_fields=False)  # a name goes as it is, as browsers send it
            form.add_field("file", open_file(), filename=name, content_type="application/octet-stream")
            timeout = aiohttp.ClientTimeout(total=self.timeout + size / SLOWEST_UPLOAD)
            return await self._read("POST", path, data=form, timeout=timeout, headers=_bearer(token))

        return await self._as_user(sending)

    async def _as_user(self, asking: Callable[..., Awaitable[bytes]]) -> bytes:
        credential = await self.credential()
        try:
            return await asking(token=credential.token)
        except RequestRefused as error:
            if error.status != 401:
                raise
        credential = await self.credential(stale=credential)
        return await asking(token=credential.token)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> bytes:
        """The body of an answer to whoever holds `token`; raises as `call` does."""
        return await self._read(method, path, json=json, params=params, headers=_bearer(token))

    async def _read(self, method: str, path: str, **more: Any) -> bytes:
        try:
            async with self._open().request(method, self.url + path, allow_redirects=False, **more) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerUnreachable(self.url, _reason(error, self.timeout)) from error
        if response.status >= 300:
            raise _refusal(self.url, response, body)
        return body

    async def dial(self, token: str) -> aiohttp.ClientWebSocketResponse:
        """Opens a socket.

        Raises:
            ServerUnreachable: nothing answers, or not for now.
            RequestRefused: the server answers the upgrade with a refusal.
        """
        try:
            async with asyncio.timeout(self.timeout):
                return await self._open().ws_connect(
                    self.url + "/ws",
                    protocols=(SUBPROTOCOL,),
                    headers={"Authorization": f"Bearer {token}"},
                    heartbeat=PING_SECONDS,
                    max_msg_size=LONGEST_FRAME,
                    timeout=_CLOSING,
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status >= 500 or error.status == 429:
                raise ServerUnreachable(self.url, f"the socket is answered with {error.status}") from error
            code = _CODES.get(error.status, "invalid")
            raise RequestRefused(code, f"the socket is refused with {error.status}", status=error.status) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ServerUnreachable(self.url, _reason(error, self.timeout)) from error

    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it inside `async with`"
        return self._session

    def _keep(self, answer: Login) -> Credential:
        margin = min(RENEWAL_SECONDS, answer.expires_in * RENEWAL_SHARE)
        renew_at = asyncio.get_running_loop().time() + answer.expires_in - margin
        self._credential = Credential(answer.access_token, renew_at)
        return self._credential


def read_as(kind: type[T], body: bytes, what: str) -> T:
    """The body of an answer as a value.

    Raises:
        UnreadableFrame: it is not what the contract says.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise UnreadableFrame(what, str(error)) from error


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        cause = error.os_error
        # Not strerror: asyncio writes addresses and its own words there.
        return os.strerror(cause.errno) if cause.errno and cause.errno > 0 else cause.strerror or str(cause)
    return str(error) or type(error).__name__


def _refusal(url: str, response: aiohttp.ClientResponse, body: bytes) -> RequestRefused | ServerUnreachable:
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        problem = Problem()
    said = problem.detail or problem.title
    if not problem.code:
        # What stands before the server answers here: a proxy, or a program of another kind.
        return ServerUnreachable(url, f"what is there says {response.status} {said or response.reason or ''}".rstrip())
    return RequestRefused(
        problem.code, said or problem.code, status=response.status, retry_after=_seconds(response.headers)
    )


def _seconds(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
