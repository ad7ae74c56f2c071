"""`from_function`: a plain async function as an agent."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from typing_extensions import Unpack

from netra_apex.agents.adapters.making import AgentOptions, make_agent
from netra_apex.agents.base import BaseAgent
from netra_apex.agents.sharing import check_code
from netra_apex.core.scope import RunScope
from netra_apex.errors import RegistryError


def from_function(
    function: Callable[..., Awaitable[Any]], *, name: str, model: str | None = None, **options: Unpack[AgentOptions]
) -> type[BaseAgent]:
    """An agent whose `run` is this function, of the task alone or of the task and the run's `RunScope`.

    Its docstring's first line is the agent's description, what it returns is the agent's output. What the function does
    by its scope is told, journaled and cancelled as in any agent; what it does beside it happens again when the run is
    taken up. As for any agent, a function that closes over what could change is refused by the registry.

    Raises:
        RegistryError: it is no async function, or takes something else.
    """
    label = str(getattr(function, "__qualname__", type(function).__qualname__))
    if not inspect.isfunction(function):
        raise RegistryError(label, "only a function can be an agent by itself; derive a class from BaseAgent")
    if not inspect.iscoroutinefunction(function):
        reason = "it is not async, so that it would hold up everybody; make it async, and what blocks in it a @tool"
        raise RegistryError(label, reason)
    takes_scope = _takes_scope(label, inspect.signature(function))
    check_code(label, "function", function)

    async def run(self: BaseAgent, task: Any, scope: RunScope) -> Any:
        del self
        return await (function(task, scope) if takes_scope else function(task))

    return make_agent(BaseAgent, name, inspect.getdoc(function), {"run": run, "model": model, **options})


def _takes_scope(label: str, signature: inspect.Signature) -> bool:
    needed = [each for each in signature.parameters.values() if each.default is each.empty]
    positional = [each for each in needed if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    if needed != positional or len(needed) not in (1, 2):
        raise RegistryError(label, f"it must take the task, or the task and the scope, and takes {signature}")
    return len(needed) == 2
