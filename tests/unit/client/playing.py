"""Runs a test with a peer, a client that is logged in, and a connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.client.peer import PASSWORD, Peer, Script, golden

from netra_apex.client import (
    Client,
    Connection,
    Frame,
    LiveRun,
)
from netra_apex.client.live import Notice
from netra_apex.core.events import (
    MessageDelta,
    PassingFrame,
)

Play = Callable[[Peer, Client, Connection], Awaitable[None]]


def play(test: Play, script: Script = golden, *, peer: Peer | None = None, **options: Any) -> Peer:
    """Runs a test with a peer, a client that is logged in, and a connection; at most 20 s."""
    server = peer or Peer(script)

    async def main() -> None:
        async with asyncio.timeout(20), server.serving(), Client(server.url, timeout=5) as client:
            await client.login("ada", PASSWORD)
            async with client.connect(**{"patience": 10, **options}) as connection:
                await test(server, client, connection)

    asyncio.run(main())
    return server


async def collect(run: LiveRun) -> list[Frame]:
    return [frame async for frame in run]


def seqs(frames: list[Frame]) -> list[int]:
    return [frame.seq for frame in frames if not isinstance(frame, PassingFrame | Notice)]


def text(frames: list[Frame]) -> str:
    return "".join(frame.text for frame in frames if isinstance(frame, MessageDelta))
