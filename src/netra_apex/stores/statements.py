"""SQL lives in `sql/*.sql`, each statement under a line `-- name: …`; schemas in `schema/DIALECT/NNNN_phase_name.sql`.

A migration's phase says when it may run. `expand` adds what a newer version needs and an older one does not mind, so
both may run on one database; `contract` takes away what only older ones used, once none of them runs.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

Dialect = Literal["sqlite", "postgres"]
Phase = Literal["expand", "contract"]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_TABLE = re.compile(r"^create table (\w+)", re.MULTILINE)
_HIDDEN = re.compile(r"^alter table (\w+)\s+enable row level security", re.MULTILINE)


def statements(room: str) -> Mapping[str, str]:
    """The statements of `sql/{room}.sql` by their names."""
    text = (files("netra_apex.stores") / "sql" / f"{room}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return MappingProxyType(
        {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}
    )


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of a schema. `script` is its SQL."""

    version: int
    phase: Phase
    name: str
    script: str

    @property
    def label(self) -> str:
        """How it is told to people: its file's name."""
        return f"{self.version:04}_{self.phase}_{self.name}"

    @property
    def statements(self) -> tuple[str, ...]:
        """Its statements, one by one, for SQLite."""
        return tuple(_split(self.script))


def migrations(dialect: Dialect = "sqlite") -> tuple[Migration, ...]:
    """The steps of a dialect's schema, in order."""
    folder = files("netra_apex.stores") / "schema" / dialect
    named = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(_migration(name, entry.read_text(encoding="utf-8")) for name, entry in named)


def tables() -> frozenset[str]:
    """The tables that the Postgres schema has, or had before a migration took them away."""
    return frozenset(name for each in migrations("postgres") for name in _TABLE.findall(each.script))


def content_tables() -> frozenset[str]:
    """Those of them that hold what people say, and so stand under row-level security."""
    return frozenset(name for each in migrations("postgres") for name in _HIDDEN.findall(each.script))


def _migration(file: str, script: str) -> Migration:
    version, phase, name = file.removesuffix(".sql").split("_", 2)
    return Migration(int(version), "contract" if phase == "contract" else "expand", name, script)


def _split(script: str) -> Iterator[str]:
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        # SQLite knows a semicolon in a comment, a text or a trigger from one that ends a statement.
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
