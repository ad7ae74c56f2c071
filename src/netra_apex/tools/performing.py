"""Having a tool's function run where it belongs: on the event loop, in a thread, or in a process of its own."""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any

from netra_apex.tools.calls import Call, Done
from netra_apex.tools.host import ToolHost
from netra_apex.tools.results import as_returned, tell
from netra_apex.tools.tool import Tool


async def perform(host: ToolHost, user_id: str, call: Call, tool: Tool, arguments: dict[str, Any]) -> Done:
    """Runs the function, and keeps in the call whether it is still at work.

    Raises:
        BaseException: whatever the function raised, or `CallFailed` where its value is no JSON.
    """
    value = await _value(host, user_id, call, tool, arguments)
    told = tell(value, host.result_bytes, host.redactor)
    if tool.isolated and call.by_code:
        value = as_returned(tool.function, value)
    return Done(value, told)


async def _value(host: ToolHost, user_id: str, call: Call, tool: Tool, arguments: dict[str, Any]) -> Any:
    def begins() -> None:
        call.at_work = True

    if tool.isolated:
        with _left_behind(call):
            return await host.processes.run(user_id, tool, arguments, begins)
    if tool.is_async:
        return await _awaited(call, tool.function(**arguments))
    with _left_behind(call):
        value: Any = await host.threads.run(user_id, partial(tool.function, **arguments), begins)
    if inspect.isawaitable(value):  # a decorator may hide that its function is async
        return await _awaited(call, value)
    return value


async def _awaited(call: Call, value: Awaitable[Any]) -> Any:
    call.at_work = True
    try:
        return await value
    finally:
        # A cancel has reached it, or it has ended by itself; one that ignores its cancellation does not come here.
        call.at_work = False


@contextlib.contextmanager
def _left_behind(call: Call) -> Generator[None]:
    """A cancel ends the waiting alone: the thread runs on, the process was killed nobody knows where."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException:
        call.at_work = False
        raise
    call.at_work = False
