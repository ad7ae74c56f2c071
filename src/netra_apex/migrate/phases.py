"""Which phase of the configuration a file belongs to, and phases as the journal keeps them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from netra_apex.migrate.config import Phase

# Where the configuration has no phases, everything is one, in portions, and nothing validates it.
EVERYTHING = Phase(name="all")


def takes(phase: Phase, path: str) -> bool:
    """Whether a phase includes a path, which is written with slashes, from the tree's root."""
    return any(_pattern(each).fullmatch(path) for each in phase.include) and not any(
        _pattern(each).fullmatch(path) for each in phase.exclude
    )


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


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    """A glob as a pattern: `**/` is any number of folders, `*` and `?` stay within one."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./"))
    told = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(told.get(part, re.escape(part)) for part in parts), re.DOTALL)
