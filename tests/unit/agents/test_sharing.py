"""The ways in which two users' runs could reach one object through an agent class: each is refused."""

import abc
import collections
import contextlib
import enum
import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, tzinfo
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar

import pydantic
import pytest

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope
from netra_apex.agents.base import AgentType
from netra_apex.errors import RegistryError

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Plain(BaseAgent):
    async def run(self, task: str, scope: RunScope) -> str:
        return task


def agent(**attributes: Any) -> type[BaseAgent]:
    """A fresh agent class with these attributes, made without telling its module."""
    return AgentType("Helper", (Plain,), {"name": "helper"} | attributes)


def refusal(made: type[BaseAgent]) -> str:
    with pytest.raises(RegistryError) as refused:
        AgentRegistry([made])
    assert refused.value.agent == made.__qualname__
    return refused.value.reason


# --- What methods remember


def positional(self: Any, seen: list[str] = []) -> None:  # noqa: B006 - the point of the tests
    pass


def keyword(self: Any, *, seen: dict[str, str] = {}) -> None:  # noqa: B006 - the point of the tests
    pass


def later(self: Any, first: int = 1, *, seen: Any = (1, [])) -> None:
    pass


async def run_with_default(self: Any, task: str, scope: RunScope, seen: list[str] = []) -> None:  # noqa: B006
    pass


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        logger.debug("called")
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    "attributes",
    [
        {"look": positional},
        {"look": keyword},
        {"look": later},
        {"look": staticmethod(positional)},
        {"look": classmethod(keyword)},
        {"look": staticmethod(staticmethod(positional))},
        {"look": property(positional)},
        {"look": property(None, keyword)},
        {"look": logged(positional)},
        {"look": (1, later.__get__(1).__func__, logged(logged(keyword)))},
        {"__init__": positional},
        {"__call__": positional},
        {"run": run_with_default},
    ],
)
def test_a_methods_mutable_default_argument_is_refused_and_named_however_it_is_wrapped(attributes: Any) -> None:
    (name,) = attributes
    reason = refusal(agent(**attributes))
    assert re.search(rf"its (method|class attribute) {name} .*a default that could change \(seen is a ", reason)
    assert "make the default None" in reason


def slow(*args: Any) -> int:
    return 1


@pytest.mark.parametrize(
    "value",
    [
        functools.cache(slow),
        staticmethod(functools.lru_cache(slow)),
        classmethod(functools.cache(slow)),  # type: ignore[arg-type]
        staticmethod(staticmethod(functools.cache(slow))),
        classmethod(property(functools.cache(slow))),  # type: ignore[arg-type]
        property(functools.cache(slow)),
        functools.cached_property(slow),
        functools.partial(slow, []),
        staticmethod(functools.partial(slow, [])),
        functools.partialmethod(slow, []),
        functools.singledispatchmethod(slow),
        (functools.cache(slow),),
    ],
)
def test_a_cached_function_is_refused_however_it_is_wrapped(value: Any) -> None:
    reason = refusal(agent(look=value))
    assert "look" in reason
    assert "make it a plain method or property, and set what it should remember on self" in reason


@pytest.mark.parametrize("value", [{}, [], set(), bytearray(), [].append, {}.get])
def test_a_wrapper_around_what_is_no_function_is_refused(value: Any) -> None:
    assert "look is a staticmethod around what is a" in refusal(agent(look=staticmethod(value)))


def test_a_bound_method_of_a_container_is_refused() -> None:
    assert "stash is a builtin_function_or_method with something in it that is a list" in refusal(
        agent(stash=[].append)
    )


class Bag:
    """An object with state."""


@pytest.mark.parametrize("held", [[], {}, set(), Bag(), (1, []), functools.cache(slow), [].append, iter(())])
def test_a_method_that_closes_over_what_could_change_is_refused_and_the_variable_named(held: Any) -> None:
    def look(self: Any) -> Any:
        return held

    def indirectly(self: Any) -> Any:
        return look(self)

    def deeper(self: Any) -> Any:
        return [look for _ in (1,)]

    assert f"its method look closes over held, which is a {type(held).__name__}" in refusal(agent(look=look))
    for function in (indirectly, deeper, logged(look), logged(logged(indirectly))):
        for wrapped in (function, staticmethod(function), classmethod(function), property(function)):
            assert "held" in refusal(agent(look=wrapped))


def test_a_method_that_sets_a_variable_of_the_function_around_it_is_refused() -> None:
    last = ""

    def look(self: Any, user_id: str) -> None:
        nonlocal last
        last = user_id

    def inside(self: Any, user_id: str) -> None:
        def deeper() -> None:
            nonlocal last
            last = user_id

        deeper()

    for function in (look, inside):
        assert "its method look sets last, a variable of the function around it" in refusal(agent(look=function))


def test_a_method_that_closes_over_what_is_not_set_yet_is_refused() -> None:
    def look(self: Any) -> Any:
        return late

    assert "closes over late, which is not set yet" in refusal(agent(look=look))
    late = 1
    AgentRegistry([agent(look=look)])


def test_what_is_kept_on_a_function_is_refused() -> None:
    def look(self: Any) -> None:
        pass

    look.seen = []  # type: ignore[attr-defined]
    assert "its method look has an attribute seen that is a list" in refusal(agent(look=look))


# --- Where it is kept


class Mixin:
    last = ""

    def look(self) -> str:
        return self.last


def test_a_base_that_is_no_agent_is_refused_as_a_run_could_set_its_attributes() -> None:
    class Mixed(Mixin, Plain):
        name = "mixed"

    reason = refusal(Mixed)
    assert "its base Mixin is no agent" in reason
    assert "derive Mixin from BaseAgent" in reason


def test_a_mixin_that_is_an_agent_needs_no_name_and_no_run_and_is_frozen_with_those_that_use_it() -> None:
    class Looks(BaseAgent):
        last = ""

        def look(self) -> str:
            return "looked"

    class Mixed(Looks, ChatAgent):
        name = "mixed"

    assert AgentRegistry([Mixed]).create("mixed").look() == "looked"  # type: ignore[attr-defined]
    with pytest.raises(RegistryError, match="its last cannot be set"):
        Looks.last = "ada"


def test_the_standard_librarys_stateless_bases_are_taken() -> None:
    class Typed(Plain, Generic[T]):
        name = "typed"

    class Concrete(Typed[int]):
        name = "concrete"

    class Managed(Plain, contextlib.AbstractAsyncContextManager["Managed"], abc.ABC):
        name = "managed"

        async def __aexit__(self, *_: object) -> None:
            return None

    class Sized(Plain, collections.abc.Sized):
        name = "sized"

        def __len__(self) -> int:
            return 0

    assert len(AgentRegistry([Typed, Concrete, Managed, Sized]).names) == 4


@pytest.mark.parametrize("module", ["abc", "typing", "builtins", "netra_apex.agents.base"])
def test_no_modules_name_spares_a_class_the_checks(module: str) -> None:
    assert agent().__module__ == "netra_apex.agents.base" or agent().__module__ == "abc"
    assert "stash is a list" in refusal(agent(stash=[]))
    assert "stash is a list" in refusal(agent(stash=[], __module__=module))


@pytest.mark.parametrize("name", ["__cache__", "__stash__", "__call__", "__wrapped__"])
def test_no_dunder_name_hides_an_attribute_that_could_change(name: str) -> None:
    assert f"its class attribute {name} is a dict" in refusal(agent(**{name: {}}))


# --- Values that only look as if they could not change


class Kind(enum.Enum):
    MANY = [1]  # noqa: RUF012 - the point of the tests


class Text(str):  # noqa: SLOT000 - the point of the tests
    """Has room for more."""


class Slotted(str):
    __slots__ = ("last",)


class Number(int):
    pass


class Pair(tuple[int, int]):  # noqa: SLOT001 - the point of the tests
    pass


class Zone(tzinfo):
    pass


@dataclass(frozen=True)
class Point:
    x: Any = 0


class Further(Point):
    """Takes any further attribute, as only its base is frozen."""


class Secret(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    _seen: list[str] = pydantic.PrivateAttr(default_factory=list)


class Typing:
    pass


Typing.__module__ = "typing"


@pytest.mark.parametrize(
    "value",
    [
        Kind.MANY, Text("x"), Slotted("x"), Number(1), Pair((1, 2)), Zone(), datetime(2026, 1, 1, tzinfo=Zone()),
        time(tzinfo=Zone()), Further(), Point([1]), Point(Text("x")), Secret(), Typing(), (Kind.MANY,),
        frozenset({Text("x")}), (MappingProxyType({}),), MappingProxyType({Bag(): 1}), MappingProxyType({1: []}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_value_that_only_looks_unchangeable_is_refused(value: Any) -> None:
    assert f"its class attribute stash is a {type(value).__name__}" in refusal(agent(stash=value))


class Memory:
    items: ClassVar[list[str]] = []


class Around:
    inner = Memory


class Nested(Plain):
    name = "nested"

    class State:
        seen: ClassVar[tuple[Any, ...]] = (1, {})

    class Output(pydantic.BaseModel):
        last: ClassVar[dict[str, str]] = {}


@pytest.mark.parametrize("held", [Memory, Around, Nested.State, Nested.Output])
def test_a_class_that_holds_a_container_is_refused(held: type) -> None:
    assert "its class attribute state is a class whose" in refusal(agent(state=held))


def test_a_nested_class_is_named_with_what_it_holds() -> None:
    assert "its class attribute State is a class whose seen is a tuple" in refusal(Nested)


def test_a_read_only_mapping_is_copied_so_that_who_made_it_cannot_change_it() -> None:
    table = {"a": 1}
    made = agent(table=MappingProxyType(table))
    AgentRegistry([made])
    AgentRegistry([made])
    table["b"] = 2
    assert made.table == {"a": 1}  # type: ignore[attr-defined]


def test_a_dataclass_whose_factory_lends_the_same_list_each_time_is_refused() -> None:
    lent: list[str] = []

    @dataclass
    class Decorated(Plain):
        name = "decorated"
        seen: list[str] = field(default_factory=lambda: lent)

    assert "lent, which is a list" in refusal(Decorated)
