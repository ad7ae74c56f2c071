"""A team in a TOML file: its agents, the types of what they deliver, its plan. What is wrong is said with its key."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from netra_apex.agents.assignment import Review
from netra_apex.agents.base import BaseAgent
from netra_apex.agents.chat import ChatAgent
from netra_apex.agents.plan import Criterion, Mission, Phase, Plan
from netra_apex.errors import PlanError

_SCALARS: tuple[Any, ...] = (str, int, float, bool)
_LIST = re.compile(r"list\[(.+)\]")
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
_FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
_TypeName = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*$")]


class TomlTeam(NamedTuple):
    """What a file says of a team."""

    name: str
    description: str
    plan: Plan


class _Table(BaseModel):
    # A key that nobody knows is refused: a misspelled `afer` must not be taken for a mission that waits for nothing.
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Agent(_Table):
    instructions: str
    description: str = ""
    model: str | None = None
    max_turns: Annotated[int, Field(ge=1)] | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    requires: str | None = None


class _Mission(_Table):
    name: str
    agent: str
    objective: str
    deliverable: str = "str"
    context: tuple[str, ...] = ()
    criteria: tuple[str, ...] = ()
    reviewer: str | None = None
    attempts: int = 1
    after: tuple[str, ...] | None = None


class _Phase(_Table):
    name: str
    missions: tuple[_Mission, ...]


class _Document(_Table):
    name: _Name
    goal: str
    description: str = ""
    partial: bool = False
    facts: dict[str, str] = {}
    files: dict[str, str] = {}
    types: dict[_TypeName, dict[_FieldName, str | tuple[str, ...]]] = {}
    agents: dict[_Name, _Agent] = {}
    phases: tuple[_Phase, ...]


class PlanFile:
    """A file with a team, read with what it may name besides its own: agents, types and criteria in Python.

    Files are looked for beside it. An agent of it is a `ChatAgent`; where all that it is to deliver is of one type,
    that is its `output_type`.

    Raises:
        PlanError: it cannot be read, is not a team, or names what is not there.
    """

    def __init__(
        self, path: Path, agents: Sequence[type[BaseAgent]], types: Sequence[Any], criteria: Sequence[Criterion]
    ) -> None:
        self._path = path
        self._document = self._read()
        self._types: dict[str, Any] = {each.__name__: each for each in (*_SCALARS, *types)}
        self._make_types()
        self._criteria = {each.__name__: each for each in cast("Sequence[Any]", criteria)}
        self._agents = self._made_agents({each.name: each for each in agents})

    def team(self) -> TomlTeam:
        """The team, whose plan has been checked."""
        document = self._document
        phases = tuple(
            Phase(phase.name, tuple(self._mission(each) for each in phase.missions)) for phase in document.phases
        )
        files = {name: self._path.parent / file for name, file in document.files.items()}
        try:
            plan = Plan(goal=document.goal, phases=phases, facts=document.facts, files=files, partial=document.partial)
        except PlanError as error:
            raise self._wrong(error.reason) from error
        return TomlTeam(document.name, document.description or document.goal, plan)

    def _read(self) -> _Document:
        try:
            return _Document.model_validate(tomllib.loads(self._path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise self._wrong(str(error)) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise self._wrong(f"{_key(first['loc'])}: {first['msg']}") from error

    def _mission(self, told: _Mission) -> Mission:
        where = f"mission {told.name}"
        return Mission(
            told.name,
            self._named(self._agents, told.agent, f"{where}: agent"),
            told.objective,
            self._type(told.deliverable, f"{where}: deliverable"),
            told.context,
            tuple(self._named(self._criteria, name, f"{where}: criteria") for name in told.criteria),
            None if told.reviewer is None else self._named(self._agents, told.reviewer, f"{where}: reviewer"),
            told.attempts,
            told.after,
        )

    def _made_agents(self, given: Mapping[str, type[BaseAgent]]) -> dict[str, type[BaseAgent]]:
        made = dict(given)
        for name, told in self._document.agents.items():
            if name in given:
                raise self._wrong(f"agents.{name}: there is an agent of this name in Python, too")
            attributes = {
                "name": name,
                "__doc__": told.description or told.instructions.strip().partition("\n")[0],
                "__module__": __name__,
                "output_type": self._output_of(name),
                **told.model_dump(exclude={"description"}),
            }
            made[name] = type(name, (ChatAgent,), attributes)
        return made

    def _output_of(self, agent: str) -> Any:
        missions = [mission for phase in self._document.phases for mission in phase.missions]
        delivered: list[Any] = []
        for each in missions:
            if each.agent == agent:
                delivered.append(self._type(each.deliverable, f"mission {each.name}: deliverable"))
            if each.reviewer == agent:
                delivered.append(Review)
        alike = all(each == delivered[0] for each in delivered)
        return delivered[0] if delivered and alike and delivered[0] is not str else None

    def _make_types(self) -> None:
        left = dict(self._document.types)
        for name in left.keys() & self._types.keys():
            raise self._wrong(f"types.{name}: there is a type of this name in Python, too")
        while left:
            # Those first whose fields name no type that is still to be made.
            ready = [name for name, fields in left.items() if not _names_in(fields.values()) & left.keys()]
            if not ready:
                raise self._wrong(f"types: {', '.join(left)} are made of each other")
            for name in ready:
                told = left.pop(name).items()
                fields: dict[str, Any] = {field: self._field(kind, f"types.{name}.{field}") for field, kind in told}
                self._types[name] = create_model(name, __config__=ConfigDict(frozen=True), **fields)

    def _field(self, told: "str | tuple[str, ...]", where: str) -> Any:
        """What `create_model` takes: a type that is named, or one of some words."""
        if isinstance(told, tuple):
            if not told:
                raise self._wrong(f"{where}: it has no words to choose from")
            return (Literal[told], ...)
        if told.endswith("?"):
            return (self._type(told.removesuffix("?"), where) | None, None)
        return (self._type(told, where), ...)

    def _type(self, told: str, where: str) -> Any:
        found = _LIST.fullmatch(told)
        if found is not None:
            return tuple[self._type(found[1], where), ...]
        return self._named(self._types, told, where)

    def _named(self, known: Mapping[str, Any], name: str, where: str) -> Any:
        if name not in known:
            raise self._wrong(f"{where}: there is no {name!r}; there are: {', '.join(known) or 'none'}")
        return known[name]

    def _wrong(self, reason: str) -> PlanError:
        return PlanError(str(self._path), reason)


def _names_in(told: "Iterable[str | tuple[str, ...]]") -> set[str]:
    return {word for each in told if isinstance(each, str) for word in re.findall(r"\w+", each)}


def _key(location: Sequence[int | str]) -> str:
    """Where in the file: `phases[0].missions[1].agent`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "the file"
