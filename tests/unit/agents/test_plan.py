"""The plan of a team: what can be carried out is taken, everything else refused with a sentence that names it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from netra_apex import AgentRegistry, Assignment, BaseAgent, ChatAgent, Mission, Phase, Plan, RunScope, Team
from netra_apex.agents.assignment import form_for, received
from netra_apex.agents.report import MissionReport, percent, report_of
from netra_apex.errors import PlanError, RegistryError
from netra_apex.tools.validation import problem_of


class Inner(BaseModel):
    rule: str


class Parts(BaseModel):
    left: Inner
    right: Inner


class Worker(ChatAgent):
    """Works."""

    name = "worker"


class Checker(ChatAgent):
    """Checks."""

    name = "checker"


class Picky(BaseAgent):
    """Takes a form of its own."""

    name = "picky"
    input_type = Inner

    async def run(self, task: Inner, scope: RunScope) -> str:
        return task.rule


class Reader(Picky):
    """Takes assignments."""

    name = "reader"
    input_type = Assignment


def mission(name: str, *context: str, **how: Any) -> Mission:
    return Mission(name, how.pop("agent", Worker), how.pop("objective", f"Do {name}."), context=context, **how)


def plan(*phases: list[Mission], **how: Any) -> Plan:
    named = tuple(Phase(f"phase{number}", tuple(missions)) for number, missions in enumerate(phases))
    return Plan(goal=how.pop("goal", "Get it done"), phases=named, **how)


def test_a_mission_waits_for_the_whole_phase_before_unless_it_says_otherwise() -> None:
    made = plan(
        [mission("a"), mission("b")],
        [mission("c"), mission("d", after=("a",)), mission("e", after=())],
        [mission("f", "a")],
    )
    assert made.waits == {
        "a": (),
        "b": (),
        "c": ("a", "b"),
        "d": ("a",),
        "e": (),
        "f": ("c", "d", "e", "a"),
    }


def test_what_a_mission_is_shown_it_waits_for() -> None:
    made = plan([mission("parts", deliverable=Parts)], [mission("left", "parts.left", "request", after=())])
    assert made.waits["left"] == ("parts",)


def test_a_mission_may_wait_for_another_of_its_phase() -> None:
    assert plan([mission("b", "a"), mission("a")]).waits == {"b": ("a",), "a": ()}


def test_a_mission_delivers_what_it_says_else_what_its_agent_does_else_text() -> None:
    typed: Any = type("Typed", (Worker,), {"name": "typed", "output_type": Inner})
    made = plan([mission("a", agent=typed), mission("b", agent=typed, deliverable=Parts), mission("c")])
    assert [each.deliverable for each in made.missions] == [Inner, Parts, str]


def test_everything_behind_a_mission_is_found() -> None:
    made = plan([mission("a"), mission("b")], [mission("c", after=("a",))], [mission("d"), mission("e", after=())])
    assert made.behind("a") == ("c", "d")
    assert made.behind("b") == ()


def test_who_works_and_reviews_is_named_once_each() -> None:
    made = plan([mission("a", reviewer=Checker), mission("b"), mission("c", agent=Reader)])
    assert made.agents == (Worker, Checker, Reader)


def test_facts_and_files_given_as_mappings_cannot_change_afterwards() -> None:
    facts = {"size": "small"}
    made = plan([mission("a", "size", "style")], facts=facts, files={"style": Path("style.md")})
    facts["size"] = "large"
    assert made.facts == (("size", "small"),)
    assert made.files == (("style", Path("style.md")),)
    assert plan([mission("a")], facts=made.facts).facts == made.facts


def criterion(deliverable: Any) -> None:
    return None


PARTS = mission("p", deliverable=Parts)
WRONG = {
    "it has no goal": lambda: plan([mission("a")], goal=" "),
    "each plan has phases, and each phase missions": lambda: plan([mission("a")], []),
    "it has 65 missions; 64 is the most": lambda: plan([mission(f"m{number}") for number in range(65)]),
    "the name 'A' is not lower case": lambda: plan([mission("A")]),
    "there are two of the name 'a'": lambda: plan([mission("a")], [mission("a")]),
    "there are two of the name 'request'": lambda: plan([mission("request")]),
    "there are two of the name 'b'": lambda: plan([mission("b")], facts={"b": ""}),
    "there are two of the name 'twice'": lambda: replace(
        plan([mission("a")]), phases=(Phase("twice", (mission("a"),)), Phase("twice", (mission("b"),)))
    ),
    "mission a: it has no objective": lambda: plan([mission("a", objective="")]),
    "mission a: attempts is from 1 to 10, not 0": lambda: plan([mission("a", attempts=0)]),
    "mission a: its agent is no agent class": lambda: plan([mission("a", agent=Worker())]),
    "mission a: its reviewer is no agent class": lambda: plan([mission("a", reviewer=str)]),
    "its agent picky takes <class": lambda: plan([mission("a", agent=Picky)]),
    "mission a: its criteria are functions": lambda: plan([mission("a", criteria=("good",))]),
    "is no type that pydantic validates": lambda: plan([mission("a", deliverable=object())]),
    "mission b comes after 'x', which is no mission": lambda: plan([mission("b", after=("x",))]),
    "mission a waits for b, which is in a later phase": lambda: plan([mission("a", "b")], [mission("b", after=())]),
    "missions wait for each other: ": lambda: plan([mission("a", "b"), mission("b", "a")]),
    "its context names 'x', which is none of 'request'": lambda: plan([mission("a", "x")]),
    "its context names 'request.x', which is none of": lambda: plan([mission("a", "request.x")]),
    "'p.middle', and there is no field 'middle'": lambda: plan([PARTS, mission("a", "p.middle")]),
    "'p.left.x', and there is no field 'x'": lambda: plan([PARTS, mission("a", "p.left.x")]),
    "'p.length', and there is no field 'length'": lambda: plan([mission("p"), mission("a", "p.length")]),
}


@pytest.mark.parametrize("reason", WRONG)
def test_a_plan_that_cannot_be_carried_out_is_refused_with_the_reason(reason: str) -> None:
    with pytest.raises(PlanError) as refused:
        WRONG[reason]()
    assert reason in str(refused.value)


def test_a_team_takes_nothing_but_a_plan() -> None:
    with pytest.raises(PlanError, match="its plan is a str"):
        type("Wrong", (Team,), {"name": "wrong", "plan": "first this"})


def test_the_members_of_a_team_are_those_of_its_plan() -> None:
    made = type("Right", (Team,), {"name": "right", "plan": plan([mission("a", reviewer=Checker)])})
    assert made.members == (Worker, Checker)
    assert type("Below", (made,), {"name": "below"}).members == (Worker, Checker)


@pytest.mark.parametrize(
    "deliverable",
    [dict[str, list[int]], Annotated[int, Field(ge=0)], Literal["yes", "no"], Inner | None, tuple[Inner, ...]],
)
def test_a_plan_can_be_registered_with_every_kind_of_deliverable(deliverable: Any) -> None:
    made = plan([mission("a", deliverable=deliverable, criteria=(criterion, lambda _: None))])
    AgentRegistry([type("Right", (Team,), {"name": "right", "plan": made})])


def test_a_plan_through_which_runs_could_share_something_is_refused() -> None:
    seen: list[Any] = []

    def remembering(deliverable: Any) -> None:
        seen.append(deliverable)

    made = plan([mission("a", criteria=(remembering,))])
    with pytest.raises(RegistryError, match="closes over seen"):
        AgentRegistry([type("Leaky", (Team,), {"name": "leaky", "plan": made})])


def test_per_cent_are_rounded_and_never_a_hundred_too_early() -> None:
    assert [percent(done, 8) for done in range(9)] == [0, 13, 25, 38, 50, 63, 75, 88, 100]
    assert percent(63, 64) == 98


def ended(name: str, status: Any, **how: Any) -> MissionReport:
    return MissionReport(name=name, agent="worker", phase="phase0", status=status, **how)


def test_a_report_says_how_far_it_is_what_failed_and_what_that_blocks() -> None:
    made = plan([mission("a"), mission("b")], [mission("c", after=("a",)), mission("d", after=("b",))])
    report = report_of(
        made,
        {
            "a": ended("a", "failed", problems=("Too short.", "Too late."), attempts=2),
            "b": ended("b", "done", deliverable={"x": 1}, attempts=1),
            "c": ended("c", "blocked", problems=("a is not done.",)),
            "d": ended("d", "done", deliverable="ok", attempts=1),
        },
    )
    assert report.percent == 50
    assert report.headline == "2 of 4 missions are done (50 %); failed: a."
    assert report.blockers == ("a (worker) failed after 2 attempts: Too short. Too late. It blocks c.",)
    assert report.text.splitlines()[2] == report.headline
    assert "| phase0 | a | worker | failed | 2 |" in report.text
    assert f"- {report.blockers[0]}" in report.text
    assert report.text.endswith("\n\n## d\n\nok")
    assert "## b" not in report.text, "d has made something of it"


def test_a_report_tells_what_came_of_the_last_missions_that_are_done() -> None:
    made = plan([mission("a"), mission("b")], [mission("c", after=("a", "b"))])
    done = {
        "a": ended("a", "done", deliverable={"x": ["ä", 1]}, attempts=1),
        "b": ended("b", "done", deliverable="text", attempts=1),
    }
    report = report_of(made, {**done, "c": ended("c", "failed", problems=("No.",), attempts=1)})
    assert report.text.endswith('\n\n## a\n\n```json\n{\n  "x": [\n    "ä",\n    1\n  ]\n}\n```\n\n## b\n\ntext')
    report = report_of(made, {**done, "c": ended("c", "done", deliverable="all", attempts=1)})
    assert report.text.endswith("| phase1 | c | worker | done | 1 |\n\n## c\n\nall".replace("phase1", "phase0"))


def test_a_report_without_failures_has_no_blockers() -> None:
    report = report_of(plan([mission("a")]), {"a": ended("a", "done", attempts=1)})
    assert (report.percent, report.blockers, report.headline) == (100, (), "1 of 1 missions are done (100 %).")
    assert "Blockers" not in report.text


def test_an_assignment_reads_as_its_objective_what_is_shown_the_form_and_what_was_wrong() -> None:
    shown = {"request": "now", "parts": {"n": 1}}
    told = Assignment(mission="a", objective="Do it.", context=shown, form={"type": "x"}, problems=("no",))
    assert told.text == (
        '# Mission: a\n\nDo it.\n\n## request\n\nnow\n\n## parts\n\n{"n": 1}\n\n## Form\n\n'
        'Answer with JSON of this schema and nothing else: {"type": "x"}\n\n'
        "## What was wrong with the last attempt\n\n- no"
    )
    assert Assignment(mission="a", objective="Do it.").text == "# Mission: a\n\nDo it."
    assert told.as_task_of(Worker) == told.text
    assert told.as_task_of(Reader) is told


def test_who_does_not_know_the_form_is_told_it() -> None:
    assert form_for(Worker, str) is None
    assert form_for(type("Typed", (Worker,), {"output_type": Inner}), Inner) is None
    form = form_for(Worker, Inner)
    assert form is not None
    assert form["required"] == ["rule"]


def test_an_output_is_taken_as_its_type_or_as_the_json_of_it() -> None:
    assert received(Inner, {"rule": "x"}) == Inner(rule="x")
    assert received(Inner, Inner(rule="x")) == Inner(rule="x")
    assert received(Inner, '{"rule": "x"}') == Inner(rule="x")
    assert received(str, '{"rule": "x"}') == '{"rule": "x"}'
    for wrong in ({"rule": 1}, "no JSON", 7):
        with pytest.raises(ValueError, match="validation error"):
            received(Inner, wrong)


def test_a_problem_says_where_it_is() -> None:
    with pytest.raises(ValueError, match="validation error") as wrong:
        received(Parts, {"left": {"rule": 1}, "right": {"rule": ""}})
    assert problem_of(wrong.value) == "left.rule: Input should be a valid string"  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="validation error") as wrong:
        received(int, "x")
    assert problem_of(wrong.value).startswith("Invalid JSON")  # type: ignore[arg-type]
