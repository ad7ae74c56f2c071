"""What an application's modules still hold when all runs are over: a user's words, where others can reach them."""

import contextlib
import gc
import inspect
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

from netra_apex.agents import AgentRegistry, BaseAgent
from netra_apex.testing.leaks.canaries import Crowd, Person
from netra_apex.tools import Tool

MOST_OBJECTS = 200_000
_OPAQUE = (type, ModuleType, FunctionType, MethodType, property, staticmethod, classmethod)
_PLAIN = (int, float, complex, bool, type(None), range)


class Kept(NamedTuple):
    """A canary in a module: `name` is the global, `attribute` the last attribute on the way, `path` all of the way."""

    module: ModuleType
    name: str
    attribute: str | None
    path: str
    whose: Person


class _Place(NamedTuple):
    path: str
    attribute: str | None
    keyed: str  # keys on the way here, as text: what is kept under its owner's name is its owner's


def modules_of(registry: AgentRegistry) -> tuple[ModuleType, ...]:
    """The application's own modules: those of its agents and tools, and whatever was loaded from beside them."""
    names = {module for name in registry.names for module in _modules(registry.get(name), set())}
    own = [sys.modules[name] for name in names if name in sys.modules and not name.startswith("netra_apex.")]
    folders = {Path(module.__file__).resolve().parent for module in own if module.__file__}
    beside = [module for module in list(sys.modules.values()) if _folder(module) in folders]
    ours = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "netra_apex"]
    return tuple({id(module): module for module in (*own, *beside, *ours)}.values())


def tools_of(registry: AgentRegistry) -> Iterator[tuple[str, Tool]]:
    """Each agent's tools, members' included, as (agent, tool)."""
    seen: set[type[BaseAgent]] = set()
    waiting = deque(registry.get(name) for name in registry.names)
    while waiting:
        agent = waiting.popleft()
        if agent not in seen:
            seen.add(agent)
            yield from ((agent.name, each) for each in getattr(agent, "tools", ()) if isinstance(each, Tool))
            waiting.extend(cast("Iterable[type[BaseAgent]]", getattr(agent, "members", ())))


def kept(modules: Iterable[ModuleType], crowd: Crowd) -> Iterator[Kept]:
    """Every canary that can be reached from what the modules define; of one global and owner, one."""
    modules = tuple(modules)
    names = {module.__name__ for module in modules}
    seen: set[int] = {id(crowd), *map(id, modules)}
    for module in modules:
        for name, value in list(vars(module).items()):
            if name.startswith("__") or _is_elsewhere(value, module):
                continue
            told: set[Person] = set()
            for place, whose in _search(value, name, crowd, names, seen):
                if whose not in told:
                    told.add(whose)
                    yield Kept(module, name, place.attribute, place.path, whose)
    for name, value in os.environ.items():  # noqa: TID251 - whatever an application has put there
        for whose in crowd.owners(value):
            yield Kept(os, "environ", "environ", f"environ[{name!r}]", whose)


def _search(value: object, name: str, crowd: Crowd, names: set[str], seen: set[int]) -> Iterator[tuple[_Place, Person]]:
    waiting: deque[tuple[object, _Place]] = deque([(value, _Place(name, None, ""))])
    while waiting and len(seen) < MOST_OBJECTS:
        found, place = waiting.popleft()
        if isinstance(found, str | bytes):
            for whose in crowd.owners(found):
                if whose.user_id not in place.keyed and whose.canary not in place.keyed:
                    yield place, whose
            continue
        if isinstance(found, _PLAIN) or id(found) in seen:
            continue
        seen.add(id(found))
        waiting.extend(_within(found, place, names))


def _within(found: object, place: _Place, names: set[str]) -> Iterator[tuple[object, _Place]]:
    path, attribute, keyed = place
    if isinstance(found, Mapping):
        with contextlib.suppress(RuntimeError):  # it changes while it is read: then what it had is enough
            for key, value in list(cast("Mapping[object, object]", found).items()):
                yield key, place
                yield value, _Place(f"{path}[{_short(key)}]", attribute, keyed + f" {key!r}")
    elif isinstance(found, list | tuple | set | frozenset | deque):
        for item in list(cast("Iterable[object]", found)):
            yield item, _Place(f"{path}[…]", attribute, keyed)
    elif isinstance(found, FunctionType):
        for default in (*(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values()):
            yield default, _Place(f"{path}'s default", attribute, keyed)
        for cell in found.__closure__ or ():
            with contextlib.suppress(ValueError):  # an empty cell
                yield cell.cell_contents, _Place(f"{path}'s closure", attribute, keyed)
        yield vars(found), place
    elif isinstance(found, MethodType):
        yield found.__self__, place
    elif isinstance(found, type):
        if found.__module__ in names:
            for name, value in list(vars(found).items()):
                if not name.startswith("__"):
                    yield value, _Place(f"{path}.{name}", name, keyed)
    elif isinstance(found, Tool):
        yield found.function, place
    elif not isinstance(found, _OPAQUE):
        yield from _attributes(found, place)


def _attributes(found: object, place: _Place) -> Iterator[tuple[object, _Place]]:
    held = getattr(found, "__dict__", None)
    if isinstance(held, dict):
        for name, value in list(cast("dict[str, object]", held).items()):
            yield value, _Place(f"{place.path}.{name}", name, place.keyed)
    for name in _slots(type(found)):
        value = inspect.getattr_static(found, name, None)
        if value is not None:
            with contextlib.suppress(AttributeError):
                yield getattr(found, name), _Place(f"{place.path}.{name}", name, place.keyed)
    if held is None:
        # What is written in C shows what it holds to the collector alone: a cache's table, a queue's items.
        for value in gc.get_referents(found):
            if not isinstance(value, _OPAQUE):
                yield value, place


def _slots(kind: type) -> Iterator[str]:
    for each in kind.__mro__:
        slots: Any = vars(each).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def _modules(agent: type[BaseAgent], seen: set[type[BaseAgent]]) -> Iterator[str]:
    if agent in seen:
        return
    seen.add(agent)
    yield agent.__module__
    for each in getattr(agent, "tools", ()):
        yield getattr(getattr(each, "function", each), "__module__", agent.__module__)
    for member in getattr(agent, "members", ()):
        yield from _modules(member, seen)


def _folder(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not file or "site-packages" in file or module.__name__.split(".")[0] in sys.stdlib_module_names:
        return None
    return Path(file).resolve().parent


def _is_elsewhere(value: object, module: ModuleType) -> bool:
    """Whether it is a class or function that another module defines, where it is looked at."""
    return isinstance(value, type | FunctionType) and getattr(value, "__module__", None) != module.__name__


def _short(key: object) -> str:
    said = repr(key)
    return said if len(said) <= 40 else said[:39] + "…"
