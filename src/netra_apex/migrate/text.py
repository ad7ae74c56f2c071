"""A file that is to be changed: its bytes, its tree, and the text between two places."""

import ast
import io
import re
import tokenize
import warnings
from codecs import BOM_UTF8

from netra_apex.migrate.source import Source

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


class Text(Source):
    """One file of a tree that this Python parses.

    Raises:
        SyntaxError: it does not, or does not know its encoding.
    """

    def __init__(self, path: str, data: bytes) -> None:
        super().__init__(data)
        self.path = path
        self.encoding = self._found()
        self.tree = parsed(data)

    def _found(self) -> str:
        """The encoding in which parts of it are written: that of a mark belongs to the first line alone."""
        # The parser ends lines at a lone carriage return too, also those in which it looks for the encoding.
        lines = _LINE.sub(b"\n", self.data) if b"\r" in self.data else self.data
        return tokenize.detect_encoding(io.BytesIO(lines).readline)[0].removesuffix("-sig")

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
