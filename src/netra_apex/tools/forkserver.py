"""The server's end of the process that a module's calls are forked from."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog

from netra_apex.tools import crossing
from netra_apex.tools.crossing import Request
from netra_apex.tools.reach import Place

GONE_SECONDS = 1.0  # how long a killed process may take to be gone before the log says that it does not go
STOP_SECONDS = 2.0

# This very package is taken, and the server's path only then: an application's folder, which joined it late, comes
# first in it, and a `uuid.py` there is nobody else's.
_BEGIN = """
import importlib.util, json, sys
told = json.loads(sys.argv[1])
sys.path += told["path"]
spec = importlib.util.spec_from_file_location("netra_apex", told["package"])
sys.modules["netra_apex"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["netra_apex"])
from netra_apex.tools.forked import serve
sys.path[:], sys.argv[:] = told["path"], told["argv"]
serve(told["control"], told["place"])
"""
_PACKAGE = str(Path(__file__).parents[1] / "__init__.py")

_log = structlog.get_logger(__name__)


class Died(Exception):
    """A call's process ended, or never began, without a reply; `how` says so, as the end of a sentence."""

    def __init__(self, how: str) -> None:
        super().__init__(how)
        self.how = how


class ForkServer:
    """A process with one module imported, in a session of its own, from which each call of its tools is forked.

    It is started when this is made, which takes some milliseconds; it then imports the module beside us, and calls that
    come meanwhile wait. Belongs to one event loop.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, place: Place, environment: Mapping[str, str]) -> None:
        self._place = place
        self._control, theirs = socket.socketpair()
        self._control.settimeout(0)
        told = {
            "package": _PACKAGE,
            "path": sys.path,
            "argv": sys.argv,
            "control": theirs.fileno(),
            "place": msgspec.json.encode(place).decode(),
        }
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with a program that stands above
                # -P: nothing of the working directory. -u: what a call prints is seen if it is killed, too.
                [sys.executable, "-P", "-u", "-c", _BEGIN, json.dumps(told)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is the server's own
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def begin(self) -> "Forked":
        """Forks a process for a call.

        Raises:
            Died: it has ended, or is too busy.
        """
        data, their_data = socket.socketpair()
        life, their_life = socket.socketpair()
        for end in (data, life):
            end.settimeout(0)
        with their_data, their_life:
            try:
                socket.send_fds(self._control, [b"+"], [their_data.fileno(), their_life.fileno()])
            except OSError as error:
                data.close()
                life.close()
                raise Died(f"could not be started: {error}") from error
        return Forked(data, life, self._place)

    def close(self) -> None:
        """Ends it, and does not wait."""
        self._control.close()

    async def aclose(self) -> None:
        """Ends it, and with it every call that it has."""
        loop = asyncio.get_running_loop()
        try:
            self._control.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(STOP_SECONDS):
                await loop.sock_recv(self._control, 1)
        except OSError:  # TimeoutError is one
            self._process.kill()
        finally:
            self.close()
        self._process.wait()  # it has let go of its socket last of all


class Forked:
    """One call's process, from here: `async with server.begin() as forked`. When that ends, the process does."""

    def __init__(self, data: socket.socket, life: socket.socket, place: Place) -> None:
        self._data = data
        self._life = life
        self._place = place

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kills what there is of it yet, and waits until it is gone, but not for long."""
        loop = asyncio.get_running_loop()
        with self._data, self._life:
            try:
                self._life.shutdown(socket.SHUT_WR)
                async with asyncio.timeout(GONE_SECONDS):
                    while await loop.sock_recv(self._life, 256):
                        pass
            except TimeoutError:
                _log.error("the process of an isolated tool does not end", module=self._place.module)
            except OSError:
                return  # it is gone already

    async def ask(self, request: Request, limit: int) -> bytes:
        """Hands the call over, and returns the reply as it comes, which may have `limit` bytes.

        Raises:
            Died: it ended without one.
            ReplyTooLarge: it would have more, and has not been read.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._data, crossing.packed(request))
            size = crossing.size_of(await self._read(crossing.HEAD))
            if size <= limit:
                return await self._read(size)
        except (ConnectionError, EOFError):
            raise Died(await self._end()) from None
        raise ReplyTooLarge(size)

    async def _read(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        # Not made at once: that there are so many is only said yet.
        body = bytearray()
        while len(body) < size:
            piece = await loop.sock_recv(self._data, min(size - len(body), 65_536))
            if not piece:
                raise EOFError
            body += piece
        return bytes(body)

    async def _end(self) -> str:
        """How the process has ended; waits for it where it has only let go of its socket."""
        told = await asyncio.get_running_loop().sock_recv(self._life, 256)
        if not told:
            return f"was lost: the process that {self._place.module}'s calls are forked from has died"
        try:
            code = int(told)
        except ValueError:
            return f"could not be started: {told.decode(errors='replace')}"
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was ended by {signal.Signals(-code).name if -code in set(signal.Signals) else f'signal {-code}'}"


class ReplyTooLarge(Exception):
    """A reply of more bytes than it may have: `size`."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size
