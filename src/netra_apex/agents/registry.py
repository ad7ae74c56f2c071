"""`AgentRegistry`: which agents there are. Filled once, then frozen; it makes instances and keeps none."""

import inspect
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import cast

from netra_apex.agents.base import BaseAgent, description_of
from netra_apex.agents.serving import Service
from netra_apex.agents.sharing import check_sharing, detach
from netra_apex.agents.supervisor import FILES, HISTORY, SupervisorAgent
from netra_apex.core.permissions import allows
from netra_apex.errors import ConfigurationError, NotFound, RegistryError
from netra_apex.tools.mcp import MCPServer

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class AgentRegistry:
    """An immutable table from name to agent class. `create(name)` is the engine's `agent_factory`.

    `default` names the agent of a message that names none; with one agent it may be left out.

    Raises:
        RegistryError: two agents of one name, an instance instead of a class, a class that needs arguments, or
            anything on the class that could change and so would be shared between users (`agents/sharing.py`).
    """

    def __init__(self, agents: Iterable[type[BaseAgent]], *, default: str | None = None) -> None:
        table: dict[str, type[BaseAgent]] = {}
        known: dict[str, type[BaseAgent]] = {}
        for agent in agents:
            _check(agent, known)
            if agent.name in table:
                raise RegistryError(agent.__qualname__, f"its name {agent.name!r} is {agent.__qualname__}'s already")
            table[agent.name] = agent
        if not table:
            raise RegistryError("AgentRegistry", "it has no agents")
        if default is None:
            default = next(iter(table))
        elif default not in table:
            raise RegistryError("AgentRegistry", f"its default {default!r} is none of {', '.join(table)}")
        for agent in known.values():
            detach(agent)
            agent.freeze()
        self._table: Mapping[str, type[BaseAgent]] = MappingProxyType(table)
        self._default = default
        self._models = frozenset(getattr(agent, "model", None) for agent in known.values())
        self._servers = tuple(server for agent in known.values() for server in agent.mcp_servers)
        self._services: tuple[Service, ...] = ()

    @property
    def default(self) -> str:
        """The agent of a message that names none."""
        return self._default

    @property
    def names(self) -> tuple[str, ...]:
        """Every agent's name, in the order of registration."""
        return tuple(self._table)

    @property
    def models(self) -> frozenset[str | None]:
        """The models that its agents name, members included; None is the one of the settings."""
        return self._models

    @property
    def mcp_servers(self) -> tuple[MCPServer | str, ...]:
        """What all agents declare, members included."""
        return self._servers

    def get(self, name: str) -> type[BaseAgent]:
        """The class.

        Raises:
            NotFound: there is no such agent.
        """
        agent = self._table.get(name)
        if agent is None:
            raise NotFound("agent", name)
        return agent

    def create(self, name: str) -> BaseAgent:
        """A fresh instance, which is one run's own."""
        return self.get(name)()

    @contextmanager
    def served(self, service: Service) -> Generator[None]:
        """For the time that a `Runtime` runs these agents: `service` is then to be had from here."""
        self._services += (service,)
        try:
            yield
        finally:
            self._services = tuple(each for each in self._services if each is not service)

    @property
    def service(self) -> Service:
        """The running `Runtime`'s, for callers that were given nothing but the registry.

        Raises:
            ConfigurationError: no `Runtime` of this process runs these agents, or more than one does.
        """
        match self._services:
            case (service,):
                return service
            case ():
                raise ConfigurationError("no runtime runs this registry's agents: enter `async with Runtime(…)` first")
            case several:
                said = f"{len(several)} runtimes run this registry's agents: get the engine from one of them"
                raise ConfigurationError(said)

    def describe(self, permissions: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """(name, description) of the agents that somebody with these permissions may run."""
        return tuple(
            (name, description_of(agent)) for name, agent in self._table.items() if allows(permissions, agent.requires)
        )


def _check(agent: object, known: dict[str, type[BaseAgent]]) -> None:
    """Checks a class, and those that it hands work to; `known` has by name what was checked."""
    if not isinstance(agent, type):
        raise RegistryError(type(agent).__qualname__, "it is an instance; register the class, each run makes its own")
    if not issubclass(agent, BaseAgent):
        raise RegistryError(agent.__qualname__, "it is no BaseAgent")
    name = agent.__qualname__
    if inspect.isabstract(agent):
        raise RegistryError(name, f"it lacks {', '.join(sorted(agent.__abstractmethods__))}")
    label: object = getattr(agent, "name", None)
    if not isinstance(label, str) or not _NAME.fullmatch(label):
        raise RegistryError(name, f"its name {label!r} is not lower case letters, digits, _ or - (at most 64)")
    if known.setdefault(label, agent) is not agent:
        other = known[label].__qualname__
        raise RegistryError(name, f"its name {label!r} is {other}'s already")
    if not inspect.iscoroutinefunction(agent.run):
        raise RegistryError(name, "its run is not async")
    check_sharing(agent)
    _check_servers(agent)
    _check_constructor(agent)
    if issubclass(agent, SupervisorAgent):
        _check_members(agent, known)


def _check_servers(agent: type[BaseAgent]) -> None:
    servers = cast("object", agent.mcp_servers)
    held = cast("tuple[object, ...]", servers) if isinstance(servers, tuple) else (None,)
    if not all(isinstance(each, MCPServer | str) for each in held):
        raise RegistryError(agent.__qualname__, "its mcp_servers must be a tuple of MCPServer, or of their names")
    names = [each if isinstance(each, str) else each.name for each in agent.mcp_servers]
    if len(set(names)) < len(names):
        raise RegistryError(agent.__qualname__, "two of its mcp_servers have one name")


def _check_members(agent: type[SupervisorAgent], known: dict[str, type[BaseAgent]]) -> None:
    if not isinstance(cast("object", agent.members), tuple) or not agent.members:
        raise RegistryError(agent.__qualname__, "its members must be a tuple of agent classes, and not empty")
    names = [getattr(member, "name", None) for member in agent.members]
    for tool in agent.tools:
        if tool.name.removeprefix("delegate_") in names:
            raise RegistryError(agent.__qualname__, f"its tool {tool.name} has the name of a member's")
    for name in agent.share:
        if name not in (FILES, HISTORY):
            said = f"it shares {name!r}; the model can hand on {HISTORY!r} and {FILES!r} alone"
            raise RegistryError(agent.__qualname__, said)
    for member in agent.members:
        if member not in known.values():
            _check(member, known)


def _check_constructor(agent: type[BaseAgent]) -> None:
    for parameter in inspect.signature(agent).parameters.values():
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise RegistryError(agent.__qualname__, f"its constructor needs {parameter.name}; runs make it without")
