"""A progress bar on stderr, where a person sees it."""

import sys
import time
from types import TracebackType
from typing import Self

_SECONDS = 0.1  # between two drawings
_WIDTH = 30


class Bar:
    """Draws itself when it is told how many of how many are done; on no terminal it draws nothing.

    It has no thread of its own: the processes that work beside it are forked.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._shows = sys.stderr.isatty()
        self._drawn = 0.0
        self._any = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._any:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, done: int, total: int) -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if not self._shows or not total or (now - self._drawn < _SECONDS and done < total):
            return
        self._drawn, self._any = now, True
        full = done * _WIDTH // total
        sys.stderr.write(f"\r{self._what} {'━' * full}{'╌' * (_WIDTH - full)} {done}/{total}\x1b[K")
        sys.stderr.flush()
