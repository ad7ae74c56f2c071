"""The socket door: `GET /ws` as a plain ASGI application. Who is it, then: frames in, the log out.

A refusal accepts the handshake first and then closes with its code, so that a browser gets to see it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.datastructures import Headers

from netra_apex.core.buckets import TokenBucket
from netra_apex.core.conversations import Accepted
from netra_apex.core.ids import new_id
from netra_apex.errors import (
    NetraError,
    NotFound,
    Refused,
    StoreError,
    TooManyConnections,
    Unauthenticated,
    Unavailable,
)
from netra_apex.runtime import Runtime
from netra_apex.server.auth import SESSION_COOKIE, Authenticator, Principal, bearer_of, cookie_of
from netra_apex.server.services import Services
from netra_apex.settings import Settings
from netra_apex.stream.bridge import WebSocketBridge
from netra_apex.stream.follower import Follower
from netra_apex.stream.manager import Connection
from netra_apex.stream.protocol import (
    PROTOCOL,
    Answer,
    Authenticate,
    Cancel,
    ClientFrame,
    Close,
    Decide,
    Ping,
    Subscribe,
    Unsubscribe,
    UserMessage,
    id_of,
    read_frame,
    write,
    write_refusal,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

AUTHENTICATE_SECONDS = 10.0
CLOSE_SECONDS = 2.0  # how long a close may wait for a socket that takes nothing

log = structlog.get_logger()


class Closed(NetraError):
    """This connection is to be closed, with this code."""

    def __init__(self, code: Close, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Gone(NetraError):
    """The client has closed the connection, or lost it."""


class WebSocketDoor:
    """Takes connections in. `services_of` gives the running parts for a request's scope."""

    def __init__(self, services_of: Callable[[Scope], Awaitable[Services]]) -> None:
        self._services_of = services_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, from handshake to close."""
        services = await self._services_of(scope)
        await receive()  # websocket.connect
        offered: list[str] = scope.get("subprotocols") or []
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in offered else None})
        socket = _Socket(receive, send, services.runtime.settings)
        try:
            principal = await _authenticate(scope, socket, services.authenticator)
            await _Visit(socket, principal, services.runtime, services.authenticator).run()
        except Gone:
            return
        except Closed as closed:
            await socket.close(closed.code, closed.reason)
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
            await socket.close(Close.COME_BACK, "the database does not answer: come back in a moment")
        except Exception:
            # The socket's boundary: a bug ends this connection, says so by an id, and nothing else.
            ident = new_id("bug")
            log.exception("socket broke", error_id=ident)
            await socket.close(Close.BUG, f"internal error {ident}")


class _Socket:
    """The wire: text frames within the limits in, text frames out."""

    def __init__(self, receive: Receive, send: Send, settings: Settings) -> None:
        self._receive = receive
        self._send = send
        self._frame_bytes = settings.frame_bytes
        now = asyncio.get_running_loop().time
        self._clock = now
        self._bucket = TokenBucket(burst=settings.frames_burst, per_minute=settings.frames_per_minute, now=now())

    async def frame(self) -> str:
        """The client's next frame.

        Raises:
            Gone: there will be none.
            Closed: it is binary, over the limit, or one too many.
        """
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise Gone
        text: str | None = message.get("text")
        if text is None:
            raise Closed(Close.BINARY, "frames are text")
        # Bytes are counted only where characters do not settle it: a character has one to four.
        if len(text) * 4 > self._frame_bytes and len(text.encode(errors="replace")) > self._frame_bytes:
            raise Closed(Close.TOO_LARGE, f"a frame has at most {self._frame_bytes} bytes")
        if not self._bucket.take(self._clock()):
            raise Closed(Close.FLOOD, "too many frames")
        return text

    async def tell(self, frame: str) -> None:
        """Sends a frame, when the socket takes it.

        Raises:
            Gone: the client is.
        """
        try:
            await self._send({"type": "websocket.send", "text": frame})
        except OSError as error:  # which is how uvicorn says it
            raise Gone from error

    async def close(self, code: Close, reason: str) -> None:
        """Says goodbye; a socket that takes nothing is left to its server's time-out."""
        with contextlib.suppress(TimeoutError, OSError, RuntimeError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send({"type": "websocket.close", "code": int(code), "reason": reason[:120]})


async def _authenticate(scope: Scope, socket: _Socket, authenticator: Authenticator) -> Principal:
    """Who this is: bearer before cookie before first frame. An origin that is there must be allowed for all three.

    Raises:
        Closed: 4403 origin, 4401 credential, 4408 none in time.
    """
    headers = Headers(scope=scope)
    origin, cookies = headers.get("origin"), headers.get("cookie")
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    if origin is not None and not authenticator.origin_allowed(origin, headers.get("host"), scheme):
        raise Closed(Close.ORIGIN, "this origin is not allowed")
    try:
        token = bearer_of(headers.get("authorization"))
        if token is not None:
            return await authenticator.by_token(token)
        if origin is None and cookie_of(cookies, SESSION_COOKIE) is not None:
            # Only a browser sends cookies by itself, and a browser names its page.
            raise Closed(Close.ORIGIN, "a session cookie needs an origin")
        by_cookie = await authenticator.by_cookie(cookies)
        if by_cookie is not None:
            return by_cookie
        return await _first_frame(socket, authenticator)
    except Unauthenticated as error:
        raise Closed(Close.UNAUTHENTICATED, str(error)) from error


async def _first_frame(socket: _Socket, authenticator: Authenticator) -> Principal:
    try:
        async with asyncio.timeout(AUTHENTICATE_SECONDS):
            text = await socket.frame()
    except TimeoutError as error:
        raise Closed(Close.TIMED_OUT, "no authenticate frame came") from error
    try:
        frame = read_frame(text)
    except Refused as refusal:
        await socket.tell(write_refusal(refusal, id_of(text)))
        raise Closed(Close.UNAUTHENTICATED, "the first frame authenticates") from refusal
    if not isinstance(frame, Authenticate):
        refusal = Unauthenticated("authenticate first")
        await socket.tell(write_refusal(refusal, frame.id))
        raise Closed(Close.UNAUTHENTICATED, "the first frame authenticates")
    return await authenticator.by_token(frame.token)


class _Visit:
    """One authenticated connection: a bridge that tells, a loop that reads, and what may end both."""

    def __init__(self, socket: _Socket, principal: Principal, runtime: Runtime, authenticator: Authenticator) -> None:
        self._socket = socket
        self._principal = principal
        self._runtime = runtime
        self._authenticator = authenticator
        self._bridge = WebSocketBridge(principal.user_id, runtime.reader, runtime.hub, socket.tell)
        self._ending: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._expiry: asyncio.TimerHandle | None = None
        self.connection = Connection(new_id("con"), principal.user_id, principal.session_id, self._end)

    async def run(self) -> None:
        """To the connection's end.

        Raises:
            Closed: with the code to close with.
            Gone: the client went.
        """
        manager = self._runtime.manager
        try:
            manager.add(self.connection)
        except TooManyConnections as error:
            raise Closed(Close.TOO_MANY, str(error)) from error
        try:
            # Again, now that a logout finds this socket: one that came a moment ago did not.
            if not await self._authenticator.still_valid(self._principal):
                raise Closed(Close.UNAUTHENTICATED, "the login has ended")
            self._expire_with(self._principal)
            await self._socket.tell(self._hello())
            await self._serve()
        finally:
            manager.remove(self.connection)
            self._bridge.close()
            if self._expiry is not None:
                self._expiry.cancel()

    async def _serve(self) -> None:
        telling = asyncio.create_task(self._bridge.run())
        reading = asyncio.create_task(self._read())
        parts = (telling, reading)
        try:
            await asyncio.wait({*parts, self._ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            ended = await asyncio.gather(*parts, return_exceptions=True)
        for outcome in reversed(ended):
            if isinstance(outcome, Exception):
                raise outcome
        raise Closed(Close(self._ending.result()))

    async def _read(self) -> None:
        while True:
            await self._bridge.room()
            text = await self._socket.frame()
            try:
                await self._carry_out(read_frame(text))
            except Refused as refusal:
                await self._bridge.tell(write_refusal(refusal, id_of(text)))
            except StoreError as error:
                log.warning("the database does not answer", error=str(error))
                refusal = Unavailable("the database does not answer: try again in a moment")
                await self._bridge.tell(write_refusal(refusal, id_of(text)))

    async def _carry_out(self, frame: ClientFrame) -> None:
        house, user_id, may = self._runtime.house, self._principal.user_id, self._principal.permissions
        match frame:
            case Ping():
                await self._bridge.tell(write("pong", frame.id))
            case UserMessage():
                await self._post(frame)
            case Subscribe():
                await self._subscribe(frame)
            case Unsubscribe(run_id=run_id, thread_id=thread_id):
                if run_id is not None:
                    self._bridge.unfollow(run_id)
                if thread_id is not None:
                    self._bridge.unwatch_thread(thread_id)
                await self._bridge.tell(write("ok", frame.id))
            case Cancel(run_id=run_id):
                await self._runtime.admission.cancel(self._principal.user_id, run_id, wait=False)
                await self._bridge.tell(write("ok", frame.id))
            case Decide(approval_id=approval_id, decision=decision, note=note):
                await house.decide(user_id, approval_id, decision, note, may=may)
                await self._bridge.tell(write("ok", frame.id))
            case Answer(question_id=question_id, content=content):
                await house.answer(user_id, question_id, content, may=may)
                await self._bridge.tell(write("ok", frame.id))
            case Authenticate(token=token):
                await self._authenticate_again(token)
                await self._bridge.tell(write("ok", frame.id))

    async def _post(self, frame: UserMessage) -> None:
        def on_accepted(accepted: Accepted) -> None:
            answer = write(
                "message_accepted",
                frame.id,
                thread_id=accepted.thread_id,
                run_id=accepted.run_id,
                message_id=accepted.message_id,
            )
            self._bridge.tell_soon(answer)
            if not accepted.repeated:
                self._bridge.follow_new(accepted.thread_id, accepted.run_id)

        user = self._principal
        accepted = await self._runtime.admission.post(user.user_id, user.permissions, frame.post, on_accepted)
        if accepted.repeated:
            await self._bridge.follow(accepted.run_id, 0)

    async def _subscribe(self, frame: Subscribe) -> None:
        answer = write("ok", frame.id)
        if frame.run_id is not None:
            await self._bridge.follow(frame.run_id, frame.after_run, answer=answer)
            return
        thread_id = frame.thread_id or ""
        # Watch first: a run that begins while the others are looked up is not missed.
        new = self._bridge.watch_thread(thread_id)
        try:
            followers = await self._followers(thread_id, frame.after_runs)
            self._bridge.check_room(follower.run_id for follower in followers)
        except BaseException:
            if new:
                self._bridge.unwatch_thread(thread_id)
            raise
        self._bridge.tell_soon(answer)
        for follower in followers:
            self._bridge.add(follower)

    async def _followers(self, thread_id: str, after: dict[str, int]) -> list[Follower]:
        """The cursors of a thread's subscription: the runs that are named, and the unfinished ones.

        Raises:
            NotFound: the user has no such thread, or no such run.
            AfterOutOfRange: a cursor is beyond its run's last event.
        """
        user_id, runtime = self._principal.user_id, self._runtime
        if await runtime.stores.conversations.thread(user_id, thread_id) is None:
            raise NotFound("thread", thread_id)
        unfinished = await runtime.stores.conversations.unfinished(user_id, thread_id)
        wanted = {run.run_id: 0 for run in unfinished} | after
        found = [await runtime.reader.follower(user_id, run_id, seq) for run_id, seq in wanted.items()]
        # One that is followed already stays where it is, unless the client names it.
        return [
            each for each in found if not each.ended and (each.run_id in after or not self._bridge.follows(each.run_id))
        ]

    async def _authenticate_again(self, token: str) -> None:
        principal = await self._authenticator.by_token(token)
        if principal.user_id != self._principal.user_id:
            raise Unauthenticated("this connection is another user's: open a new one")
        if self._principal.how == "cookie":
            return  # it lives as its login, which is no shorter
        self._principal = principal
        self.connection.session_id = principal.session_id
        self._expire_with(principal)

    def _expire_with(self, principal: Principal) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if principal.expires_at is not None:
            seconds = (principal.expires_at - datetime.now(UTC)).total_seconds()
            self._expiry = asyncio.get_running_loop().call_later(
                max(0.0, seconds), self._end, int(Close.UNAUTHENTICATED)
            )

    def _end(self, code: int) -> None:
        if not self._ending.done():
            self._ending.set_result(code)

    def _hello(self) -> str:
        settings = self._runtime.settings
        return write(
            "connection_established",
            protocol=PROTOCOL,
            connection_id=self.connection.connection_id,
            user_id=self._principal.user_id,
            heartbeat_s=settings.heartbeat_seconds,
            limits={
                "frame_bytes": settings.frame_bytes,
                "frames_per_minute": settings.frames_per_minute,
                "frames_burst": settings.frames_burst,
                "runs": settings.runs_per_user,
                "queued": settings.queued_per_user,
                "connections": settings.connections_per_user,
                "upload_bytes": settings.upload_bytes,
            },
        )
