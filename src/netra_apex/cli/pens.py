"""Where a transcript is written: a terminal with colours, or plain text for a pipe."""

import sys
from typing import TextIO

from rich.console import Console
from rich.text import Text


class TerminalPen:
    """A terminal: the answer as it comes, and everything around it dimmed or coloured."""

    live = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str, style: str = "") -> None:
        """A line about the run."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def data(self, text: str) -> None:
        """A line that somebody asked for."""
        self.line(text)

    def answer(self, text: str) -> None:
        """A piece of the answer, at once."""
        self._console.print(Text(text), end="", soft_wrap=True)

    def aside(self, text: str) -> None:
        """A piece of a thought, at once."""
        self._console.print(Text(text, style="dim italic"), end="", soft_wrap=True)


class PlainPen:
    """A pipe: answers on stdout once they are whole, so that a text that was begun anew is not in them twice.

    What a command asked for goes there too, everything else to stderr.
    """

    live = False

    def __init__(self, out: TextIO = sys.stdout, about: TextIO = sys.stderr) -> None:
        self._out = out
        self._about = about

    def line(self, text: str, style: str = "") -> None:
        """A line about the run."""
        del style
        print(text, file=self._about, flush=True)

    def data(self, text: str) -> None:
        """A line that somebody asked for."""
        print(text, file=self._out, flush=True)

    def answer(self, text: str) -> None:
        """A whole answer, or the end of its line."""
        self._out.write(text)
        self._out.flush()

    def aside(self, text: str) -> None:
        """Left out: the whole thought is told as an event."""
