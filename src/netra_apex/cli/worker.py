"""`netra worker`: a process that executes runs and serves nothing."""

from typing import Annotated

import typer


def worker(
    application: Annotated[
        str | None,
        typer.Argument(metavar="[APP]", help="A file such as app.py, or module:registry. None: the demo team."),
    ] = None,
) -> None:
    """Execute runs that others accept; needs a Postgres database.

    Give it the application that netra serve has. The first SIGTERM or Ctrl-C lets runs end, leaves the rest to other
    processes, and then stops; a second one stops at once.
    """
    from netra_apex.cli.loading import load_registry
    from netra_apex.server import work
    from netra_apex.settings import Settings

    raise typer.Exit(work(load_registry(application), Settings.load()))
