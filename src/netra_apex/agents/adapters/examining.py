"""Looking through an object of another framework for what its application has put into it."""

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from netra_apex.agents.sharing import check_code

# Whose objects hold nothing that an application has put into them.
_PLAIN = frozenset({"pydantic", "pydantic_core", "typing_extensions", "anyio", "griffe", *sys.stdlib_module_names})


def examine(agent: str, thing: object, *frameworks: str, unused: tuple[type[Any], ...] = ()) -> None:
    """Refuses an object of these frameworks that was given code, or an object, that could change and runs would share.

    The frameworks' own objects are looked through, as each run has a copy of what it may change in them; but for those
    that are `unused`. What they were given is judged as what an agent class holds (`agents/sharing.py`).

    Raises:
        RegistryError: naming what was found.
    """
    places = tuple(_place(each) for each in frameworks)
    # The objects themselves, as the id of one that is gone may be another's.
    seen: dict[int, object] = {}
    waiting: list[tuple[str, object]] = [("object", thing)]
    while waiting:
        where, held = waiting.pop()
        if id(held) in seen or isinstance(held, (type, ModuleType, ContextVar, *unused)):
            continue
        seen[id(held)] = held
        if isinstance(held, FunctionType):
            if held.__code__.co_filename.startswith(places):
                waiting += _closed_over(held)
            elif not _is_of(held.__module__, _PLAIN):
                around = [each for each in _closed_over(held) if _is_of(type(each[1]).__module__, frameworks)]
                check_code(agent, f"function {held.__name__}", _without(held, {id(value) for _, value in around}))
                waiting += around
        elif (inside := _inside(where, held, frameworks)) is not None:
            waiting += inside
        elif not _is_of(type(held).__module__, _PLAIN):
            check_code(agent, where, held)


def _inside(where: str, held: object, frameworks: tuple[str, ...]) -> list[tuple[str, object]] | None:
    """What is in it, where it is a container or the framework's own object."""
    if isinstance(held, MethodType):
        return [(f"method {held.__name__} of a {type(held.__self__).__name__}, which", held.__self__)]
    if isinstance(held, partial):
        return [(where, each) for each in (held.func, *held.args, *held.keywords.values())]
    if isinstance(held, Mapping):
        table = cast("Mapping[Any, Any]", held)
        return [(key if isinstance(key, str) else where, value) for key, value in table.items()]
    if isinstance(held, list | tuple | set | frozenset):
        return [(where, value) for value in cast("list[object]", held)]
    if _is_of(type(held).__module__, frameworks):
        return [(name.strip("_"), value) for name, value in _held_by(held)]
    return None


def _is_of(module: str | None, packages: frozenset[str] | tuple[str, ...]) -> bool:
    return (module or "").partition(".")[0] in packages


def _place(framework: str) -> str:
    found = find_spec(framework)
    assert found is not None
    locations = found.submodule_search_locations
    assert locations
    return f"{Path(locations[0])}/"


def _closed_over(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue  # it is not set


def _without(function: FunctionType, looked_through: set[int]) -> FunctionType:
    """The function as it were without the frameworks' objects that it closes over, which are looked through."""
    cells = function.__closure__ or ()
    closed = [name for name, value in _closed_over(function) if id(value) in looked_through]
    names = zip(function.__code__.co_freevars, cells, strict=True)
    closure = tuple(CellType(None) if name in closed else cell for name, cell in names)
    same = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, closure or None
    )
    same.__kwdefaults__ = function.__kwdefaults__
    vars(same).update(vars(function))
    return same


def _held_by(held: object) -> Iterator[tuple[str, object]]:
    yield from getattr(held, "__dict__", {}).items()
    if dataclasses.is_dataclass(held):
        yield from ((field.name, getattr(held, field.name, None)) for field in dataclasses.fields(held))
