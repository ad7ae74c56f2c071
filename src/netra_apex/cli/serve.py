"""`netra serve`: the server, with the agents of an application."""

from typing import Annotated

import typer


def serve(
    application: Annotated[
        str | None,
        typer.Argument(metavar="[APP]", help="A file such as app.py, or module:registry. None: the demo team."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [NETRA_HOST or 127.0.0.1]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. [NETRA_PORT or 8000]")
    ] = None,
    no_execute: Annotated[
        bool, typer.Option("--no-execute", help="Leave runs to netra worker; needs a Postgres database.")
    ] = False,
) -> None:
    """Serve agents over HTTP and WebSocket.

    Runs are executed here too, unless told not to. The first SIGTERM or Ctrl-C lets runs end and then stops; a second
    one stops at once.
    """
    from netra_apex.cli.loading import load_registry
    from netra_apex.server import serve as run_server
    from netra_apex.settings import Settings

    settings = Settings.load(host=host, port=port)
    raise typer.Exit(run_server(load_registry(application), settings, execute=not no_execute))
