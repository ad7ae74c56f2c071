"""What the runs of all users would share through an agent class: found at registration, before it can leak (G6).

Runs share the class, so all that the class holds must be unable to change: its attributes, and what its methods
remember (default arguments, variables of the function around them, attributes of the function). What is not known to
be safe is not. Nothing is skipped by a module's name, as anybody may set that.
"""

import contextlib
import dataclasses
import dis
import enum
import functools
import logging
import re
import reprlib
import typing
import zoneinfo
from abc import ABC
from collections import abc, deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    UnionType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
import typing_extensions
from pydantic import BaseModel

from netra_apex.agents.base import AgentType, BaseAgent
from netra_apex.agents.wrapped import Wrapped
from netra_apex.errors import RegistryError
from netra_apex.tools import Tool


class Flaw(NamedTuple):
    """Why a value could change, as the end of a sentence that begins with its name, and what to write instead."""

    problem: str
    advice: str


_VALUE = "make it a tuple, frozenset or other value that cannot change, or set it on self in run"
_METHOD = "make it a plain method or property, and set what it should remember on self"
_DEFAULT = "make the default None, and the object inside the method"
_AROUND = "make the object inside the method, or set it on self in run"
_PROXY = "make it a class attribute of its own, which the registry copies, or a tuple of pairs"


@dataclasses.dataclass
class _Sample:
    """Shows what dataclasses puts into the methods that it writes: its own constants, which cannot be imported."""

    items: list[int] = dataclasses.field(default_factory=list[int])


# Values that hold nothing that could change; a subclass counts if its instances have no room for more.
_ATOMS = (
    str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented), date, datetime, time, timedelta,
    tzinfo, timezone, zoneinfo.ZoneInfo, Decimal, UUID, PurePath, PurePosixPath, PureWindowsPath, Path, PosixPath,
    WindowsPath, re.Pattern, range,
)  # fmt: skip
_DEFINITIONS = (
    type, MemberDescriptorType, GetSetDescriptorType, MethodDescriptorType, WrapperDescriptorType,
    ClassMethodDescriptorType, ModuleType, GenericAlias, UnionType, logging.Logger,
    typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple, typing.NewType, typing.ForwardRef,
    typing_extensions.TypeAliasType, type(typing.Optional), type(typing.List), type(typing.List[int]),  # noqa: UP006
    type(typing_extensions.ReadOnly),
)  # fmt: skip
_OWN_CONSTANTS = (
    vars(BaseAgent)["_abc_impl"], dataclasses.MISSING, *cast("tuple[object, ...]", _Sample.__init__.__defaults__),
)  # fmt: skip
_SENTINELS: frozenset[type] = frozenset({object, Tool, Wrapped, *map(type, _OWN_CONSTANTS)})
_WRAPPERS = (staticmethod, classmethod, property)
_CACHES = (
    type(functools.lru_cache(len)), functools.cached_property, functools.partial, functools.partialmethod,
    functools.singledispatchmethod,
)  # fmt: skip
_CONTAINERS = (abc.MutableSequence, abc.MutableMapping, abc.MutableSet, bytearray, deque)
_READ_ONLY_TYPE = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE: `object` and all that is written in C

# Bases of the standard library that have no state and of which nobody's code sets an attribute.
_STATELESS = frozenset(
    {
        ABC, typing.Generic, typing.Protocol, typing_extensions.Protocol,
        contextlib.AbstractContextManager, contextlib.AbstractAsyncContextManager,
        *(each for each in vars(abc).values() if isinstance(each, type)),
    }
)  # fmt: skip

# What Python and the makers of classes keep on a class or a function for themselves.
_MACHINERY = frozenset(
    {
        "__module__", "__name__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__slots__", "__annotations__",
        "__annotate__", "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "__parameters__",
        "__orig_bases__", "__type_params__", "__static_attributes__", "__firstlineno__", "__match_args__",
        "__protocol_attrs__", "__non_callable_proto_members__", "__signature__",
    }
)  # fmt: skip
_MAKERS = ("__dataclass_", "__pydantic_", "__attrs_")
# What makers of records keep under plain names.
_RECORD_TABLES = frozenset({"model_config", "_field_defaults"})
# A class body's own cells, which its methods see but cannot name.
_CLASS_CELLS = frozenset({"__class__", "__classdict__", "__conditional_annotations__"})
# Each of these guards a `__repr__` against recursion by a set of the calls that are under way.
_GUARDS = frozenset(
    {cast("FunctionType", reprlib.recursive_repr()(repr)).__code__, cast("Any", _Sample.__repr__).__code__}
)


def check_sharing(agent: type[BaseAgent]) -> None:
    """Refuses a class through which two runs could reach the same object and change it.

    Raises:
        RegistryError: with the attribute and what to do instead.
    """
    name = agent.__qualname__
    for owner in agent.__mro__:
        if owner in _STATELESS or owner.__flags__ & _READ_ONLY_TYPE:
            continue
        if not isinstance(owner, AgentType):
            base = owner.__qualname__
            reason = f"its base {base} is no agent, so it would not be frozen and what one run sets on it every run"
            raise RegistryError(name, f"{reason} would share; derive {base} from BaseAgent (it needs no name or run)")
        for attribute, value in vars(owner).items():
            flaw = None if _is_machinery(attribute) else _flaw_of_attribute(value)
            if flaw is not None:
                kind = "method" if isinstance(value, FunctionType | staticmethod | classmethod) else "class attribute"
                sentence = f"its {kind} {attribute} {flaw.problem}, which every run would share; {flaw.advice}"
                raise RegistryError(name, sentence)


def check_code(agent: str, what: str, code: object) -> None:
    """Refuses code of an agent of another framework, such as a tool's function, that remembers what could change.

    Raises:
        RegistryError: with what it remembers and what to do instead.
    """
    flaw = _flaw_of_function(code, set()) if isinstance(code, FunctionType) else _flaw(code, set())
    if flaw is not None:
        raise RegistryError(agent, f"its {what} {flaw.problem}, which every run would share; {flaw.advice}")


def detach(agent: type[BaseAgent]) -> None:
    """Gives a checked class copies of its read-only mappings, as what they show may be changed by who made them."""
    for owner in agent.__mro__:
        if isinstance(owner, AgentType) and "_registered" not in vars(owner):
            for attribute, value in list(vars(owner).items()):
                if isinstance(value, MappingProxyType):
                    setattr(owner, attribute, MappingProxyType(dict(cast("Mapping[Any, Any]", value))))


def _is_machinery(attribute: str) -> bool:
    return attribute in _MACHINERY or attribute.startswith(_MAKERS)


def _flaw_of_attribute(value: object) -> Flaw | None:
    seen: set[FunctionType] = set()
    if isinstance(value, FunctionType):
        return _flaw_of_function(value, seen)
    if type(value) in _WRAPPERS:
        return _flaw_of_wrapper(value, seen)
    if isinstance(value, MappingProxyType):
        table = cast("Mapping[Any, Any]", value)
        return _flaw_within("mappingproxy", (*table.keys(), *table.values()), seen)
    if isinstance(value, type):
        return _flaw_of_class(value)
    return _flaw(value, seen)


def _flaw_of_wrapper(wrapper: object, seen: set[FunctionType]) -> Flaw | None:
    """Of a staticmethod, classmethod or property, through any number of them."""
    for inner in _wrapped(wrapper):
        if isinstance(inner, FunctionType):
            flaw = _flaw_of_function(inner, seen)
        elif type(inner) in _WRAPPERS:
            flaw = _flaw_of_wrapper(inner, seen)
        else:
            flaw = _flaw(inner, seen)
            if flaw is not None:
                flaw = Flaw(f"is a {type(wrapper).__name__} around what {flaw.problem}", flaw.advice)
        if flaw is not None:
            return flaw
    return None


def _wrapped(wrapper: object) -> tuple[object, ...]:
    if isinstance(wrapper, property):
        return (wrapper.fget, wrapper.fset, wrapper.fdel)
    own = [value for name, value in vars(wrapper).items() if not _is_machinery(name)]
    return (cast("Any", wrapper).__func__, *own)


def _flaw_of_function(function: FunctionType, seen: set[FunctionType]) -> Flaw | None:
    if function in seen:
        return None
    seen.add(function)
    for name, default in _defaults(function):
        flaw = _flaw(default, seen)
        if flaw is not None:
            return Flaw(f"has a default that could change ({name} {flaw.problem})", _DEFAULT)
    if function.__code__ not in _GUARDS:
        flaw = _flaw_of_closure(function, seen)
        if flaw is not None:
            return flaw
    for name, value in vars(function).items():
        if name == "__wrapped__" and isinstance(value, FunctionType):
            flaw = _flaw_of_function(value, seen)
            if flaw is not None:
                return flaw
            continue
        flaw = None if _is_machinery(name) else _flaw(value, seen)
        if flaw is not None:
            return Flaw(f"has an attribute {name} that {flaw.problem}", _METHOD)
    return None


def _flaw_of_closure(function: FunctionType, seen: set[FunctionType]) -> Flaw | None:
    for name in _rebound(function.__code__, frozenset(function.__code__.co_freevars)):
        return Flaw(f"sets {name}, a variable of the function around it", _AROUND)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name in _CLASS_CELLS or name.startswith("."):
            continue
        try:
            held: object = cell.cell_contents
        except ValueError:
            return Flaw(f"closes over {name}, which is not set yet", "register the class after it is")
        flaw = _flaw(held, seen)
        if flaw is not None:
            advice = flaw.advice if isinstance(held, FunctionType) else _AROUND
            return Flaw(f"closes over {name}, which {flaw.problem}", advice)
    return None


def _rebound(code: CodeType, around: frozenset[str]) -> Iterator[str]:
    """The variables from around a function that it, or a function inside it, sets (`nonlocal`)."""
    if around:
        for step in dis.get_instructions(code):
            if step.opname in ("STORE_DEREF", "DELETE_DEREF") and step.argval in around:
                yield str(step.argval)
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                yield from _rebound(inner, around.intersection(inner.co_freevars) - set(code.co_cellvars))


def _defaults(function: FunctionType) -> Iterator[tuple[str, object]]:
    code, defaults = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _flaw_of_class(held: type[Any], within: frozenset[type] = frozenset()) -> Flaw | None:
    """Of a class that an agent names. One made elsewhere is its module's own, but a container in it is an accident.

    A record (pydantic, dataclass, struct) is spared where it stands alone: it is a type of what goes in or out, and the
    tables that it may have are constants.
    """
    if held in within or held.__flags__ & _READ_ONLY_TYPE or isinstance(held, AgentType):
        return None
    members: dict[str, object] = dict(vars(held))
    if issubclass(held, enum.Enum):
        members = {member.name: member.value for member in cast("Iterable[enum.Enum]", held)}
    elif _is_record(held) and "." not in held.__qualname__.rpartition("<locals>.")[2]:
        return None
    for name, value in members.items():
        if name.startswith("__") or name in _RECORD_TABLES:
            continue
        inner = _flaw_of_class(value, within | {held}) if isinstance(value, type) else None
        if inner is not None or _holds_container(value):
            problem = inner.problem if inner is not None else f"is a {type(value).__name__}"
            return Flaw(f"is a class whose {name} {problem}", "make that a tuple, frozenset or other fixed value")
    return None


def _is_record(kind: type[Any]) -> bool:
    return hasattr(kind, "__dataclass_fields__") or issubclass(kind, BaseModel | msgspec.Struct)


def _holds_container(value: object) -> bool:
    if isinstance(value, tuple | frozenset):
        return any(_holds_container(item) for item in cast("Iterable[object]", value))
    return isinstance(value, _CONTAINERS)


def _flaw(value: object, seen: set[FunctionType]) -> Flaw | None:
    """Why a value could change, as far as its type and what it holds tell."""
    kind = type(value)
    if isinstance(value, FunctionType):
        # A module's own function is the module's, as is what it uses.
        return None if "." not in value.__code__.co_qualname else _flaw_of_function(value, seen)
    held = _parts(value)
    if held is not None:
        return _flaw_within(kind.__name__, held, seen)
    if isinstance(value, _CACHES):
        return Flaw(f"is a {kind.__name__}", _METHOD)
    return Flaw(f"is a {kind.__name__}", _PROXY if isinstance(value, MappingProxyType) else _VALUE)


def _flaw_within(kind: str, held: Iterable[object], seen: set[FunctionType]) -> Flaw | None:
    for item in held:
        flaw = _flaw(item, seen)
        if flaw is not None:
            return Flaw(f"is a {kind} with something in it that {flaw.problem}", flaw.advice)
    return None


def _parts(value: object) -> Iterable[object] | None:
    """What an unchangeable value holds, which may change in turn; None if it is not known to be unchangeable."""
    kind = type(value)
    if isinstance(value, _DEFINITIONS) or kind in _SENTINELS:
        return ()
    if isinstance(value, enum.Enum):
        return vars(value).values()
    if isinstance(value, datetime | time):
        return (value.tzinfo,) if _has_no_room(kind) else None
    if isinstance(value, _ATOMS):
        return () if _has_no_room(kind) else None
    if isinstance(value, tuple | frozenset):
        return cast("Iterable[object]", value) if _has_no_room(kind) else None
    if isinstance(value, BuiltinFunctionType):
        return (value.__self__,)  # `seen.append` is the list
    return _parts_of_record(value)


def _parts_of_record(value: object) -> Iterable[object] | None:
    if dataclasses.is_dataclass(value) and "__dataclass_params__" in vars(type(value)):
        if not cast("Any", value).__dataclass_params__.frozen:
            return None
        fields = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
        return (*fields, *getattr(value, "__dict__", {}).values())
    if isinstance(value, BaseModel):
        # A private attribute can be set even where the model is frozen.
        if not value.model_config.get("frozen") or value.__pydantic_private__:
            return None
        return (*vars(value).values(), *(value.__pydantic_extra__ or {}).values())
    if isinstance(value, msgspec.Struct) and value.__struct_config__.frozen:
        return [getattr(value, name) for name in value.__struct_fields__]
    return None


def _has_no_room(kind: type) -> bool:
    """Whether instances of a subclass hold no more than those of the plain type do: neither `__dict__` nor slots."""
    for each in kind.__mro__:
        if each in _ATOMS or each in (tuple, frozenset):
            return True
        if "__dict__" in vars(each) or any(isinstance(held, MemberDescriptorType) for held in vars(each).values()):
            return False
    return False
