"""`netra chat`: a conversation in the terminal."""

import asyncio
import sys
from typing import Annotated

import typer

from netra_apex.cli.terminal import FAILED, FINE, read_line, read_password
from netra_apex.errors import ConfigurationError


def chat(
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    user: Annotated[str | None, typer.Option(help="Your name; left out, you are asked.")] = None,
    thread: Annotated[str | None, typer.Option(help="The conversation to go on with; left out, a new one.")] = None,
    agent: Annotated[str | None, typer.Option(help="Who answers; left out, the server's default.")] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
    ] = False,
) -> None:
    """Talk to agents.

    Without a terminal, each line of stdin is a message, stdout has the answers, and a run that fails ends it with 1.
    """
    from netra_apex.cli.talk import Wishes, reach, talk

    if sys.stdin.isatty():
        # Before anybody types a password in vain.
        asyncio.run(reach(url))
    if user is None:
        if not sys.stdin.isatty():
            raise ConfigurationError("there is no terminal to ask for your name at: give it with --user")
        print("User: ", end="", file=sys.stderr, flush=True)
        user = read_line().strip()
        if not user:
            raise ConfigurationError("a name is needed to log in")
    password = read_password(from_stdin=password_stdin)
    well = asyncio.run(talk(Wishes(url, user, thread, agent), password))
    raise typer.Exit(FINE if well else FAILED)
