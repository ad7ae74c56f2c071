"""What a finished call gives back to an agent's code: a value of the type that its function says it returns."""

import sys
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import ModuleType
from typing import Any, Literal, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel, Field, RootModel
from tests.unit.tools.support import bench, hosting, run
from typing_extensions import TypedDict

from netra_apex.core.journal import Journal, Step
from netra_apex.errors import CallFailed
from netra_apex.tools import Tool, tool


class Colour(Enum):
    RED = "red"


@dataclass
class Room:
    number: int
    colour: Colour = Colour.RED
    free: list[date] = field(default_factory=list[date])


@dataclass(frozen=True)
class Floor:
    rooms: tuple[Room, ...]
    best: Room | None


class Guest(BaseModel):
    name: str
    since: datetime
    age: int | None = Field(default=None, alias="yearsOld")


class Ids(RootModel[list[int]]):
    pass


class Seat(msgspec.Struct):
    row: int
    taken: tuple[date, ...] = ()
    beside: "Seat | None" = None


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    day: date


@tool
async def a_room() -> Room:
    return Room(7, free=[date(2030, 1, 2)])


@tool
async def a_floor() -> Floor:
    return Floor((Room(1), Room(2)), best=Room(1))


@tool
async def a_guest() -> Guest:
    return Guest(name="Ada", since=datetime(2030, 1, 2, 3, 4, 5, 6), yearsOld=30)


@tool
async def guests() -> dict[int, list[Guest]]:
    return {7: [Guest(name="Ada", since=datetime(2030, 1, 2, 3, 4, 5, 6))]}


@tool
def in_a_thread() -> Guest | Room:
    return Room(7)


@tool
async def ids() -> Ids:
    return Ids([1, 2])


@tool
async def a_pair() -> tuple[int, Point]:
    return 1, Point(2, 3)


@tool
async def a_set() -> set[Colour]:
    return {Colour.RED}


@tool
async def bytes_of_text() -> bytes:
    return b"abc"


@tool
async def times() -> tuple[timedelta, Decimal, Row, Literal["a", 1]]:
    return timedelta(days=1, microseconds=5), Decimal("1.10"), {"day": date(2030, 1, 2)}, 1


@tool
async def a_seat() -> Seat:
    return Seat(1, (date(2030, 1, 2),), Seat(2))


@tool
async def nothing() -> None:
    return None


@tool
async def a_text() -> str:
    return "\0é😀\n"


@tool
async def anything() -> Any:
    return {"a": [1, None, 0.5]}


@tool
async def unsaid():
    return {"a": [1, None]}


@tool
async def large() -> list[Room]:
    return [Room(number) for number in range(2_000)]


@tool
async def long() -> str:
    return "x" * 200_000


@tool
async def not_what_it_says() -> int:
    return {"a": 1}  # type: ignore[return-value]


async def given(made: Tool, journal: Journal, **host: Any) -> tuple[Any, list[Step]]:
    """What this call gives an agent's code, and what it leaves in the journal."""
    async with hosting(**host) as where:
        run_of = bench(made, host=where, journal=journal)
        value = await run_of.dispatcher.call(made)
        steps = {step.key: step for step in run_of.recorder.steps}.values()
        return value, [msgspec.json.decode(msgspec.json.encode(step), type=Step) for step in steps]


def twice(made: Tool, **host: Any) -> tuple[Any, Any]:
    """What a call gives, and what it gives when its run was taken up after it."""

    async def main() -> tuple[Any, Any]:
        first, steps = await given(made, Journal(), **host)
        second, anew = await given(made, Journal(steps), **host)
        assert anew == [], "it was not run again"
        return first, second

    return run(main())


TOOLS = [
    a_room,
    a_floor,
    a_guest,
    guests,
    in_a_thread,
    ids,
    a_pair,
    a_set,
    bytes_of_text,
    times,
    a_seat,
    nothing,
    a_text,
    anything,
    unsaid,
    large,
    long,
]


@pytest.mark.parametrize("made", TOOLS, ids=lambda made: made.name)
def test_a_finished_call_gives_a_value_of_the_type_that_it_gave(made: Tool) -> None:
    first, second = twice(made)
    assert second == first
    assert repr(second) == repr(first), "down to what is in it"
    assert type(second) is type(first)


@pytest.mark.parametrize("made", [a_guest, large, long, a_text, ids], ids=lambda made: made.name)
def test_a_value_beyond_the_limit_of_what_is_told_comes_back_whole(made: Tool) -> None:
    first, second = twice(made, result_bytes=40)
    assert repr(second) == repr(first)


def test_a_model_is_answered_with_the_same_cut_text() -> None:
    async def main() -> None:
        async with hosting(result_bytes=100) as host:
            before = bench(large, host=host)
            answers = await before.ask(("large", "{}"))
            assert len(answers[0].encode()) <= 100
            steps = [step for step in before.recorder.steps if step.state == "finished"]
            again = bench(large, host=host, journal=Journal(steps))
            assert await again.ask(("large", "{}")) == answers

    run(main())


def test_a_function_that_does_not_keep_to_its_annotation_gives_the_json_of_what_it_gave() -> None:
    assert twice(not_what_it_says) == ({"a": 1}, {"a": 1})


HOTEL = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netra_apex.tools import tool

if TYPE_CHECKING:
    from netra_apex import RunScope


@dataclass
class Suite:
    number: int


@tool
async def find(scope: RunScope) -> Suite:
    return Suite(7)
"""


def test_a_type_of_a_module_that_imports_the_scope_for_the_type_checker_alone_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hotel: Any = ModuleType("hotel")
    monkeypatch.setitem(sys.modules, "hotel", hotel)
    exec(HOTEL, vars(hotel))
    assert twice(hotel.find) == (hotel.Suite(7), hotel.Suite(7))


def test_a_value_that_came_back_belongs_to_its_caller() -> None:
    async def main() -> None:
        _, steps = await given(a_room, Journal())
        values = [(await given(a_room, Journal(steps)))[0] for _ in range(2)]
        values[0].free.clear()
        assert values[1] == Room(7, free=[date(2030, 1, 2)])

    run(main())


def test_a_value_that_is_no_json_is_a_failure_both_times() -> None:
    @tool
    async def stream() -> object:
        return object()

    async def main() -> None:
        before = bench(stream)
        with pytest.raises(CallFailed) as first:
            await before.dispatcher.call(stream)
        again = bench(stream, journal=Journal([before.recorder.steps[-1]]))
        with pytest.raises(CallFailed) as second:
            await again.dispatcher.call(stream)
        assert (second.value.code, str(second.value)) == (first.value.code, str(first.value))

    run(main())
