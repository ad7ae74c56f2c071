"""`BaseAgent`: a name and one method."""

from abc import ABC, ABCMeta, abstractmethod
from typing import Any, ClassVar

from netra_apex.core.scope import RunScope
from netra_apex.errors import RegistryError
from netra_apex.tools.mcp import MCPServer


class AgentType(ABCMeta):
    """The type of agent classes: one that is registered can no longer be changed (G6).

    Why: a class attribute that one request sets is seen by every other user's.
    """

    def __setattr__(cls, name: str, value: object) -> None:
        # Its own mark, not an inherited one: a new subclass of a registered class is still being made.
        if "_registered" in cls.__dict__:
            raise RegistryError(
                cls.__qualname__, f"it is registered, so its {name} cannot be set; keep state in the run"
            )
        super().__setattr__(name, value)

    def __delattr__(cls, name: str) -> None:
        if "_registered" in cls.__dict__:
            raise RegistryError(cls.__qualname__, f"it is registered, so its {name} cannot be deleted")
        super().__delattr__(name)

    def freeze(cls) -> None:
        """Makes this class and the agent classes that it inherits from unchangeable."""
        for each in cls.__mro__:
            if isinstance(each, AgentType) and "_registered" not in each.__dict__:
                type.__setattr__(each, "_registered", True)


class BaseAgent(ABC, metaclass=AgentType):
    """An agent: `name`, and `async run(task, scope)`, which returns the output.

    Each run gets a fresh instance, made without arguments, so `self` belongs to one run of one user. `requires` is
    the permission that a user needs to run it; the docstring's first line is its description. `model` is what
    `scope.model` asks (left out: NETRA_MODEL), `max_turns` how often it may in one run (left out: NETRA_MAX_TURNS).
    `input_type`, any type with fields that pydantic validates, is what its task is, and `timeout` the seconds that it
    may be active (left out: NETRA_AGENT_TIMEOUT_SECONDS); as a member of a supervisor never more than that has left.
    `mcp_servers` are the MCP servers that it uses, declared, or by their names in the file of NETRA_MCP_SERVERS.
    """

    name: ClassVar[str]
    requires: ClassVar[str | None] = None
    model: ClassVar[str | None] = None
    max_turns: ClassVar[int | None] = None
    input_type: ClassVar[Any] = None
    timeout: ClassVar[float | None] = None
    mcp_servers: ClassVar[tuple[MCPServer | str, ...]] = ()

    @abstractmethod
    async def run(self, task: Any, scope: RunScope) -> Any:
        """Does the task and returns its output: a string, or anything that JSON can hold.

        The task is what the user wrote; with an `input_type`, that type.
        """


def description_of(agent: type[BaseAgent]) -> str:
    """What people and models are told of an agent: the first line of its own docstring."""
    return (agent.__dict__.get("__doc__") or "").strip().partition("\n")[0]
