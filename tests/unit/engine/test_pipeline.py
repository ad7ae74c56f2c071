"""A pipeline adapts to its data: the planner says which members run, and the report comes last, whatever is missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from tests.support.bounded import run

from netra_apex import (
    AdaptivePipeline,
    AgentRegistry,
    BaseAgent,
    DataPlan,
    Material,
    RunScope,
    Runtime,
    Settings,
    Sufficiency,
    UserExecutionContext,
)
from netra_apex.core.conversations import Post
from netra_apex.core.events import DurableEvent, decode
from netra_apex.core.runs import RunStream
from netra_apex.errors import RegistryError
from netra_apex.testing import ScriptedModel

world: dict[str, Any] = {}


class Planner(BaseAgent):
    """Says what the first word of its task says."""

    name = "planner"
    output_type: ClassVar[Any] = DataPlan

    async def run(self, task: str, scope: RunScope) -> Any:
        world["seen"].append(("planner", task))
        match task.split()[0]:
            case "broken":
                raise LookupError("no plan")
            case "odd":
                return {"sufficiency": "lots"}
            case word:
                return DataPlan(sufficiency=Sufficiency(word), reason="it says so.")


class Untyped(Planner):
    """The same, without saying what it returns."""

    output_type: ClassVar[Any] = None


class Asker(BaseAgent):
    """Asks."""

    name = "asker"

    async def run(self, task: str, scope: RunScope) -> str:
        world["seen"].append(("asker", task))
        return "answered"


class First(BaseAgent):
    """Works first."""

    name = "first"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        world["seen"].append(("first", task))
        if "first-fails" in task:
            raise LookupError("nothing there")
        if "first-rests" in task:
            world["held"].set()
            await world["go"].wait()
        return ["one"]


class Second(BaseAgent):
    """Works second, on what the first has found."""

    name = "second"
    timeout = 0.2

    async def run(self, task: str, scope: RunScope) -> str:
        world["seen"].append(("second", task))
        world["shown"] = [each.content for each in scope.history]
        if "second-hangs" in task:
            await asyncio.Event().wait()
        return "two"


class Third(BaseAgent):
    """Works last."""

    name = "third"

    async def run(self, task: str, scope: RunScope) -> str:
        world["seen"].append(("third", task))
        return "three"


class Reporter(BaseAgent):
    """Tells what it was given."""

    name = "reporter"
    input_type: ClassVar[Any] = Material

    async def run(self, task: Material, scope: RunScope) -> dict[str, Any]:
        if "report-fails" in task.asked:
            raise LookupError("no paper")
        return task.model_dump(mode="json")


class Reader(BaseAgent):
    """A report that reads text."""

    name = "reader"

    async def run(self, task: str, scope: RunScope) -> dict[str, Any]:
        return Material.model_validate_json(task).model_dump(mode="json")


class Line(AdaptivePipeline):
    """A planner, three steps and a report."""

    name = "line"
    planner = Planner
    steps = (First, Second, Third)
    inquirer = Asker
    report = Reporter
    needs: ClassVar[Any] = MappingProxyType({"second": ("first",)})


class Alone(AdaptivePipeline):
    """Has nobody who asks, a report that reads text, and skips what it has no task for."""

    name = "alone"
    planner = Untyped
    steps = (First, Third)
    report = Reader

    def task_for(self, member: type[BaseAgent], material: Material) -> Any:
        return None if member is First else super().task_for(member, material)


@asynccontextmanager
async def runtime(home: Path) -> AsyncIterator[Runtime]:
    registry = AgentRegistry([Line])
    async with Runtime(registry, Settings(home=home, drain_seconds=0.01), model=ScriptedModel([])) as made:
        yield made


async def follow(process: Runtime, run_id: str) -> list[DurableEvent]:
    events = [decode(body) async for seq, body in process.reader.follow("ada", run_id, 0) if seq is not None]
    stream = RunStream()
    for event in events:
        stream.admit(event)
    return events


def clean() -> None:
    world.clear()
    world.update(seen=[], held=asyncio.Event(), go=asyncio.Event())


def played(home: Path, task: str) -> tuple[Any, list[DurableEvent]]:
    async def main() -> tuple[Any, list[DurableEvent]]:
        clean()
        async with runtime(home) as process:
            accepted = await process.admission.post("ada", frozenset(), Post(content=task, agent="line"))
            events = await follow(process, accepted.run_id)
        return getattr(events[-1], "output", events[-1]), events

    return run(main())


def started(events: list[DurableEvent]) -> list[str]:
    return [each.agent for each in events if each.depth == 1 and each.__struct_config__.tag == "agent_started"]


@pytest.mark.parametrize(
    ("sufficiency", "members"),
    [
        ("sufficient", ["planner", "first", "second", "third", "reporter"]),
        ("partial", ["planner", "asker", "first", "second", "third", "reporter"]),
        ("insufficient", ["planner", "asker", "reporter"]),
    ],
)
def test_the_planner_decides_which_members_run_and_the_report_is_the_last(
    tmp_path: Path, sufficiency: str, members: list[str]
) -> None:
    output, events = played(tmp_path, sufficiency)
    assert started(events) == members
    assert list(output["found"]) == members[:-1]
    assert output["missing"] == {}
    assert output["plan"] == {"sufficiency": sufficiency, "reason": "it says so."}
    for member in members:
        told = [each.__struct_config__.tag for each in events if each.agent == member and each.depth == 1]
        assert told == ["agent_started", "agent_thinking", "agent_completed"]
    thoughts = [each.text for each in events if each.depth == 0 and hasattr(each, "text")]
    assert thoughts == ["Looking at what there is to work with.", f"The data is {sufficiency}: it says so."]


def test_a_member_gets_its_task_and_what_it_needs_and_no_more(tmp_path: Path) -> None:
    played(tmp_path, "sufficient please")
    assert world["seen"] == [(name, "sufficient please") for name in ("planner", "first", "second", "third")]
    assert world["shown"] == ['From first:\n["one"]']


def test_a_member_that_fails_is_missing_with_its_reason_and_so_is_who_needs_it(tmp_path: Path) -> None:
    output, events = played(tmp_path, "sufficient first-fails")
    assert started(events) == ["planner", "first", "third", "reporter"]
    assert output["found"].keys() == {"planner", "third"}
    assert output["missing"] == {
        "first": "first failed (agent_error): LookupError: nothing there",
        "second": "there was nothing from first",
    }


def test_a_member_that_hangs_does_not_sink_the_report(tmp_path: Path) -> None:
    output, events = played(tmp_path, "sufficient second-hangs")
    assert output["found"].keys() == {"planner", "first", "third"}
    assert "second was active for longer than 0." in output["missing"]["second"]
    assert started(events)[-1] == "reporter"


def test_a_planner_that_fails_leaves_the_inquirer_and_the_report(tmp_path: Path) -> None:
    output, events = played(tmp_path, "broken")
    assert started(events) == ["planner", "asker", "reporter"]
    assert output["plan"]["sufficiency"] == "insufficient"
    assert output["missing"] == {"planner": "planner failed (agent_error): LookupError: no plan"}


def test_a_report_that_fails_is_a_run_that_failed_and_says_why(tmp_path: Path) -> None:
    ending, _ = played(tmp_path, "sufficient report-fails")
    assert ending.code == "agent_error"
    assert ending.message == "no report could be made: reporter failed (agent_error): LookupError: no paper"


@pytest.mark.parametrize(
    ("task", "found", "missing"),
    [
        ("partial", ["planner", "third"], {"first": "there was nothing to work with"}),
        ("insufficient", ["planner"], {}),
        ("odd", ["planner"], {"planner": "what it returned is no plan: {'sufficiency': 'lots'}"}),
    ],
)
def test_nobody_asks_where_there_is_no_inquirer_and_who_has_no_task_is_skipped(
    tmp_path: Path, task: str, found: list[str], missing: dict[str, str]
) -> None:
    async def main() -> Any:
        clean()
        async with (
            Runtime(AgentRegistry([Alone]), Settings(home=tmp_path), model=ScriptedModel([])) as process,
            process.engines.for_user(UserExecutionContext.new("ada")) as engine,
        ):
            return (await engine.run("alone", task)).output

    output = run(main())
    assert Alone.members == (Untyped, First, Third, Reader)
    assert (list(output["found"]), output["missing"]) == (found, missing)


def test_members_that_have_ended_are_not_run_again_after_a_restart(tmp_path: Path) -> None:
    async def main() -> tuple[list[DurableEvent], list[str], list[str]]:
        clean()
        async with runtime(tmp_path) as process:
            post = Post(content="sufficient first-rests", agent="line")
            accepted = await process.admission.post("ada", frozenset(), post)
            await world["held"].wait()
        before = [name for name, _ in world["seen"]]
        clean()
        world["go"].set()
        async with runtime(tmp_path) as process:
            events = await follow(process, accepted.run_id)
        return events, before, [name for name, _ in world["seen"]]

    events, before, after = run(main())
    assert (before, after) == (["planner", "first"], ["first", "second", "third"])
    assert started(events) == ["planner", "first", "second", "third", "reporter"]
    assert events[-1].output["found"]["third"] == "three"


def test_a_pipeline_without_planner_or_report_is_refused() -> None:
    class Half(AdaptivePipeline):
        """Has no report."""

        name = "half"
        planner = Planner

    with pytest.raises(RegistryError, match="its members must be a tuple of agent classes, and not empty"):
        AgentRegistry([Half])
