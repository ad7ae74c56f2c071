"""SQL lives in `sql/*.sql`, each statement under a line `-- name: …`; the schema in `schema/NNNN_phase_name.sql`."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from importlib.resources import files
from types import MappingProxyType

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def statements(room: str) -> Mapping[str, str]:
    """The statements of `sql/{room}.sql` by their names."""
    text = (files("netra_apex.stores") / "sql" / f"{room}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return MappingProxyType(
        {name: body.strip().rstrip(";") for name, body in zip(parts[::2], parts[1::2], strict=True)}
    )


def migrations() -> tuple[tuple[int, tuple[str, ...]], ...]:
    """(version, statements) of each migration, in order."""
    folder = files("netra_apex.stores") / "schema"
    named = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((int(name[:4]), tuple(_split(entry.read_text(encoding="utf-8")))) for name, entry in named)


def _split(script: str) -> Iterator[str]:
    statement = ""
    for piece in script.split(";"):
        statement += f"{piece};"
        # SQLite knows a semicolon in a comment, a text or a trigger from one that ends a statement.
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
