"""The protocol class under a real uvicorn, against a peer that breaks the rules byte by byte."""

import asyncio
import base64
import contextlib
import logging
import os
import struct
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected

from netra_apex.server import heartbeat
from netra_apex.server.serve import _config
from netra_apex.settings import Settings

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Door:
    """An application that takes everything in, and what it is told and finds out."""

    def __init__(self):
        self.heard = []
        self.send = None
        self.connected = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope, receive, send):
        self.send = send
        await receive()
        await send({"type": "websocket.accept"})
        self.connected.set()
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.heard.append(message["code"])
                self.gone.set()
                return
            self.heard.append(message.get("text") or message.get("bytes"))


class Peer:
    """A client that does what it is told and nothing by itself."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def shake_hands(self):
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(
            f"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = await self.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer.splitlines()[0]
        assert b"permessage-deflate" not in answer

    def send(self, opcode, payload=b"", *, fin=True):
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        if size > 65535:
            length = b"\xff" + struct.pack("!Q", size)
        self.writer.write(bytes([(0x80 if fin else 0) | opcode]) + length + b"\0\0\0\0" + payload)

    async def receive(self):
        """(opcode, payload) of the next frame; None at the end of the connection."""
        try:
            head = await self.reader.readexactly(2)
            size = head[1] & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return head[0] & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close_code(self):
        """The code that the server closes with; pings are left unanswered."""
        while (frame := await self.receive()) is not None:
            if frame[0] == CLOSE:
                return struct.unpack("!H", frame[1][:2])[0]
        return None


def play(scenario, **settings):
    """Runs scenario(door, peer) with a connection between the two."""

    async def main():
        door = Door()
        config = _config(door, Settings(**{"home": Path("unused"), "heartbeat_seconds": 30} | settings))
        config.lifespan = "off"
        config.host, config.port = "127.0.0.1", 0
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(20):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
            await peer.shake_hands()
            await door.connected.wait()
            await scenario(door, peer)
            peer.writer.transport.abort()
            await door.gone.wait()
            server.should_exit = True
            await serving

    asyncio.run(main())


def test_a_peer_that_answers_pings_stays():
    async def scenario(door, peer):
        for _ in range(5):
            opcode, payload = await peer.receive()
            assert opcode == PING
            peer.send(PONG, payload)
        peer.send(TEXT, b"still here")
        while door.heard != ["still here"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    play(scenario, heartbeat_seconds=0.1)


def test_a_peer_that_misses_a_ping_is_closed_with_4408_and_the_door_is_told_at_once():
    async def scenario(door, peer):
        assert await peer.close_code() == 4408
        await door.gone.wait()
        assert door.heard == [4408]

    play(scenario, heartbeat_seconds=0.1)


def test_the_wrong_pong_is_no_answer():
    async def scenario(door, peer):
        await peer.receive()
        peer.send(PONG, b"nope")
        assert await peer.close_code() == 4408

    play(scenario, heartbeat_seconds=0.1)


def test_a_peer_that_takes_nothing_loses_its_socket_a_little_later(monkeypatch):
    monkeypatch.setattr(heartbeat, "ABORT_SECONDS", 0.2)

    async def scenario(door, peer):
        peer.writer.transport.pause_reading()
        with contextlib.suppress(ClientDisconnected):
            while True:
                await door.send({"type": "websocket.send", "text": "x" * 100_000})
        await door.gone.wait()
        assert door.heard[-1] == 4408

    play(scenario, heartbeat_seconds=0.2)


def test_a_close_by_the_door_does_not_wait_for_a_peer_that_takes_nothing(monkeypatch):
    monkeypatch.setattr(heartbeat, "ABORT_SECONDS", 0.2)

    async def scenario(door, peer):
        await door.send({"type": "websocket.close", "code": 4401})
        await door.gone.wait()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await peer.close_code() == 4401
        assert await peer.receive() is None
        assert loop.time() - began < 2

    play(scenario)


def test_text_that_is_not_utf8_closes_with_1007_and_leaves_no_stack_trace(caplog):
    async def scenario(door, peer):
        peer.send(TEXT, b"\xff\xfe")
        assert await peer.close_code() == 1007
        await door.gone.wait()
        assert door.heard == [1007]

    with caplog.at_level(logging.WARNING):
        play(scenario)
    assert not any(record.exc_info for record in caplog.records)


def test_a_character_may_lie_across_two_fragments():
    async def scenario(door, peer):
        peer.send(TEXT, "é".encode()[:1], fin=False)
        peer.send(0x0, "é".encode()[1:])
        while door.heard != ["é"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    play(scenario)


@pytest.mark.parametrize("fragments", [1, 20])
def test_a_message_over_sixteen_frames_closes_with_1009(fragments):
    async def scenario(door, peer):
        piece = b"x" * (16 * 100 // fragments + 10)
        for number in range(fragments):
            peer.send(0x0 if number else TEXT, piece, fin=number == fragments - 1)
        assert await peer.close_code() == 1009
        await door.gone.wait()

    play(scenario, frame_bytes=100)


def test_a_message_of_sixteen_frames_reaches_the_door_which_says_4413():
    async def scenario(door, peer):
        peer.send(TEXT, b"x" * 1600)
        while door.heard != ["x" * 1600]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    play(scenario, frame_bytes=100)


def test_a_flood_of_pings_is_closed_with_4429():
    async def scenario(door, peer):
        for number in range(60):
            peer.send(PING, str(number).encode())
        assert await peer.close_code() == 4429
        await door.gone.wait()
        assert door.heard == [4429]

    play(scenario)


def test_a_few_pings_are_answered():
    async def scenario(door, peer):
        for number in range(20):
            peer.send(PING, str(number).encode())
            assert await peer.receive() == (PONG, str(number).encode())

    play(scenario)


def test_the_door_is_told_that_a_peer_is_gone_when_it_sends_after_our_close():
    async def scenario(door, peer):
        peer.send(TEXT, b"\xff")
        await door.gone.wait()
        with pytest.raises(ClientDisconnected):
            await door.send({"type": "websocket.send", "text": "too late"})

    play(scenario)


def test_a_slow_peer_holds_the_door_back_and_loses_nothing():
    async def scenario(door, peer):
        sent = 0

        async def tell():
            nonlocal sent
            for number in range(300):
                await door.send({"type": "websocket.send", "text": f"{number:06}" + "x" * 50_000})
                sent += 1

        telling = asyncio.create_task(tell())
        before = -1
        while before != sent:  # until it gets no further
            before = sent
            await asyncio.sleep(0.05)
        assert sent < 300
        for number in range(300):
            opcode, payload = await peer.receive()
            assert (opcode, payload[:6]) == (TEXT, f"{number:06}".encode())
        await telling

    play(scenario)
