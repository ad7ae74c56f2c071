"""Globs over paths with `/`, relative to a project: `**` is any folders, `*` and `?` stay within one."""

import re
from collections.abc import Iterable

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", re.DOTALL)


class Globs:
    """Several globs at once; one that matches a folder matches what is in it."""

    def __init__(self, patterns: Iterable[str]) -> None:
        each = [_translated(pattern.removeprefix("./").rstrip("/")) for pattern in patterns]
        self._pattern = re.compile("|".join(f"(?:{one})(?:/.*)?" for one in each)) if each else None

    def matches(self, path: str) -> bool:
        """Whether one of them matches."""
        return self._pattern is not None and self._pattern.fullmatch(path) is not None


def _translated(pattern: str) -> str:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = (known.get(piece) or _other(piece) for piece in _PIECE.findall(pattern))
    return "".join(pieces)


def _other(piece: str) -> str:
    if len(piece) == 1:
        return re.escape(piece)
    return "[" + piece[1:-1].replace("!", "^", 1).replace("\\", r"\\") + "]"
