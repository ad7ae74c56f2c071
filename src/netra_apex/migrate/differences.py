"""A plan as a unified diff, which `git apply` takes: bytes as they are, whatever the encoding and the line endings."""

import difflib
from pathlib import Path

from netra_apex.migrate.applying import current, edited
from netra_apex.migrate.edits import Plan


def diff_of(root: Path, plan: Plan) -> bytes:
    """The diff of all files of a plan, in its order.

    Raises:
        Conflict: a file was changed after it was planned.
    """
    return b"".join(
        _of_file(file.path, data, edited(data, file))
        for unit in plan.units
        for file in unit.files
        for data in [current(root, file.path)]
    )


def _of_file(path: str, before: bytes, after: bytes) -> bytes:
    name = path.encode("utf-8", "surrogateescape")
    parts: list[bytes] = []
    lines = difflib.diff_bytes(
        difflib.unified_diff, _lines(before), _lines(after), b"a/" + name, b"b/" + name, lineterm=b"\n"
    )
    for line in lines:
        parts += (line,) if line.endswith(b"\n") else (line, b"\n\\ No newline at end of file\n")
    return b"".join(parts)


def _lines(data: bytes) -> list[bytes]:
    # Only line feeds end lines for git: a lone carriage return or a form feed is part of one.
    *lines, last = data.split(b"\n")
    return [line + b"\n" for line in lines] + ([last] if last else [])
