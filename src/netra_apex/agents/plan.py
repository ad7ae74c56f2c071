"""The plan of a team as values: phases with missions. A plan that cannot be carried out is refused when it is made."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.errors import PydanticUserError

from netra_apex.agents.assignment import Assignment
from netra_apex.agents.base import BaseAgent
from netra_apex.errors import PlanError
from netra_apex.tools.validation import adapter_of

REQUEST = "request"  # in `context`: what the team was asked
ATTACHMENTS = "attachments"  # and the texts of the files that the thread has
MOST_MISSIONS = 64
MOST_ATTEMPTS = 10

Criterion: TypeAlias = Callable[[Any], str | None]
"""Says what is wrong with a deliverable, or None; of the same one always the same, as a run may be played again."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Mission:
    """One piece of work: who does it, what for, from what, and what must come of it.

    `context` is all that its agent is shown besides the objective: `"request"`, `"attachments"`, and names of missions,
    facts and files; `"design.api"` is one field of a deliverable. `deliverable` is any type that pydantic validates;
    left out, it is the agent's `output_type`, or text. Then each of the `criteria` is asked, then the `reviewer`. What
    is not accepted is tried again, `attempts` times in all, with what was wrong. `after` are the missions that it waits
    for besides those of its `context`; left out, all of the phase before.
    """

    name: str
    agent: type[BaseAgent]
    objective: str
    deliverable: Any = None
    context: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    reviewer: type[BaseAgent] | None = None
    attempts: int = 1
    after: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.deliverable is None:
            object.__setattr__(self, "deliverable", getattr(self.agent, "output_type", None) or str)


@dataclass(frozen=True, slots=True)
class Phase:
    """Missions that belong together, which wait for the phase before unless they say otherwise."""

    name: str
    missions: tuple[Mission, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a team is to do: `phases` one after the other, and the `facts` and `files` that missions may be shown.

    `facts` and `files` are mappings by name; a file is read when a run first needs it. With `partial`, a run of which
    missions have failed completes with the report that says so; without, it fails.

    Raises:
        PlanError: it cannot be carried out, and why.
    """

    goal: str
    phases: tuple[Phase, ...]
    facts: "Mapping[str, str] | tuple[tuple[str, str], ...]" = ()
    files: "Mapping[str, Path] | tuple[tuple[str, Path], ...]" = ()
    partial: bool = False

    def __post_init__(self) -> None:
        # Pairs, as a plan is on a class, and a mapping may be changed by who made it.
        object.__setattr__(self, "facts", _pairs(self.facts))
        object.__setattr__(self, "files", tuple((name, Path(path)) for name, path in _pairs(self.files)))
        problem = next(_problems(self), None)
        if problem is not None:
            raise PlanError(self.goal, problem)

    @property
    def missions(self) -> tuple[Mission, ...]:
        """All of them, in the plan's order."""
        return tuple(mission for phase in self.phases for mission in phase.missions)

    @property
    def agents(self) -> tuple[type[BaseAgent], ...]:
        """Who does the missions and reviews them, each once."""
        found = [agent for each in self.missions for agent in (each.agent, each.reviewer) if agent is not None]
        return tuple(dict.fromkeys(found))

    @property
    def waits(self) -> Mapping[str, tuple[str, ...]]:
        """The missions that each waits for, by name."""
        return _waits(self)

    def phase_of(self, name: str) -> str:
        """The phase that a mission is in."""
        return next(phase.name for phase in self.phases for mission in phase.missions if mission.name == name)

    def behind(self, name: str) -> tuple[str, ...]:
        """The missions that cannot begin unless this one is done, however far down, in the plan's order."""
        waits = self.waits
        found = {name}
        for each in TopologicalSorter(waits).static_order():
            if found.intersection(waits[each]):
                found.add(each)
        return tuple(each for each in waits if each in found and each != name)


def _pairs(given: "Mapping[str, Any] | tuple[tuple[str, Any], ...]") -> tuple[tuple[str, Any], ...]:
    return tuple(given.items()) if isinstance(given, Mapping) else given


def _waits(plan: Plan) -> dict[str, tuple[str, ...]]:
    names = {mission.name for mission in plan.missions}
    waits: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for phase in plan.phases:
        for mission in phase.missions:
            shown = (name.partition(".")[0] for name in mission.context)
            after = before if mission.after is None else mission.after
            waits[mission.name] = tuple(dict.fromkeys((*after, *(name for name in shown if name in names))))
        before = tuple(mission.name for mission in phase.missions)
    return waits


def _problems(plan: Plan) -> Iterator[str]:
    """What is wrong with a plan, the first thing first: what comes later may rest on it."""
    missions = plan.missions
    if not plan.goal.strip():
        yield "it has no goal"
    if not missions or not all(phase.missions for phase in plan.phases):
        yield "each plan has phases, and each phase missions"
    if len(missions) > MOST_MISSIONS:
        yield f"it has {len(missions)} missions; {MOST_MISSIONS} is the most"
    yield from _bad_names(plan)
    for mission in missions:
        yield from (f"mission {mission.name}: {each}" for each in _bad_mission(mission))
    yield from _bad_order(plan)
    for mission in missions:
        yield from (f"mission {mission.name}: {each}" for each in _bad_context(plan, mission))


def _bad_names(plan: Plan) -> Iterator[str]:
    phases = [phase.name for phase in plan.phases]
    shown = [mission.name for mission in plan.missions] + [name for name, _ in (*plan.facts, *plan.files)]
    for name in (*phases, *shown):
        if not _NAME.fullmatch(name):
            yield f"the name {name!r} is not lower case letters, digits, _ or - (at most 64)"
    for names in (phases, [REQUEST, ATTACHMENTS, *shown]):
        yield from (f"there are two of the name {name!r}" for name in names if names.count(name) > 1)


def _bad_mission(mission: Mission) -> Iterator[str]:
    if not mission.objective.strip():
        yield "it has no objective"
    if not 1 <= mission.attempts <= MOST_ATTEMPTS:
        yield f"attempts is from 1 to {MOST_ATTEMPTS}, not {mission.attempts}"
    for role, agent in (("agent", mission.agent), ("reviewer", mission.reviewer)):
        if agent is None and role == "reviewer":
            continue
        if not isinstance(agent, type) or not issubclass(agent, BaseAgent):  # pyright: ignore[reportUnnecessaryIsInstance]
            yield f"its {role} is no agent class"
        elif agent.input_type not in (None, Assignment):
            yield f"its {role} {agent.name} takes {agent.input_type!r}; it must take text, or Assignment"
    if not all(callable(criterion) for criterion in mission.criteria):
        yield "its criteria are functions"
    try:
        adapter_of(mission.deliverable).json_schema()
    except (PydanticUserError, TypeError):
        yield f"its deliverable {mission.deliverable!r} is no type that pydantic validates"


def _bad_order(plan: Plan) -> Iterator[str]:
    waits, place = plan.waits, {each.name: at for at, phase in enumerate(plan.phases) for each in phase.missions}
    for name, after in waits.items():
        for each in after:
            if each not in place:
                yield f"mission {name} comes after {each!r}, which is no mission"
            elif place[each] > place[name]:
                yield f"mission {name} waits for {each}, which is in a later phase"
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        yield f"missions wait for each other: {' → '.join(reversed(error.args[1]))}"


def _bad_context(plan: Plan, mission: Mission) -> Iterator[str]:
    deliverables = {each.name: each.deliverable for each in plan.missions}
    others = {REQUEST, ATTACHMENTS, *(name for name, _ in (*plan.facts, *plan.files))}
    for shown in mission.context:
        name, *fields = shown.split(".")
        if name in deliverables:
            yield from _bad_fields(shown, deliverables[name], fields)
        elif fields or name not in others:
            known = f"{REQUEST!r}, {ATTACHMENTS!r}, a mission, a fact or a file"
            yield f"its context names {shown!r}, which is none of {known}"


def _bad_fields(shown: str, kind: Any, fields: Sequence[str]) -> Iterator[str]:
    for field in fields:
        known = kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
        if field not in known:
            yield f"its context names {shown!r}, and there is no field {field!r} of a pydantic model"
            return
        kind = known[field].annotation
