"""`netra user key`: the API keys of a user, made, listed and revoked as the database's operator."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from netra_apex.cli.database import existing_stores
from netra_apex.cli.terminal import fail, instant, print_json, print_table, tell
from netra_apex.cli.user import checked_user_id
from netra_apex.errors import ConfigurationError, Refused

if TYPE_CHECKING:
    from netra_apex.core.accounts import ApiKey


def key(  # noqa: PLR0913 - a command's options
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose keys.")],
    label: Annotated[str, typer.Option(help="What it is for, so that it is known again.")] = "made by the operator",
    permission: Annotated[
        list[str] | None, typer.Option(help="What it may do at most; none: all of its user's, but for admin.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3660, help="How long it lasts; left out: for ever.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the user's keys instead.")] = False,
    revoke: Annotated[str | None, typer.Option(metavar="KEY_ID", help="Revoke a key instead.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make an API key for a user, and print it this once; or list the user's keys, or revoke one."""
    user_id = checked_user_id(name)
    if revoke is not None and show:
        raise ConfigurationError("either list the keys or revoke one")
    if revoke is not None:
        asyncio.run(_revoke(user_id, revoke))
    elif show:
        asyncio.run(_list(user_id, as_json=as_json))
    else:
        asyncio.run(_make(user_id, (label, permission, days), as_json=as_json))


async def _make(user_id: str, wanted: tuple[str, list[str] | None, int | None], *, as_json: bool) -> None:
    from netra_apex.server.keys import make_key
    from netra_apex.server.tokens import hash_token

    try:
        made, text = make_key(user_id, *wanted)
        async with existing_stores() as stores:
            await stores.keys.add_key(made, hash_token(text))
            owner = await stores.accounts.user(user_id)
    except Refused as error:
        fail(str(error))
    if as_json:
        print_json({**_shape(made), "key": text})
    else:
        print(text)
        tell(f"this is key {made.key_id} of {user_id}, shown this once")
    if owner is not None and (lacking := sorted((made.permissions or frozenset()) - owner.permissions)):
        tell(f"{user_id} lacks {', '.join(lacking)}: the key may do that only once its user may")


async def _list(user_id: str, *, as_json: bool) -> None:
    async with existing_stores() as stores:
        if await stores.accounts.user(user_id) is None:
            fail(f"there is no user {user_id}")
        keys = await stores.keys.keys(user_id)
    if as_json:
        print_json({"items": [_shape(each) for each in keys]})
        return
    rows = [
        (
            each.key_id,
            each.name,
            "all but admin" if each.permissions is None else ", ".join(sorted(each.permissions)),
            instant(each.created_at),
            "never" if each.expires_at is None else instant(each.expires_at),
            "never" if each.last_used_at is None else instant(each.last_used_at),
        )
        for each in keys
    ]
    print_table(("KEY", "NAME", "PERMISSIONS", "CREATED", "EXPIRES", "LAST USED"), rows)


async def _revoke(user_id: str, key_id: str) -> None:
    async with existing_stores() as stores:
        if not await stores.keys.remove_key(user_id, key_id):
            fail(f"{user_id} has no key {key_id}")
    tell(f"key {key_id} is revoked")


def _shape(made: "ApiKey") -> dict[str, object]:
    return {
        "key_id": made.key_id,
        "user_id": made.user_id,
        "name": made.name,
        "permissions": None if made.permissions is None else sorted(made.permissions),
        "created_at": instant(made.created_at),
        "expires_at": None if made.expires_at is None else instant(made.expires_at),
        "last_used_at": None if made.last_used_at is None else instant(made.last_used_at),
    }
