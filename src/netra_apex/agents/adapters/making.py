"""Making an agent class of what is no class: the part that the adapters have in common."""

import re
from typing import Any, TypedDict

from netra_apex.agents.base import AgentType, BaseAgent
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.scope import RunScope


class AgentOptions(TypedDict, total=False):
    """What may be said of any agent: the class attributes of `BaseAgent`, but for its name and model."""

    requires: str | None
    max_turns: int | None
    input_type: Any
    timeout: float | None


def make_agent(
    base: type[BaseAgent], name: str, description: str | None, attributes: dict[str, Any]
) -> type[BaseAgent]:
    """A class of this base for the registry, with a name that errors can show."""
    label = "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", name)) or base.__name__
    made: Any = AgentType(
        label, (base,), {"name": name, "__doc__": description, "__module__": base.__module__} | attributes
    )
    return made


def takes_ours(kind: object) -> bool:
    """Whether an agent that declares this as its deps or its context can be given the run's scope or context."""
    return kind in (None, object, type(None), RunScope, UserExecutionContext)


def ours(kind: object, scope: RunScope) -> RunScope | UserExecutionContext:
    """What such an agent is given."""
    return scope.context if kind is UserExecutionContext else scope
