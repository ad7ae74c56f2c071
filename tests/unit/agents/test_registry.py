"""The registry: nothing that runs could share is let in, nothing that is in can be changed, each run has its own."""

import array
import asyncio
import collections
import enum
import functools
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace
from typing import Any

import msgspec
import pydantic
import pytest
from tests.support.bounded import run

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, ConfigurationError, RunScope, tool
from netra_apex.errors import NotFound, RegistryError
from netra_apex.testing import harness


def agent(label: str = "helper", base: type[BaseAgent] = BaseAgent, **attributes: Any) -> type[BaseAgent]:
    """A fresh agent class with these attributes."""

    async def run(self: BaseAgent, task: str, scope: RunScope) -> str:
        return task

    return type(base)("Helper", (base,), {"name": label, "run": run, "__module__": __name__} | attributes)  # type: ignore[return-value]


def test_a_registry_finds_its_classes_by_name_and_keeps_their_order() -> None:
    one, two = agent("one"), agent("two")
    registry = AgentRegistry([one, two])
    assert (registry.names, registry.default) == (("one", "two"), "one")
    assert registry.get("two") is two
    assert AgentRegistry([agent("one"), agent("two")], default="two").default == "two"
    with pytest.raises(NotFound, match="there is no agent three"):
        registry.get("three")
    with pytest.raises(NotFound):
        registry.create("three")


@pytest.mark.parametrize(
    ("agents", "sentence"),
    [
        (list, "has no agents"),
        (lambda: [agent("one"), agent("one")], "its name 'one' is Helper's already"),
        (lambda: [agent("one")()], "it is an instance; register the class"),
        (lambda: [object], "it is no BaseAgent"),
        (lambda: ["one"], "it is an instance"),
        (lambda: [BaseAgent], "it lacks run"),
        (lambda: [agent("")], "its name '' is not"),
        (lambda: [agent("Helper")], "its name 'Helper' is not"),
        (lambda: [agent("a b")], "its name 'a b' is not"),
        (lambda: [agent("x" * 65)], "is not lower case"),
        (lambda: [agent("a\n")], "is not lower case"),
        (lambda: [agent(label=None)], "its name None is not"),  # type: ignore[arg-type]
        (lambda: [agent(run=lambda self, task, scope: task)], "its run is not async"),
        (lambda: [agent(__init__=lambda self, model: None)], "its constructor needs model"),
        (lambda: [agent(__init__=lambda self, *, model: None)], "its constructor needs model"),
    ],
)
def test_what_is_no_agent_is_refused_and_told_why(agents: Any, sentence: str) -> None:
    with pytest.raises(RegistryError, match=sentence) as refused:
        AgentRegistry(agents())
    assert isinstance(refused.value, ConfigurationError)


def test_a_default_that_is_not_there_is_refused() -> None:
    with pytest.raises(RegistryError, match="its default 'two' is none of one"):
        AgentRegistry([agent("one")], default="two")


class Bag:
    """An object with state."""


@dataclass
class Thawed:
    items: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    items: Any = ()


class FrozenStruct(msgspec.Struct, frozen=True):
    items: Any = ()


class ThawedStruct(msgspec.Struct):
    items: Any = ()


class FrozenModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    items: Any = ()


class ThawedModel(pydantic.BaseModel):
    items: Any = ()


class Colour(enum.Enum):
    RED = 1


MUTABLE: dict[str, Any] = {
    "list": [], "dict": {}, "set": set(), "bytearray": bytearray(), "deque": collections.deque(),
    "defaultdict": collections.defaultdict(list), "counter": collections.Counter(), "array": array.array("i"),
    "nested": (1, ([],)), "deeper": (1, (2, frozenset({3}), ({},))), "proxy": MappingProxyType({"a": []}),
    "instance": Bag(), "namespace": SimpleNamespace(), "thawed": Thawed(), "frozen around": Frozen([1]),
    "struct": ThawedStruct(), "frozen struct around": FrozenStruct([1]), "model": ThawedModel(),
    "frozen model around": FrozenModel(items=[1]), "event": asyncio.Event(), "lock": threading.Lock(),
    "local": threading.local(), "cache": functools.lru_cache(lambda: 1), "iterator": iter(()),
    "agent": agent("other")(), "partial": functools.partial(print),
}  # fmt: skip


@pytest.mark.parametrize("kind", MUTABLE)
def test_a_class_attribute_that_could_change_is_refused_and_named(kind: str) -> None:
    value = MUTABLE[kind]
    with pytest.raises(RegistryError, match=r"class attribute stash is a .*every run would share") as refused:
        AgentRegistry([agent(stash=value)])
    assert type(value).__name__ in str(refused.value)
    assert refused.value.agent == "Helper"


@pytest.mark.parametrize("name", ["_stash", "__stash", "_Helper__stash", "_abc_stash", "tools", "instructions"])
def test_no_name_hides_an_attribute_that_could_change(name: str) -> None:
    with pytest.raises(RegistryError, match=name):
        AgentRegistry([agent(base=ChatAgent, **{name: []})])


@pytest.mark.parametrize("module", ["abcorp.agents", "typingtools", "builtins_of_ours", "abc_agents"])
def test_no_modules_name_hides_an_attribute_that_could_change(module: str) -> None:
    with pytest.raises(RegistryError, match="stash"):
        AgentRegistry([agent(stash=[], __module__=module)])


def test_an_inherited_attribute_is_refused_too() -> None:
    with pytest.raises(RegistryError, match="stash"):
        AgentRegistry([agent("child", base=agent("parent", stash=[]))])


@tool
def look_up(query: str) -> str:
    """Looks up."""
    return query


SAFE: dict[str, Any] = {
    "text": "x", "number": 1, "none": None, "tuple": (1, ("a", frozenset({2}))), "frozenset": frozenset({1}),
    "frozen": Frozen((1, 2)), "struct": FrozenStruct((1,)), "model": FrozenModel(items=(1,)), "enum": Colour.RED,
    "time": datetime.now(UTC), "type": dict, "generic": list[int], "union": int | None, "function": lambda self: 1,
    "static": staticmethod(lambda: 1), "class_method": classmethod(lambda cls: 1), "property": property(lambda self: 1),
    "tool": look_up, "tools": (look_up,), "proxy": MappingProxyType({"a": (1,)}), "bytes": b"x", "range": range(3),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAFE)
def test_a_class_attribute_that_cannot_change_is_taken(kind: str) -> None:
    assert AgentRegistry([agent(base=ChatAgent, **{kind: SAFE[kind]})]).names == ("helper",)


def test_a_refused_registry_freezes_nothing() -> None:
    good, bad = agent("good"), agent("bad", stash=[])
    with pytest.raises(RegistryError):
        AgentRegistry([good, bad])
    good.later = 1  # type: ignore[attr-defined]


def test_a_registered_class_can_no_longer_be_changed_nor_can_its_bases() -> None:
    base = agent("base")
    child = agent("child", base=base)
    AgentRegistry([child])
    for changed in (child, base, BaseAgent):
        for name in ("stash", "name", "run", "_private", "_abc_stash", "__doc__"):
            with pytest.raises(RegistryError, match=f"its {name} cannot be set"):
                setattr(changed, name, [])
        with pytest.raises(RegistryError, match="its run cannot be deleted"):
            del changed.run
    assert not hasattr(child, "stash")


def test_a_class_that_is_made_after_others_were_registered_is_its_own_until_it_is() -> None:
    AgentRegistry([agent("before")])
    after = agent("after")
    after.note = "still being made"  # type: ignore[attr-defined]

    @dataclass
    class Decorated(BaseAgent):
        name = "decorated"
        turns: int = 0

        async def run(self, task: str, scope: RunScope) -> str:
            return task

    AgentRegistry([after, Decorated])
    with pytest.raises(RegistryError):
        after.note = "no more"  # type: ignore[attr-defined]


def test_a_class_may_be_in_two_registries() -> None:
    shared = agent("shared")
    assert AgentRegistry([shared]).names == AgentRegistry([shared]).names


def test_create_makes_a_fresh_instance_each_time_and_the_registry_keeps_none() -> None:
    registry = AgentRegistry([agent("one")])
    first, second = registry.create("one"), registry.create("one")
    assert first is not second
    first.stash = ["mine"]  # type: ignore[attr-defined]
    assert not hasattr(second, "stash")
    assert not hasattr(registry.create("one"), "stash")


def test_only_those_whom_a_user_may_run_are_described() -> None:
    registry = AgentRegistry(
        [
            agent("open", __doc__="Does things.\n\nAt length."),
            agent("closed", requires="orders:read"),
            agent("admin", requires="admin"),
        ]
    )
    assert registry.describe(frozenset()) == (("open", "Does things."),)
    assert registry.describe(frozenset({"admin"})) == (("open", "Does things."), ("admin", ""))
    assert [name for name, _ in registry.describe(frozenset({"orders:read"}))] == ["open", "closed"]


class Meeting:
    """Holds all who come until the last one does."""

    def __init__(self, size: int) -> None:
        self.size, self.inside, self.everybody = size, 0, asyncio.Event()

    async def come(self) -> None:
        self.inside += 1
        if self.inside == self.size:
            self.everybody.set()
        await self.everybody.wait()


MEETING = Meeting(50)


class Notes(BaseAgent):
    name = "notes"

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def run(self, task: str, scope: RunScope) -> list[str]:
        assert self.seen == []
        self.seen.append(scope.context.user_id)
        await MEETING.come()
        self.mine = task
        await asyncio.sleep(0)
        self.seen.append(self.mine)
        return self.seen


def test_fifty_runs_at_once_each_see_only_their_own_self() -> None:
    users = [f"user-{number:02}" for number in range(MEETING.size)]

    async def main() -> None:
        async with harness(AgentRegistry([Notes])) as app:
            outcomes = await asyncio.gather(*(app.ask(f"task of {user}", user=user) for user in users))
        assert [outcome.output for outcome in outcomes] == [[user, f"task of {user}"] for user in users]
        assert MEETING.inside == 50

    run(main())
