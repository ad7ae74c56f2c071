"""Which phase of the configuration a file belongs to, and phases as the journal keeps them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from netra_apex.migrate.config import Configuration, Phase
from netra_apex.migrate.globs import Globs

# Where the configuration has no phases, everything is one, in portions, and nothing validates it.
EVERYTHING = Phase(name="all")
# The last one: names that are public are moved when nothing of the tree uses them any more.
FACADES = "facades"


def ordered_phases(configuration: Configuration) -> tuple[Phase, ...]:
    """The phases in their order, that of the facades last, which is validated as the one before."""
    phases = configuration.ordered_phases or (EVERYTHING,)
    if any(phase.name == FACADES for phase in phases):
        return phases
    return (*phases, replace(phases[-1], name=FACADES, include=(), exclude=()))


def takes(phase: Phase, path: str) -> bool:
    """Whether a phase includes a path, which is written with slashes, from the tree's root."""
    return Globs(phase.include).matches(path) and not Globs(phase.exclude).matches(path)


def phase_of(path: str, phases: Sequence[Phase]) -> str | None:
    """The name of the first phase that takes a path; None where none does."""
    return next((phase.name for phase in phases if takes(phase, path)), None)


def to_json(phases: Iterable[Phase]) -> list[dict[str, Any]]:
    """Phases as the journal keeps them: a run goes on with those that it began with."""
    return [asdict(phase) for phase in phases]


def from_json(tables: Iterable[dict[str, Any]]) -> tuple[Phase, ...]:
    """Phases of what `to_json` gave."""
    lists = ("include", "exclude")
    made: list[dict[str, Any]] = [
        {key: tuple(value) if key in lists else value for key, value in table.items()} for table in tables
    ]
    return tuple(Phase(**each) for each in made)
