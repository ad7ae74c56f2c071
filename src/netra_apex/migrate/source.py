"""The bytes of a file with its tree, and where the nodes of the tree stand in the bytes."""

import ast
import codecs
import re
import tokenize
import warnings
from functools import cached_property
from typing import Any

_LINE_END = re.compile(rb"\r\n|\r|\n")


def encoding_of(data: bytes) -> str:
    """The encoding of a file, as its mark or its first two lines say, whatever its line ends are.

    Raises:
        SyntaxError: it names one that is not known, or is not what it says.
    """
    first = data[:400].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n", 2)
    lines = iter([line + b"\n" for line in first[:2]])
    return tokenize.detect_encoding(lambda: next(lines, b""))[0]


class Source:
    """A file as it is on disk; offsets count in its own bytes, whatever its encoding, line ends and mark are.

    Raises:
        SyntaxError, ValueError: from `tree`, where it does not parse.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(self.data)

    @cached_property
    def encoding(self) -> str:
        """As its mark or its first lines say; `utf-8-sig` where it begins with a mark."""
        return encoding_of(self.data)

    @cached_property
    def _starts(self) -> list[int]:
        first = len(codecs.BOM_UTF8) if self.data.startswith(codecs.BOM_UTF8) else 0
        return [first, *(match.end() for match in _LINE_END.finditer(self.data))]

    def offset(self, line: int, column: int) -> int:
        """Where a place stands, given as the parser tells it: lines from 1, columns in bytes of UTF-8."""
        start = self._starts[line - 1]
        if self.encoding in ("utf-8", "utf-8-sig"):
            return start + column
        end = self._starts[line] if line < len(self._starts) else len(self.data)
        text = self.data[start:end].decode(self.encoding)
        return start + len(text.encode("utf-8")[:column].decode("utf-8").encode(self.encoding))

    def span(self, node: Any) -> tuple[int, int]:
        """Where a node begins and ends."""
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def column(self, line: int, column: int) -> int:
        """The column of a place in characters, from 0."""
        start = self._starts[line - 1]
        return len(self.data[start : self.offset(line, column)].decode(self.encoding.removesuffix("-sig"), "replace"))
