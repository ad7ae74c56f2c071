"""`netra db`: the schema of the database, as its operator."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from netra_apex.cli.terminal import print_json, read_line, tell
from netra_apex.errors import ConfigurationError

app = typer.Typer(help="Bring the database's schema up to date.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """Bring the database's schema up to date."""


@app.command("upgrade")
def upgrade(
    admin_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Who owns the tables, on Postgres; makes the restricted role that NETRA_DATABASE_URL names. -: stdin.",
        ),
    ] = None,
    contract: Annotated[
        bool, typer.Option("--contract", help="Also take away what only older versions used: none may run any more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Bring the database's schema up to date, and make it where there is none. Servers may run meanwhile."""
    from netra_apex.settings import Settings

    settings = Settings.load()
    if admin_url is not None and not settings.on_postgres:
        raise ConfigurationError(
            "--admin-url is for Postgres, and NETRA_DATABASE_URL names no such database: a SQLite file has no roles"
        )
    if settings.database_url is not None and settings.on_postgres:
        done = asyncio.run(_on_postgres(settings.database_url, admin_url, contract=contract))
    else:
        done = _on_sqlite(settings.database_path)
    if as_json:
        print_json({"applied": list(done)})
        return
    for name in done:
        print(name)


async def _on_postgres(url: str, admin_url: str | None, *, contract: bool) -> tuple[str, ...]:
    from netra_apex.stores.connecting import Server
    from netra_apex.stores.upgrading import upgrade

    server, admin = Server(url), None
    if admin_url is not None:
        try:
            admin = Server(read_line().strip() if admin_url == "-" else admin_url)
        except ValueError as error:
            raise ConfigurationError(f"--admin-url: {error}") from error
    done = await upgrade(server, admin, contract=contract)
    tell(f"the schema of {server} {'is' if done else 'was'} up to date")
    if admin is not None:
        tell(f"role {server.address.user} may read and write its rows, and nothing else")
    return done


def _on_sqlite(path: Path) -> tuple[str, ...]:
    from netra_apex.stores.upgrading import upgrade_file

    done = upgrade_file(path)
    tell(f"the schema of {path} {'is' if done else 'was'} up to date")
    return done
