"""What an honest agent class has is taken, however like a leak it looks."""

import collections
import contextlib
import enum
import functools
import logging
import re
import uuid
import zoneinfo
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, tool
from netra_apex.agents.base import AgentType

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Plain(BaseAgent):
    async def run(self, task: str, scope: RunScope) -> str:
        return task


def agent(**attributes: Any) -> type[BaseAgent]:
    """A fresh agent class with these attributes, made without telling its module."""
    return AgentType("Helper", (Plain,), {"name": "helper"} | attributes)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        logger.debug("called")
        return function(*args, **kwargs)

    return wrapper


def slow(*args: Any) -> int:
    return 1


@dataclass(frozen=True)
class Point:
    x: Any = 0


class Colour(enum.Enum):
    RED = "red"
    BLUE = (1, 2)


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


class Row(NamedTuple):
    number: int = 1


class Shape(TypedDict):
    sides: int


class Answer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    CHOICES: ClassVar[list[str]] = ["a"]
    items: list[str] = []

    @pydantic.field_validator("items")
    @classmethod
    def check(cls, value: list[str]) -> list[str]:
        return value


class Struct(msgspec.Struct):
    items: list[str] = []


@dataclass
class Thawed:
    items: list[str] = field(default_factory=list)


SAFE: dict[str, Any] = {
    "path": Path("a"), "pattern": re.compile("a"), "decimal": Decimal(1), "uuid": uuid.uuid4(),
    "aware": datetime.now(UTC), "zone": zoneinfo.ZoneInfo("UTC"), "ellipsis": ..., "row": Row(),
    "flag": Level.LOW | Level.HIGH,
    "colours": (Colour.RED, Colour.BLUE), "point": Point((1, Path("a"))), "sentinel": object(), "logger": logger,
    "module": re, "lower": str.lower, "length": staticmethod(len), "factory": staticmethod(dict), "join": "".join,
    "literal": Literal["a"], "optional": Optional["int"], "annotated": Annotated[int, "x"], "variable": T,
    "kind": Colour, "shape": Shape, "row_type": Row, "answer": Answer, "thawed": Thawed, "struct": Struct,
    "level": Level, "builtin": collections.OrderedDict, "other": Plain, "abstract": collections.abc.Sized,
    "wrapped": logged(slow), "both": staticmethod(logged(logged(slow))), "output_type": list[Answer],
}  # fmt: skip


@pytest.mark.parametrize("kind", SAFE)
def test_what_cannot_change_is_taken(kind: str) -> None:
    assert AgentRegistry([agent(**{kind: SAFE[kind]})]).names == ("helper",)


def test_everything_that_an_honest_agent_class_has_is_taken() -> None:
    prompt, limit, answer = "Be kind.", 3, Answer

    def shout(text: str, times: int = limit) -> str:
        return again(text, times)

    def again(text: str, times: int) -> str:
        return text if times < 2 else again(text, times - 1) + shout(text, 1)

    @tool
    def find(query: str, limit: int = 5) -> str:
        """Find."""
        return query

    class Honest(ChatAgent, Generic[T]):
        """Has a bit of everything."""

        __slots__ = ("more",)
        name = "honest"
        instructions = prompt
        tools = (find,)
        output_type = Answer
        table: ClassVar[Any] = MappingProxyType({"a": 1})

        class Output(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(frozen=True)
            items: list[str] = []

        class State(enum.Enum):
            ON = 1

        @dataclass
        class Notes:
            lines: list[str] = field(default_factory=list)

        class Broken(Exception):
            pass

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)

        async def run(self, task: str, scope: RunScope) -> Any:
            logger.info(shout(prompt))
            count = 0

            def add() -> None:
                nonlocal count
                count += 1

            add()
            return answer, Honest, re, logger, await super().run(task, scope)

        @property
        def last(self) -> str:
            return self.seen[-1]

        @last.setter
        def last(self, value: str) -> None:
            self.seen.append(value)

        @contextlib.contextmanager
        def lend(self) -> Iterator[str]:
            yield prompt

        @contextlib.asynccontextmanager
        async def hold(self) -> AsyncIterator[str]:
            yield prompt

        @staticmethod
        @logged
        def plain(text: str = "x", *, colour: Colour = Colour.RED) -> str:
            return text

        @classmethod
        def made(cls) -> str:
            return cls.name

    class Child(Honest[int]):
        name = "child"

    assert AgentRegistry([Honest, Child]).names == ("honest", "child")


@pytest.mark.parametrize("options", [{}, {"slots": True}, {"order": True, "kw_only": True}])
def test_an_agent_may_be_a_dataclass(options: Any) -> None:
    @dataclass(**options)
    class Decorated(Plain):
        name = "decorated"
        turns: int = 0
        seen: list[str] = field(default_factory=list)
        fixed: tuple[int, ...] = field(default=(1,), init=False)

    registry = AgentRegistry([Decorated])
    one, two = registry.create("decorated"), registry.create("decorated")
    assert one.seen is not two.seen  # type: ignore[attr-defined]
