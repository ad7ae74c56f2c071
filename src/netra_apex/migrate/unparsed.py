"""What can still be known of a file that the running Python does not parse: the imports that stand on lines."""

import re
from typing import Any

from netra_apex.migrate.facts import Guard

_IMPORT = re.compile(r"(?P<indent>[ \t]*)import[ \t]+(?P<names>[\w., \t]+?)[ \t]*(?:#.*)?$")
_FROM = re.compile(r"(?P<indent>[ \t]*)from[ \t]+(?P<dots>\.*)(?P<module>[\w.]*)[ \t]+import[ \t]+(?P<names>\(?.*)$")
_NAME = re.compile(r"([\w.]+|\*)(?:[ \t]+as[ \t]+(\w+))?$")

Rows = tuple[tuple[Any, ...], ...]


def imported_lines(source: bytes) -> tuple[Rows, Rows]:
    """Imports and the bindings they make, as far as lines show them: approximate, and said to be so.

    What is indented may stand anywhere, so it counts as guarded by a branch.
    """
    imports: list[tuple[Any, ...]] = []
    bindings: list[tuple[Any, ...]] = []
    lines = source.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, 1):
        match = _FROM.match(line) or _IMPORT.match(line)
        if match is None:
            continue
        groups = match.groupdict()
        guard = Guard.BRANCH if match["indent"] else 0
        level, module = len(groups.get("dots") or ""), groups.get("module")
        for name, alias in _names(match["names"], lines, number):
            bound = "" if name == "*" else alias or (name if module is not None else name.partition(".")[0])
            if bound and not guard:
                bindings.append((bound, "i", number, 0, len(imports)))
            row = (name, "") if module is None else (module, name)
            imports.append((*row, bound, level, guard, number, len(match["indent"])))
    return tuple(imports), tuple(bindings)


def _names(text: str, lines: list[str], number: int) -> list[tuple[str, str]]:
    """The names of an import, over further lines where a bracket is open; no more than the bracket's."""
    text = text.partition("#")[0]
    if text.startswith("("):
        rest = iter(lines[number:])
        while ")" not in text and (line := next(rest, None)) is not None:
            text += " " + line.partition("#")[0]
        text = text[1:].partition(")")[0]
    found = (_NAME.match(each.strip()) for each in text.split(","))
    return [(match[1], match[2] or "") for match in found if match is not None]
