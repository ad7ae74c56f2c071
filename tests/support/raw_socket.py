"""`RawSocket`: a WebSocket by hand, over a TCP socket with a small buffer, that reads only when a test says so."""

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
Frame = dict[str, Any]


class RawSocket:
    """What libraries hide: the client's receive buffer, and when it reads. It answers no ping."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()
        self.frames: list[Frame] = []
        self.code: int | None = None

    @classmethod
    async def open(cls, url: str, headers: Mapping[str, str], *, receive_buffer: int) -> Self:
        """Connects and shakes hands; nothing more is read."""
        place = urlsplit(url)
        connection = socket.socket()
        # Before it connects, or the window is agreed on already.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        made = cls(connection)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, (place.hostname, place.port))
        key = base64.b64encode(os.urandom(16)).decode()
        head = {
            "Host": place.netloc,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": "netra.v1",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in (head | dict(headers)).items())
        await loop.sock_sendall(connection, f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode())
        while b"\r\n\r\n" not in made._buffer:
            await made._more()
        answer, _, rest = bytes(made._buffer).partition(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        made._buffer = bytearray(rest)
        return made

    async def send(self, frame: Frame) -> None:
        """Sends a frame as text."""
        data = json.dumps(frame).encode()
        mask = os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        await asyncio.get_running_loop().sock_sendall(self._socket, b"\x81" + size + mask + masked)

    async def next(self) -> Frame | None:
        """The next text frame; None once the server has closed, then `code` says with what."""
        while True:
            kind, data = await self._frame()
            if kind == TEXT:
                frame = json.loads(data)
                self.frames.append(frame)
                return frame
            if kind == CLOSE:
                self.code = struct.unpack(">H", data[:2])[0] if data else None
                return None

    async def until(self, found: Callable[[Frame], object], seconds: float = 15) -> list[Frame]:
        """Reads until such a frame comes; all frames so far."""
        async with asyncio.timeout(seconds):
            while (frame := await self.next()) is not None and not found(frame):
                pass
        assert frame is not None, f"the server closed with {self.code}"
        return self.frames

    async def hung_up_within(self, seconds: float) -> bool:
        """Whether the server ends the TCP connection by then."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._more()
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    async def answer_close(self) -> None:
        """Answers the server's close frame with its code."""
        assert self.code is not None
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index] for index, byte in enumerate(struct.pack(">H", self.code)))
        await asyncio.get_running_loop().sock_sendall(self._socket, b"\x88\x82" + mask + masked)

    def close(self) -> None:
        """Drops the connection."""
        self._socket.close()

    async def _frame(self) -> tuple[int, bytes]:
        await self._have(2)
        kind, size, start = self._buffer[0] & 0x0F, self._buffer[1] & 0x7F, 2
        assert self._buffer[0] & 0x80, "the server sends whole frames"
        if size > 125:
            width = 2 if size == 126 else 8
            await self._have(2 + width)
            size = int.from_bytes(self._buffer[2 : 2 + width])
            start = 2 + width
        await self._have(start + size)
        data = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return kind, data

    async def _have(self, size: int) -> None:
        while len(self._buffer) < size:
            await self._more()

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        if not data:
            with contextlib.suppress(OSError):
                self._socket.close()
            raise ConnectionResetError("the server dropped the connection")
        self._buffer += data
