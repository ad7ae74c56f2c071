"""Requests in turn: one caller's flood is worked on a few at a time, and everybody else's come between them (G8)."""

import asyncio
from collections import deque
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

AT_ONCE = 4  # of one caller; beyond, they wait in their order
_HELD = "netra_apex.turn"


def give_turn_back(scope: Scope) -> None:
    """Ends this request's turn before its answer begins: it waits for a run now, and others need not wait for it.

    Why: with as many that wait for a person as have a turn at once, this person's word could not come in.
    """
    if (give_back := scope.get(_HELD)) is not None:
        give_back()


class _Caller:
    """A caller's requests: how many are in work, and who waits."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Turns:
    """Works on at most `AT_ONCE` requests of one credential at a time, until each has begun its answer.

    Why: a thousand requests that come in one moment are a second's work of the loop, and without this every other
    user's frame and event would stand behind all of them. Requests without a credential are limited elsewhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._callers: dict[bytes, _Caller] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, in its turn."""
        credential = _credential(scope) if scope["type"] == "http" else None
        if credential is None:
            await self._app(scope, receive, send)
            return
        await self._take(credential)
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._give_back(credential)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                # What follows may be an event stream, which lasts as long as a run.
                give_back()
            await send(message)

        try:
            scope[_HELD] = give_back
            await self._app(scope, receive, sending)
        finally:
            give_back()

    async def _take(self, credential: bytes) -> None:
        caller = self._callers.setdefault(credential, _Caller())
        if caller.busy < AT_ONCE:
            caller.busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        caller.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(credential)  # its turn came in the moment in which it was given up
            raise

    def _give_back(self, credential: bytes) -> None:
        caller = self._callers[credential]
        while caller.waiting:
            turn = caller.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        caller.busy -= 1
        if not caller.busy:
            del self._callers[credential]


def _credential(scope: Scope) -> bytes | None:
    """What the request is authenticated by, unread; None where there is nothing."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    found: dict[bytes, Any] = {name: value for name, value in headers if name in (b"authorization", b"cookie")}
    return found.get(b"authorization") or found.get(b"cookie")
