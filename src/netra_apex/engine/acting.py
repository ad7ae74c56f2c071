"""An agent's code at work: given its task, held to its time, and whatever it does, an ending comes of it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import structlog
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from netra_apex.agents import BaseAgent
from netra_apex.core.events import AgentCompleted, AgentFailed, Ending
from netra_apex.engine.lent import Lent
from netra_apex.engine.scope import EngineScope
from netra_apex.errors import AgentFailed as AgentBroke
from netra_apex.errors import NetraError, Refused, RunFailed, StoreError, sentence
from netra_apex.tools.validation import adapter_of, problem_of

OUTPUT_BYTES = 4 * 1024 * 1024  # of an agent's output as JSON: it is an event, and readers are told it whole

log = structlog.get_logger()


def made(create: Callable[[], BaseAgent], whose: dict[str, str]) -> BaseAgent | AgentBroke:
    """A fresh instance, or why there is none: a constructor is the agent's code, and fails as the agent does.

    `whose` names it in the server's log.
    """
    try:
        return create()
    except Refused:
        raise  # there is no such agent
    except BaseException as error:
        # The run's boundary. Nothing is awaited here, so that no cancellation of ours is lost.
        log.exception("agent failed", **whose)
        return AgentBroke(sentence(error))


async def act(instance: BaseAgent, task: Any, scope: EngineScope) -> Any:
    """Has the agent do its task; its output is JSON."""
    scope.adopt()
    try:
        output = await instance.run(task_for(instance, task), scope)
    except (SystemExit, KeyboardInterrupt) as error:
        # asyncio would hand it to the loop, and one agent's exit() would end everybody's server.
        raise AgentBroke(f"the agent asked the process to exit: {sentence(error)}") from error
    if isinstance(output, Iterator):
        raise AgentBroke("the agent's output is an iterator, which is no JSON; return a list")
    try:
        # Here, where it is the agent's: an output may have a serialiser of its own.
        plain = to_jsonable_python(output, inf_nan_mode="null")
        size = len(msgspec.json.encode(plain))
    except (PydanticSerializationError, ValueError, RecursionError) as problem:
        raise AgentBroke(f"the agent's output cannot be told: {problem}") from problem
    if size > OUTPUT_BYTES:
        raise AgentBroke(f"the agent's output has {size} bytes; {OUTPUT_BYTES} is the most")
    return plain


def task_for(instance: BaseAgent, task: Any) -> Any:
    """The task as the agent takes it: where it declares an `input_type`, a message is JSON of that type.

    Raises:
        AgentFailed: the message is not.
    """
    if instance.input_type is None or not isinstance(task, str):
        return task
    try:
        return adapter_of(instance.input_type).validate_json(task)
    except ValidationError as error:
        said = f"{instance.name} takes {instance.input_type.__name__} as JSON: {problem_of(error)}"
        raise AgentBroke(said) from error


def outcome(running: "asyncio.Task[Any]", lent: Lent, began: float, whose: dict[str, str]) -> Ending:
    """The ending that an agent's task came to; `whose` names it in the server's log.

    Raises:
        StoreError: what it told could not be stored, which is not the agent's fault.
    """
    if running.cancelled():
        return ending_of(AgentBroke("the agent cancelled itself"))
    error = running.exception()
    if isinstance(error, RunFailed):
        return ending_of(error)
    if isinstance(error, StoreError):
        raise error
    if error is not None:
        log.error("agent failed", **whose, exc_info=error)
        return ending_of(AgentBroke(sentence(error)))
    duration = round((time.perf_counter() - began) * 1000)
    return AgentCompleted(output=running.result(), usage=lent.usage, duration_ms=duration)


def ending_of(error: Exception) -> AgentFailed:
    """How an agent ends that broke with this."""
    if isinstance(error, RunFailed):
        return AgentFailed(code=error.code, message=str(error), retryable=error.retryable)
    said = str(error) if isinstance(error, NetraError) else sentence(error)
    return AgentFailed(code="agent_error", message=said, retryable=False)


async def let_go(running: "asyncio.Task[Any]", lent: Lent, seconds: float) -> None:
    """Stops the agent, which has so long to let go."""
    # First of all: an agent that catches its cancellation must not begin anything more.
    lent.close()
    running.cancel()
    await asyncio.wait({running}, timeout=seconds)
    if not running.done():
        log.warning("agent ignores its cancellation", agent=lent.line[-1])
        running.add_done_callback(forget)


def forget(task: "asyncio.Task[Any]") -> None:
    """How this task ended interests nobody any more; it is asked for so that asyncio does not complain."""
    if not task.cancelled():
        task.exception()
