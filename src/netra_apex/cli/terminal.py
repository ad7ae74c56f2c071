"""What every command shares: exit codes, where text goes, tables, and asking for a password."""

import getpass
import json
import sys
import termios
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import typer

from netra_apex.errors import ConfigurationError

FINE, FAILED, USAGE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 4


def tell(text: str) -> None:
    """A line for the person at the terminal, on stderr: stdout is for data."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    """Says why on stderr and leaves with 1."""
    tell(text)
    raise typer.Exit(FAILED)


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def instant(at: datetime) -> str:
    """A time as HTTP tells it: RFC 3339 in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns on stdout, as wide as they need to be: an id that is cut off is of no use."""
    lines = [tuple(map(str, heads)), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """Text without control characters but line ends and tabs: what a model or a tool says must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str, length: int) -> str:
    """Text on one line, shortened."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


def read_line() -> str:
    """A line of stdin; empty at its end.

    Raises:
        ConfigurationError: it is not text.
    """
    try:
        return sys.stdin.readline()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"what comes on stdin is not {sys.stdin.encoding} text: {error.reason}") from error


def read_password(*, from_stdin: bool, twice: bool = False) -> str:
    """A password: the first line of stdin, or what somebody types without seeing it.

    Raises:
        ConfigurationError: there is none on stdin, nobody can be asked, or the two that were typed differ.
    """
    if from_stdin:
        password = read_line().rstrip("\r\n")
        if not password:
            raise ConfigurationError("there is no password on the first line of stdin")
        return password
    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal to ask for a password at: give it on stdin, --password-stdin")
    password = getpass.getpass("Password: ")
    if twice and getpass.getpass("Once more: ") != password:
        raise ConfigurationError("the two passwords differ")
    return password


@asynccontextmanager
async def unechoed() -> AsyncGenerator[None]:
    """Keeps what is typed meanwhile, Ctrl-C's own ^C included, out of the answer; the next prompt has it."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = termios.tcgetattr(sys.stdin)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
