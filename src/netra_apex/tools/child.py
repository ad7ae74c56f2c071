"""The process of one call of an isolated tool, from its fork to its end: its limits, the function, the reply."""

import asyncio
import ctypes
import inspect
import os
import pickle
import re
import resource
import signal
import socket
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from netra_apex.errors import CallFailed, sentence
from netra_apex.tools import crossing
from netra_apex.tools.crossing import Broke, Gave, Refused, Reply, Request
from netra_apex.tools.reach import found_in, load
from netra_apex.tools.results import as_json

RESERVE_BYTES = 32 * 1024 * 1024  # what it takes to say that there was not enough memory
TRACEBACK_CHARACTERS = 65_536
PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36

_LIBC = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Makes this process the parent of whatever its descendants leave behind, in whichever session that is."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def held_bytes() -> int:
    """How much memory of its own this process has: what limits are counted from, so that a large application fits."""
    found = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def run_call(data: socket.socket, parent: int, held: int) -> NoReturn:
    """Carries the call that comes over `data` out, and ends the process. Its parent had `held` bytes of its own."""
    code = 1
    try:
        _settle(parent)
        _answer(data, held)
        code = 0
    except BaseException:
        # Nobody is left to tell: the code says that there is no reply, and why stands in the server's stderr.
        traceback.print_exc()
        raise
    finally:
        # Without what the interpreter does at its end: exit functions and threads here are copies of another's.
        os._exit(code)


def _settle(parent: int) -> None:
    """Makes the process one of its own, which does not outlive the one that it was forked from."""
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it had died before that was asked for
    adopt_orphans()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(data: socket.socket, held: int) -> None:
    with data.makefile("rb") as stream:
        request = crossing.request_of(stream.read(crossing.size_of(stream.read(crossing.HEAD))))
    soft = held + request.memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (soft, soft + RESERVE_BYTES))
    try:
        packed = crossing.packed(_carry_out(request))
    except MemoryError as error:
        resource.setrlimit(resource.RLIMIT_DATA, (soft + RESERVE_BYTES, soft + RESERVE_BYTES))
        limit = f"the memory limit of {request.memory_bytes} bytes (NETRA_TOOL_MEMORY_BYTES)"
        packed = crossing.packed(Broke(f"{request.name} needed more than {limit}", _trace(error)))
    data.sendall(packed)


def _carry_out(request: Request) -> Reply:
    try:
        found = found_in(load(request.place), request.name)
        value = _called(found.function, pickle.loads(request.arguments))  # noqa: S301 - its own server has made them
        return Gave(as_json(value)[1])
    except CallFailed as error:
        return Refused(error.code, error.message)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001 - the tool call's boundary: it crosses as a sentence
        return Broke(sentence(error), _trace(error))


def _called(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    value = function(**arguments)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
