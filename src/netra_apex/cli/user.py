"""`netra user`: accounts, as the operator of the database, whether a server runs or not."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from netra_apex.cli.database import existing_stores
from netra_apex.cli.terminal import fail, instant, print_json, print_table, read_password, tell
from netra_apex.core.permissions import ADMIN
from netra_apex.errors import ConfigurationError, Refused

app = typer.Typer(help="Add, list and change the people who may log in.", no_args_is_help=True, rich_markup_mode=None)

_Name = Annotated[str, typer.Argument(metavar="NAME")]
_FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")]


@dataclass(frozen=True, slots=True)
class NewUser:
    """Somebody to add, checked; the password is not shown in a repr."""

    user_id: str
    password: str
    permissions: frozenset[str]

    def __repr__(self) -> str:
        return f"NewUser({self.user_id!r})"


@app.command("add")
def add(
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    permission: Annotated[list[str] | None, typer.Option(help="A permission, such as orders:read; repeatable.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Give the permission `admin`.")] = False,
    password_stdin: _FromStdin = False,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="JSON lines {name,password,permissions}; all are added, or none."),
    ] = None,
) -> None:
    """Add a user, or all users of a file."""
    if (name is None) == (from_file is None):
        raise ConfigurationError("name one user, or a file of users with --from")
    if from_file is not None:
        if permission or admin or password_stdin:
            raise ConfigurationError("with --from, permissions and passwords come from the file")
        users = read_users(from_file)
    else:
        wanted = [*(permission or ()), *((ADMIN,) if admin else ())]
        # The name is checked before anybody is asked for a password.
        checked = _checked(cast("str", name), "x" * 12, wanted)
        password = read_password(from_stdin=password_stdin, twice=True)
        users = [_checked(checked.user_id, password, wanted)]
    asyncio.run(_add(users))
    tell(f"added {users[0].user_id}" if from_file is None else f"added {len(users)} users")


@app.command("list")
def list_users(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the users."""
    asyncio.run(_list(as_json=as_json))


@app.command("password")
def password(name: _Name, password_stdin: _FromStdin = False) -> None:
    """Set a user's password, and end the user's logins."""
    user_id = checked_user_id(name)
    _checked_password(secret := read_password(from_stdin=password_stdin, twice=True))
    asyncio.run(_set_password(user_id, secret))
    tell(f"{user_id} has a new password, and is logged out everywhere")


@app.command("disable")
def disable(name: _Name) -> None:
    """Keep a user from logging in, and end the user's logins."""
    asyncio.run(_set_disabled(checked_user_id(name), disabled=True))
    tell(f"{checked_user_id(name)} is disabled")


@app.command("enable")
def enable(name: _Name) -> None:
    """Let a user who was disabled log in again."""
    asyncio.run(_set_disabled(checked_user_id(name), disabled=False))
    tell(f"{checked_user_id(name)} is enabled")


def read_users(path: Path) -> list[NewUser]:
    """The users of a file of JSON lines; blank lines are skipped.

    Raises:
        ConfigurationError: it cannot be read; or, with a sentence for each, lines that are not well formed.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    users: list[NewUser] = []
    bad: list[str] = []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            user = _from_json(line)
        except ConfigurationError as error:
            bad.append(f"{path}, line {number}: {error}")
            continue
        if user.user_id in first_line:
            bad.append(f"{path}, line {number}: {user.user_id} is on line {first_line[user.user_id]} already")
        first_line.setdefault(user.user_id, number)
        users.append(user)
    if not users and not bad:
        bad.append(f"{path} names nobody")
    if bad:
        raise ConfigurationError("\n".join([*bad, "nobody was added"]))
    return users


def _from_json(line: str) -> NewUser:
    import msgspec

    class Line(msgspec.Struct, forbid_unknown_fields=True):
        name: str
        password: str
        permissions: list[str] = []

    try:
        read = msgspec.json.decode(line, type=Line)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"it is not {{name,password,permissions}}: {error}") from error
    return _checked(read.name, read.password, read.permissions)


def _checked(name: str, secret: str, permissions: Iterable[str]) -> NewUser:
    from netra_apex.core.permissions import check_permissions

    user_id = checked_user_id(name)
    _checked_password(secret)
    try:
        return NewUser(user_id, secret, check_permissions(permissions))
    except Refused as error:
        raise ConfigurationError(str(error)) from error


def checked_user_id(name: str) -> str:
    from netra_apex.core.accounts import check_username

    try:
        return check_username(name)
    except Refused as error:
        raise ConfigurationError(str(error)) from error


def _checked_password(secret: str) -> None:
    from netra_apex.core.accounts import check_password

    try:
        check_password(secret)
    except Refused as error:
        raise ConfigurationError(str(error)) from error


async def _add(users: list[NewUser]) -> None:
    from netra_apex.server.passwords import hash_password
    from netra_apex.settings import Settings
    from netra_apex.stores import open_stores

    async with open_stores(Settings.load()) as stores:
        accounts = stores.accounts
        taken = [user.user_id for user in users if await accounts.user(user.user_id) is not None]
        if taken:
            # Before passwords are hashed, which takes its time.
            there = "there is a user" if len(taken) == 1 else "there are users"
            fail(f"{there} {', '.join(taken)} already; nobody was added")
        hashed = [(user.user_id, hash_password(user.password), user.permissions) for user in users]
        try:
            await accounts.add_users(hashed)
        except Refused as error:
            fail(f"{error}; nobody was added")


async def _list(*, as_json: bool) -> None:
    async with existing_stores() as stores:
        accounts = stores.accounts
        users = await accounts.users()
    if as_json:
        items = [
            {
                "name": user.user_id,
                "permissions": sorted(user.permissions),
                "disabled": user.disabled,
                "created_at": instant(user.created_at),
            }
            for user in users
        ]
        print_json({"items": items})
        return
    rows = [
        (
            user.user_id,
            "disabled" if user.disabled else "active",
            f"{user.created_at:%Y-%m-%d %H:%M}",
            ", ".join(sorted(user.permissions)),
        )
        for user in users
    ]
    print_table(("NAME", "STATE", "SINCE", "PERMISSIONS"), rows)


async def _set_password(user_id: str, secret: str) -> None:
    from netra_apex.server.passwords import hash_password

    async with existing_stores() as stores:
        accounts = stores.accounts
        if not await accounts.set_password(user_id, hash_password(secret)):
            fail(f"there is no user {user_id}")


async def _set_disabled(user_id: str, *, disabled: bool) -> None:
    async with existing_stores() as stores:
        accounts = stores.accounts
        if not await accounts.set_disabled(user_id, disabled=disabled):
            fail(f"there is no user {user_id}")
