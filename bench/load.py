"""A closed loop of N users: each asks, watches its answer to the end, and asks again."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Self

import aiohttp

from bench.parts import PASSWORD, user_name

# One tool call and a streamed answer: two model calls of 100 ms to the first token, 64 tokens 20 ms apart.
SCRIPTED_SECONDS = 2 * 0.100 + 63 * 0.020
ENDINGS = ("agent_completed", "agent_failed", "agent_cancelled")


@dataclass
class Figures:
    """What the users saw; seconds since their message was sent."""

    first_event: list[float] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Driver:
    """Users with a socket each."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []
        self.measuring = False
        self.figures = Figures()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(socket.close() for socket in self.sockets))
        await self._http.close()

    async def connect(self, count: int) -> None:
        """Logs in and connects further users until there are `count`."""
        gate = asyncio.Semaphore(8)

        async def one(number: int) -> aiohttp.ClientWebSocketResponse:
            async with gate:
                body = {"username": user_name(number), "password": PASSWORD}
                async with self._http.post(f"{self.url}/api/auth/login", json=body) as answer:
                    answer.raise_for_status()
                    token = (await answer.json())["access_token"]
                socket = await self._http.ws_connect(
                    f"{self.url}/ws", headers={"Authorization": f"Bearer {token}"}, protocols=["netra.v1"]
                )
                await socket.receive()  # connection_established
                return socket

        self.sockets += await asyncio.gather(*(one(number) for number in range(len(self.sockets), count)))

    async def loop(self, seconds: float, warm_up: float) -> float:
        """Runs the closed loop; returns the seconds that were measured, after the warm-up."""
        until = time.perf_counter() + warm_up + seconds
        tasks = [asyncio.create_task(self._user(socket, until)) for socket in self.sockets]
        await asyncio.sleep(warm_up)
        self.measuring, began = True, time.perf_counter()
        await asyncio.sleep(seconds)
        self.measuring = False
        measured = time.perf_counter() - began
        await asyncio.gather(*tasks)
        return measured

    async def _user(self, socket: aiohttp.ClientWebSocketResponse, until: float) -> None:
        # Users come one after another, as people do, and not in one burst.
        await asyncio.sleep((id(socket) >> 4) % 1000 / 1000 * SCRIPTED_SECONDS)
        while time.perf_counter() < until:
            await self._ask(socket)

    async def _ask(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        sent = time.perf_counter()
        await socket.send_str('{"type":"user_message","content":"where is my order? [[call=lookup]]"}')
        first_event = 0.0
        async with asyncio.timeout(60):
            while True:
                message = await socket.receive()
                now = time.perf_counter()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self.figures.errors.append(f"socket {message.type}")
                    raise RuntimeError(f"the socket ended: {message}")
                if message.data.startswith('{"type":"message_delta"'):
                    continue
                frame = json.loads(message.data)
                if frame["type"] == "agent_started":
                    first_event = now
                elif frame["type"] == "error":
                    self.figures.errors.append(frame["code"])
                    return
                elif frame["type"] in ENDINGS:
                    break
        if frame["type"] != "agent_completed":
            self.figures.errors.append(f"{frame['type']} {frame.get('code')}")
        elif self.measuring:
            self.figures.first_event.append(first_event - sent)
            self.figures.overhead.append(now - sent - SCRIPTED_SECONDS)
