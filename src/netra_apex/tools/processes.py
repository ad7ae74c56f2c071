"""Where isolated tools run: each call in a process of its own, which is killed when nobody waits for it any more."""

import contextlib
import pickle
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from netra_apex.errors import CallFailed, sentence
from netra_apex.tools import crossing
from netra_apex.tools.crossing import Broke, Gave, Refused, Request
from netra_apex.tools.forkserver import Died, ForkServer, ReplyTooLarge
from netra_apex.tools.reach import Place, place_of
from netra_apex.tools.slots import UserSlots
from netra_apex.tools.tool import Tool

MEMORY_BYTES = 1024**3
REPLY_BYTES = 16 * 1024**2

_NOBODYS: Mapping[str, str] = MappingProxyType({})


class BrokeElsewhere(Exception):
    """What a function raised in its own process, or how that process died: a sentence, and a traceback for the log."""

    def __init__(self, said: str, traceback: str) -> None:
        super().__init__(said)
        self.said = said
        self.traceback = traceback


def described(error: BaseException) -> tuple[str, str]:
    """What a function raised, here or in its own process, as a sentence and as a traceback."""
    if isinstance(error, BrokeElsewhere):
        return error.said, error.traceback
    return sentence(error), "".join(traceback.format_exception(error))


class ToolProcesses:
    """Runs functions in processes, at most `size` at once and `per_user` of one user, users in turn.

    A call's process is forked from one that has imported the tool's module and has served nobody, so no call finds what
    another one left. It is killed, with all that it started, when its call ends in whatever way, and when this process
    dies in whatever way. Its environment is `environment`, and of open files it has none of ours. It may have
    `memory_bytes` more than the module takes, and give `reply_bytes`.

    A call costs about 4.5 ms at the median, most of it the fork and the end of a process; the first one of a module
    waits until that is imported, 400 ms for one that imports nothing but this package (both: 2 cores, one busy).
    Belongs to one event loop.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] = _NOBODYS,
        size: int = 16,
        per_user: int = 4,
        memory_bytes: int = MEMORY_BYTES,
        reply_bytes: int = REPLY_BYTES,
    ) -> None:
        self._environment = environment
        self._slots = UserSlots(size=size, per_user=per_user)
        self._memory_bytes = memory_bytes
        self._reply_bytes = reply_bytes
        self._servers: dict[Place, ForkServer] = {}
        self._closed = False

    @property
    def running(self) -> int:
        """Calls whose process is not gone yet."""
        return self._slots.taken

    def prepare(self, tool: Tool) -> None:
        """Has the tool's module imported for its calls, if it is not yet: a run's model is asked meanwhile."""
        # Where that cannot be done, a call says why.
        with contextlib.suppress(CallFailed, OSError):
            if not self._closed:
                self._server(place_of(tool, tool.function))

    async def run(
        self, user_id: str, tool: Tool, arguments: Mapping[str, Any], begins: Callable[[], None] = lambda: None
    ) -> Any:
        """Calls the tool's function in a process, once a slot is free, and returns its value as JSON holds it.

        `begins` is called when the process is about to be forked.

        Raises:
            CallFailed: the function raised it, its value or arguments cannot cross, or the process is stopping.
            BrokeElsewhere: it raised something else, or its process died.
        """
        place = place_of(tool, tool.function)
        request = Request(
            place=place,
            name=tool.function.__qualname__,
            arguments=_pickled(tool, arguments),
            memory_bytes=self._memory_bytes,
        )
        await self._slots.take(user_id)
        try:
            body = await self._asked(tool, request, begins)
        finally:
            self._slots.release(user_id)
        return _value(tool, body)

    def close(self) -> None:
        """Takes no more calls and refuses those that wait."""
        self._closed = True
        self._slots.close()

    async def aclose(self) -> None:
        """Kills what still runs."""
        self.close()
        for server in self._servers.values():
            await server.aclose()
        self._servers.clear()

    async def _asked(self, tool: Tool, request: Request, begins: Callable[[], None]) -> bytes:
        try:
            server = self._server(request.place)
            begins()
            async with server.begin() as forked:
                return await forked.ask(request, self._reply_bytes)
        except Died as died:
            said = f"the process of {tool.name} {died.how}"
        except OSError as error:
            said = f"no process could be started for {tool.name}: {error}"
        except ReplyTooLarge as large:
            limit = f"an isolated tool may give {self._reply_bytes} at most"
            raise CallFailed("error", f"{tool.name} gave {large.size} bytes; {limit}") from None
        raise BrokeElsewhere(said, said)

    def _server(self, place: Place) -> ForkServer:
        server = self._servers.get(place)
        if server is not None and not server.alive:
            server.close()
            server = None
        if server is None:
            server = self._servers[place] = ForkServer(place, self._environment)
        return server


def _pickled(tool: Tool, arguments: Mapping[str, Any]) -> bytes:
    try:
        return pickle.dumps(dict(arguments))
    except Exception as error:
        # Whatever a class of the application's raises when it is pickled.
        raise CallFailed("error", f"the arguments of {tool.name} cannot go to another process: {error}") from error


def _value(tool: Tool, body: bytes) -> Any:
    try:
        match crossing.reply_of(body):
            case Gave(value=value):
                return msgspec.json.decode(value)
            case Refused(code=code, message=message):
                raise CallFailed(code, message)
            case Broke(said=said, traceback=trace):
                raise BrokeElsewhere(said, trace)
    except (ValueError, RecursionError) as error:
        said = f"the process of {tool.name} gave what is no reply: {error}"
        raise BrokeElsewhere(said, said) from error
