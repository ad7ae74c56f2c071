"""`Cable`: the network between a browser and a server, which a test cuts and mends."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

PIECE = 65536
TICK = 0.05


class Cable:
    """`with Cable(port) as cable`: `cable.url` leads to `port` of this host, in a thread of its own.

    While it is cut, connections that were there are gone and new ones are refused, as with a router that is off.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._whole = threading.Event()
        self._whole.set()
        self._over = threading.Event()
        self._serving = threading.Thread(target=self._serve)

    def cut(self) -> None:
        """From now on nothing gets through."""
        self._whole.clear()

    def mend(self) -> None:
        """From now on everything does again."""
        self._whole.set()

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._serving.join()

    def _serve(self) -> None:
        pairs: dict[socket.socket, socket.socket] = {}
        with contextlib.closing(self._listening), selectors.DefaultSelector() as ready:
            ready.register(self._listening, selectors.EVENT_READ)

            def drop(one: socket.socket) -> None:
                for each in (one, pairs.pop(one, None)):
                    if each is not None and each.fileno() >= 0:
                        pairs.pop(each, None)
                        ready.unregister(each)
                        each.close()

            while not self._over.is_set():
                found = [key.fileobj for key, _ in ready.select(TICK)]
                if not self._whole.is_set():
                    for one in list(pairs):
                        drop(one)
                for one in found:
                    assert isinstance(one, socket.socket)
                    if one is self._listening:
                        self._accept(ready, pairs)
                    elif one in pairs and not _passed_on(one, pairs[one]):
                        drop(one)
            for one in list(pairs):
                drop(one)

    def _accept(self, ready: selectors.BaseSelector, pairs: dict[socket.socket, socket.socket]) -> None:
        near, _ = self._listening.accept()
        if not self._whole.is_set():
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._to), timeout=10)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            pairs[one] = other
            ready.register(one, selectors.EVENT_READ)


def _passed_on(one: socket.socket, other: socket.socket) -> bool:
    try:
        piece = one.recv(PIECE)
        if piece:
            other.sendall(piece)
    except OSError:
        return False
    return bool(piece)
