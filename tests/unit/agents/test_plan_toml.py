"""A team in a TOML file: what it says becomes agents, types and a plan; what is wrong with it is said with its key."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from netra_apex import AgentRegistry, ChatAgent, Review, Team
from netra_apex.errors import PlanError

WHOLE = """
name = "crew"
description = "Gets it done."
goal = "Get it done"
partial = true

[facts]
size = "small"

[files]
style = "style.md"

[types.Story]
title = "str"
kind = ["small", "large"]
points = "int?"

[types.Backlog]
stories = "list[Story]"
share = "float"
open = "bool"

[agents.author]
instructions = "You write stories.\\nBriefly."
model = "openai:some"
max_turns = 3
timeout = 60
requires = "stories:write"

[agents.critic]
description = "Reads closely."
instructions = "You review."

[agents.other]
instructions = "You do several things."

[[phases]]
name = "first"

[[phases.missions]]
name = "backlog"
agent = "author"
objective = "Write a backlog."
deliverable = "Backlog"
context = ["request", "size", "style"]
reviewer = "critic"
attempts = 2

[[phases]]
name = "second"

[[phases.missions]]
name = "count"
agent = "other"
objective = "Count."
deliverable = "int"
context = ["backlog.stories"]

[[phases.missions]]
name = "praise"
agent = "other"
objective = "Praise."
after = []
"""


def read(folder: Path, text: str, **known: Any) -> type[Team]:
    (folder / "crew.toml").write_text(text)
    return Team.from_toml(folder / "crew.toml", **known)


def test_a_file_says_what_a_class_would(tmp_path: Path) -> None:
    made = read(tmp_path, WHOLE)
    backlog, count, praise = made.plan.missions
    assert (made.name, made.__doc__, made.plan.goal, made.plan.partial) == (
        "crew",
        "Gets it done.",
        "Get it done",
        True,
    )
    assert made.plan.facts == (("size", "small"),)
    assert made.plan.files == (("style", tmp_path / "style.md"),), "beside the file"
    assert made.plan.waits == {"backlog": (), "count": ("backlog",), "praise": ()}
    assert (backlog.context, backlog.attempts) == (("request", "size", "style"), 2)
    assert (count.deliverable, praise.deliverable) == (int, str)
    author, critic, _ = made.members
    assert (author.name, author.__doc__, author.model) == ("author", "You write stories.", "openai:some")
    assert (author.max_turns, author.timeout, author.requires) == (3, 60, "stories:write")
    assert critic.__doc__ == "Reads closely."
    assert AgentRegistry([made]).describe(frozenset()) == (("crew", "Gets it done."),)


def test_an_agent_of_one_deliverable_has_it_as_its_output_type(tmp_path: Path) -> None:
    author, critic, other = (getattr(each, "output_type") for each in read(tmp_path, WHOLE).members)  # noqa: B009
    assert author.__name__ == "Backlog"
    assert critic is Review
    assert other is None, "it delivers a number and a text"


def test_types_are_validated_as_their_fields_say(tmp_path: Path) -> None:
    backlog = read(tmp_path, WHOLE).plan.missions[0].deliverable
    story = {"title": "A", "kind": "small"}
    made = backlog(stories=[story], share=0.5, open=True)
    assert made.model_dump()["stories"][0]["points"] is None
    for wrong in ({"kind": "medium"}, {"points": "many"}, {"title": 1}):
        with pytest.raises(ValidationError):
            backlog(stories=[story | wrong], share=0.5, open=True)


class Ticket(BaseModel):
    number: int


class Clerk(ChatAgent):
    """Files."""

    name = "clerk"


def is_good(deliverable: Ticket) -> str | None:
    return None


PYTHON = """
name = "desk"
goal = "File it"

[[phases]]
name = "only"

[[phases.missions]]
name = "ticket"
agent = "clerk"
objective = "File it."
deliverable = "list[Ticket]"
criteria = ["is_good"]
"""


def test_a_file_may_name_agents_types_and_criteria_in_python(tmp_path: Path) -> None:
    made = read(tmp_path, PYTHON, agents=(Clerk,), types=(Ticket,), criteria=(is_good,))
    (mission,) = made.plan.missions
    assert (mission.agent, mission.criteria) == (Clerk, (is_good,))
    assert mission.deliverable == tuple[Ticket, ...]
    assert made.__doc__ == "File it"


def test_a_subclass_reads_teams_of_its_own_kind(tmp_path: Path) -> None:
    class Loud(Team):
        """Shouts."""

    (tmp_path / "crew.toml").write_text(WHOLE)
    assert issubclass(Loud.from_toml(str(tmp_path / "crew.toml")), Loud)


WRONG = {
    ('goal = "Get it done"', "goal ="): "Invalid value",
    ('goal = "Get it done"', ""): "goal: Field required",
    ('name = "crew"', 'name = "The Crew"'): "name: String should match pattern",
    ("after = []", "afer = []"): "phases[1].missions[1].afer: Extra inputs are not permitted",
    ('agent = "author"', 'agent = "autor"'): "mission backlog: agent: there is no 'autor'; there are: author,",
    ('reviewer = "critic"', 'reviewer = "x"'): "mission backlog: reviewer: there is no 'x'",
    ('deliverable = "int"', 'deliverable = "Number"'): "mission count: deliverable: there is no 'Number'; there are:",
    ('points = "int?"', 'points = "number"'): "types.Story.points: there is no 'number'",
    ('kind = ["small", "large"]', "kind = []"): "types.Story.kind: it has no words to choose from",
    ('title = "str"', 'title = "list[Backlog]"'): "types: Story, Backlog are made of each other",
    ("max_turns = 3", "max_turns = 0"): "agents.author.max_turns: Input should be greater than or equal to 1",
    ("after = []", 'criteria = ["good"]'): "mission praise: criteria: there is no 'good'; there are: none",
    ("after = []", 'after = ["x"]'): "mission praise comes after 'x', which is no mission",
    ('"backlog.stories"', '"backlog.tasks"'): "'backlog.tasks', and there is no field 'tasks'",
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG)
def test_what_is_wrong_is_said_with_the_file_and_the_key(tmp_path: Path, change: tuple[str, str]) -> None:
    before, after = change
    assert before in WHOLE
    with pytest.raises(PlanError) as refused:
        read(tmp_path, WHOLE.replace(before, after))
    assert str(tmp_path / "crew.toml") in str(refused.value)
    assert WRONG[change] in str(refused.value)


def test_a_file_that_is_not_there_or_names_what_python_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="No such file"):
        Team.from_toml(tmp_path / "none.toml")
    author = type("Author", (ChatAgent,), {"name": "author"})
    with pytest.raises(PlanError, match=r"agents\.author: there is an agent of this name in Python, too"):
        read(tmp_path, WHOLE, agents=(author,))
    story = type("Story", (BaseModel,), {})
    with pytest.raises(PlanError, match=r"types\.Story: there is a type of this name in Python, too"):
        read(tmp_path, WHOLE, types=(story,))
