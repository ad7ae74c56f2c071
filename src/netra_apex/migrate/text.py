"""A file's bytes with the places that the parser tells: lines and columns of UTF-8 become offsets of the bytes."""

import ast
import io
import re
import tokenize
import warnings
from codecs import BOM_UTF8

_LINE = re.compile(rb"\r\n|\n|\r")


def parsed(data: bytes) -> ast.Module:
    """The tree of a file's bytes.

    Raises:
        SyntaxError: this Python does not parse it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the escapes in other people's strings
        try:
            return ast.parse(data)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error)) from error


class Source:
    """One file: its bytes, its encoding, and its tree.

    Raises:
        SyntaxError: this Python does not parse it, or does not know its encoding.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        # The parser ends lines at a lone carriage return too, also those in which it looks for the encoding.
        lines = _LINE.sub(b"\n", data) if b"\r" in data else data
        encoding, _ = tokenize.detect_encoding(io.BytesIO(lines).readline)
        self.encoding = "utf-8" if encoding == "utf-8-sig" else encoding
        self.tree = parsed(data)
        first = len(BOM_UTF8) if data.startswith(BOM_UTF8) else 0
        self._starts = [first, *(found.end() for found in _LINE.finditer(data))]

    def offset(self, line: int, column: int) -> int:
        """Where a place of the parser is in the bytes."""
        start = self._starts[line - 1]
        if self.encoding == "utf-8":
            return start + column
        end = self._starts[line] if line < len(self._starts) else len(self.data)
        text = self.data[start:end].decode(self.encoding)
        return start + len(text.encode("utf-8")[:column].decode("utf-8").encode(self.encoding))

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node begins and ends in the bytes."""
        assert isinstance(node, ast.expr | ast.stmt | ast.alias | ast.keyword | ast.arg)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def text(self, start: int, end: int) -> str:
        """What stands between two offsets."""
        return self.data[start:end].decode(self.encoding)

    def line_at(self, offset: int) -> tuple[int, int]:
        """Where the line of an offset begins, and where it ends, its line end left out."""
        start = max(self.data.rfind(b"\n", 0, offset), self.data.rfind(b"\r", 0, offset)) + 1
        if start == 0 and self.data.startswith(BOM_UTF8):
            start = len(BOM_UTF8)
        found = _LINE.search(self.data, offset)
        return start, found.start() if found else len(self.data)

    @property
    def newline(self) -> str:
        """How its first line ends."""
        found = _LINE.search(self.data)
        return found.group().decode("ascii") if found else "\n"
