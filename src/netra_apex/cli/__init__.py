"""The `netra` command: one file for each group of commands, whose heavy parts are imported when they are used."""

import io
import sys
import traceback
from types import TracebackType
from typing import Annotated

import typer

from netra_apex.cli import (
    audit,
    chat,
    db,
    doctor,
    keys,
    leaktest,
    migrate,
    new,
    probe,
    report,
    runs,
    serve,
    user,
    worker,
)
from netra_apex.cli.terminal import FAILED, INTERNAL, USAGE, tell
from netra_apex.errors import ConfigurationError, InvalidContext, NetraError

app = typer.Typer(
    name="netra",
    help="A multi-user server for AI agents: serve, talk to it, look after it.",
    no_args_is_help=True,
    add_completion=False,
    # Plain sentences: a drawn box breaks them at the width of a terminal, and they are read by programs too.
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("chat")(chat.chat)
app.command("new")(new.new)
app.command("probe")(probe.probe)
app.command("leaktest")(leaktest.leaktest)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.command("audit")(audit.audit)
user.app.command("key")(keys.key)
app.add_typer(user.app, name="user")
app.add_typer(runs.app, name="runs")
app.add_typer(db.app, name="db")
app.add_typer(migrate.app, name="migrate")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"netra {version('netra-apex')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """A multi-user server for AI agents: serve, talk to it, look after it."""


def main() -> None:
    """Runs the command line and leaves with its exit code: 0 fine, 1 found or failed, 2 wrong usage, 3 internal.

    4 where a migration was interrupted, and can be gone on with.
    """
    sys.excepthook = internal_error
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding shows a mark for what it lacks; it does not end a command.
            stream.reconfigure(errors="replace")
    try:
        typer.main.get_command(app)(prog_name="netra")
    except (ConfigurationError, InvalidContext) as error:
        tell(str(error))
        sys.exit(USAGE)
    except NetraError as error:
        tell(str(error))
        sys.exit(FAILED)


def internal_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The process's `sys.excepthook`: prints what nobody expected, and makes the exit code 3."""
    traceback.print_exception(kind, error, trace)
    tell("this is a bug in netra: please report it with the lines above")
    raise SystemExit(INTERNAL)
