"""The first admin's set-up link: made when the server starts without an admin, good once and for an hour."""

from datetime import UTC, datetime, timedelta

from netra_apex.core.ports import Accounts
from netra_apex.server.tokens import hash_token, new_token

LIFE = timedelta(hours=1)


async def new_setup_token(accounts: Accounts) -> str | None:
    """A token for the link, whose hash alone is stored; None where an admin exists. An earlier link is void."""
    if await accounts.has_admin():
        return None
    token = new_token()
    await accounts.put_setup_token(hash_token(token), datetime.now(UTC) + LIFE)
    return token


async def is_valid(accounts: Accounts, token: str) -> bool:
    """Whether this link would make the admin now; asked before anything costly is done, or told of other accounts."""
    return await accounts.setup_token_valid(hash_token(token), datetime.now(UTC))


async def redeem_setup_link(accounts: Accounts, token: str, user_id: str, password_hash: str) -> bool:
    """Makes the admin; False where the token is not valid.

    Raises:
        Invalid: the name is taken; the token stays valid.
    """
    return await accounts.redeem_setup_token(hash_token(token), datetime.now(UTC), user_id, password_hash)
