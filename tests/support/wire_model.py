"""`WireModel`: a model server in a process of its own, for the time of a `with` block. Its words are wire_server's."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_SECONDS = 10


class WireModel:
    """Starts and ends the server: `with WireModel() as wire: wire.url`."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    def __enter__(self) -> Self:
        command = [sys.executable, str(Path(__file__).with_name("wire_server.py")), *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        watch = threading.Timer(START_SECONDS, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        assert line.strip().isdigit(), "the wire model did not start"
        self.port = int(line)
        self.address = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.address}/v1"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
        self._process.wait(START_SECONDS)

    @property
    def pid(self) -> int:
        """The server's process, for measuring."""
        return self._process.pid

    def state(self) -> dict[str, Any]:
        """`requests` (each with asked, messages, tools, done, aborted, …), `open` and `total`."""
        with urllib.request.urlopen(f"{self.address}/requests", timeout=5) as answer:
            return json.load(answer)

    def requests(self) -> list[dict[str, Any]]:
        """What it was asked, oldest first."""
        return self.state()["requests"]

    def open_requests(self) -> int:
        """How many answers are under way."""
        return self.state()["open"]

    def until_open(self, count: int = 1, seconds: float = 5) -> None:
        """Returns once so many answers are under way; fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while (found := self.open_requests()) < count:
            assert time.monotonic() < deadline, f"{found} requests are open"
            time.sleep(0.01)

    def until_idle(self, seconds: float = 5) -> dict[str, Any]:
        """The state once no answer is under way; fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while (state := self.state())["open"]:
            assert time.monotonic() < deadline, f"{state['open']} requests are still open"
            time.sleep(0.01)
        return state

    def forget(self) -> None:
        """Forgets every request and every fault that struck."""
        request = urllib.request.Request(f"{self.address}/forget", data=b"", method="POST")
        urllib.request.urlopen(request, timeout=5).close()
