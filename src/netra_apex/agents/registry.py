"""`AgentRegistry`: which agents there are. Filled once, then frozen; it makes instances and keeps none."""

import enum
import inspect
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
    UnionType,
)
from typing import Any, cast
from uuid import UUID

from netra_apex.agents.base import BaseAgent
from netra_apex.core.permissions import allows
from netra_apex.errors import NotFound, RegistryError
from netra_apex.tools import Tool

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VALUES = (
    str, bytes, int, float, complex, type(None), type(...), date, time, timedelta, tzinfo, Decimal, UUID, PurePath,
    re.Pattern, enum.Enum, range,
)  # fmt: skip
_DEFINITIONS = (
    type, FunctionType, BuiltinFunctionType, staticmethod, classmethod, property, MemberDescriptorType, ModuleType,
    GenericAlias, UnionType, logging.Logger, Tool,
)  # fmt: skip


class AgentRegistry:
    """An immutable table from name to agent class. `create(name)` is the engine's `agent_factory`.

    `default` names the agent of a message that names none; with one agent it may be left out.

    Raises:
        RegistryError: two agents of one name, an instance instead of a class, a class that needs arguments, or a
            class attribute that could change and so would be shared between users.
    """

    def __init__(self, agents: Iterable[type[BaseAgent]], *, default: str | None = None) -> None:
        table: dict[str, type[BaseAgent]] = {}
        for agent in agents:
            _check(agent)
            if agent.name in table:
                other = table[agent.name]
                raise RegistryError(agent.__qualname__, f"its name {agent.name!r} is {other.__qualname__}'s already")
            table[agent.name] = agent
        if not table:
            raise RegistryError("AgentRegistry", "it has no agents")
        if default is None:
            default = next(iter(table))
        elif default not in table:
            raise RegistryError("AgentRegistry", f"its default {default!r} is none of {', '.join(table)}")
        for agent in table.values():
            agent.freeze()
        self._table: Mapping[str, type[BaseAgent]] = MappingProxyType(table)
        self._default = default

    @property
    def default(self) -> str:
        """The agent of a message that names none."""
        return self._default

    @property
    def names(self) -> tuple[str, ...]:
        """Every agent's name, in the order of registration."""
        return tuple(self._table)

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

    def describe(self, permissions: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """(name, description) of the agents that somebody with these permissions may run."""
        return tuple(
            (name, _description(agent)) for name, agent in self._table.items() if allows(permissions, agent.requires)
        )


def _description(agent: type[BaseAgent]) -> str:
    return (agent.__dict__.get("__doc__") or "").strip().partition("\n")[0]


def _check(agent: object) -> None:
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
    if not inspect.iscoroutinefunction(agent.run):
        raise RegistryError(name, "its run is not async")
    _check_constructor(agent)
    for owner in agent.__mro__:
        if owner.__module__ in ("builtins", "abc", "typing") or owner is BaseAgent:
            continue
        for attribute, value in vars(owner).items():
            _check_attribute(name, attribute, value)


def _check_constructor(agent: type[BaseAgent]) -> None:
    for parameter in inspect.signature(agent).parameters.values():
        if parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise RegistryError(agent.__qualname__, f"its constructor needs {parameter.name}; runs make it without")


def _check_attribute(agent: str, attribute: str, value: object) -> None:
    if attribute.startswith("__") and attribute.endswith("__") and attribute not in ("__init__", "__call__"):
        return
    if attribute in ("_abc_impl", "_registered"):
        return
    if not is_immutable(value):
        raise RegistryError(
            agent,
            f"its class attribute {attribute} is a {type(value).__name__}, which every run would share; "
            "make it a tuple, frozenset or other value, or set it on self in run",
        )
    function: object = cast("Any", value).__func__ if isinstance(value, staticmethod | classmethod) else value
    if isinstance(function, FunctionType):
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            if not is_immutable(default):
                raise RegistryError(
                    agent, f"{attribute} has a default that is a {type(default).__name__}, which every run would share"
                )


def is_immutable(value: object) -> bool:
    """Whether a value cannot change, as far as its type tells: what is not known to be safe is not."""
    if isinstance(value, (*_VALUES, *_DEFINITIONS)):
        return True
    if isinstance(value, tuple | frozenset):
        return all(is_immutable(item) for item in cast("Iterable[object]", value))
    if isinstance(value, MappingProxyType):
        return all(is_immutable(item) for item in cast("Mapping[Any, object]", value).values())
    if type(value).__module__ in ("typing", "typing_extensions"):
        return True
    if is_dataclass(value) and cast("Any", value).__dataclass_params__.frozen:
        return all(is_immutable(getattr(value, name)) for name in cast("Any", value).__dataclass_fields__)
    config = getattr(type(value), "model_config", None)
    if isinstance(config, dict) and cast("dict[str, object]", config).get("frozen"):
        return all(is_immutable(item) for item in vars(value).values())
    struct = getattr(type(value), "__struct_config__", None)
    if struct is not None and struct.frozen:
        return all(is_immutable(getattr(value, name)) for name in cast("Any", value).__struct_fields__)
    return False
