"""`Relay`: a place that leads to a server elsewhere, and breaks a connection at the moment that a test chooses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

PIECE = 65536


class Relay:
    """`async with relay(port) as there`: connections to `there.port`, or to its socket, are led to `port` of this host.

    `seen` is asked of each piece that a client sends, and breaks the connection where it says so: `"before"` the piece
    reaches the server, or `"after"` the server has answered it, of which the client hears nothing.
    """

    def __init__(self, port: int) -> None:
        self.to = port
        self.port = 0
        self.seen: Callable[[bytes], str | None] = lambda _: None
        self._writers: set[asyncio.StreamWriter] = set()
        self._none = asyncio.Event()
        self._none.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self.to)
        self._writers |= {writer, onward}
        self._none.clear()
        deaf = asyncio.Event()
        try:
            with contextlib.suppress(ConnectionError):
                await asyncio.gather(self._up(reader, onward, writer, deaf), self._down(there, writer, onward, deaf))
        finally:
            self._writers -= {writer, onward}
            for each in (writer, onward):
                each.close()
            if not self._writers:
                self._none.set()

    async def _up(
        self,
        reader: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        deaf: asyncio.Event,
    ) -> None:
        while piece := await reader.read(PIECE):
            cut = self.seen(piece)
            if cut == "before":
                back.close()
                break
            if cut == "after":
                deaf.set()
            onward.write(piece)
        onward.close()

    async def _down(
        self,
        there: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        onward: asyncio.StreamWriter,
        deaf: asyncio.Event,
    ) -> None:
        while (piece := await there.read(PIECE)) and not deaf.is_set():
            writer.write(piece)
        writer.close()
        onward.close()

    async def close(self) -> None:
        for each in self._writers:
            each.close()
        await self._none.wait()


@contextlib.asynccontextmanager
async def relay(port: int, *, host: str = "127.0.0.1", socket: Path | None = None) -> AsyncIterator[Relay]:
    """A relay to this port, on a port of its own at `host`, or behind a socket of the file system."""
    made = Relay(port)
    if socket is None:
        server = await asyncio.start_server(made.serve, host, 0)
        made.port = server.sockets[0].getsockname()[1]
    else:
        server = await asyncio.start_unix_server(made.serve, socket)
    try:
        yield made
    finally:
        server.close()
        await made.close()
