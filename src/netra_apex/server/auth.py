"""Who is asking: the one place where a credential becomes a user, for HTTP and for sockets alike."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from starlette.requests import cookie_parser

from netra_apex.core.accounts import ApiKey, ApiKeys, Session, User
from netra_apex.core.ports import Accounts
from netra_apex.errors import Unauthenticated
from netra_apex.server.origins import Origins
from netra_apex.server.tokens import KEY_PREFIX, MAX_TOKEN, AccessTokens, hash_token

SESSION_COOKIE = "netra_session"
REFRESH_COOKIE = "netra_refresh"
USED_AGAIN = timedelta(hours=1)  # how exactly it is kept when a key was used: a write with each request would be dear


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """A user who has proved who he is, in one login or by an API key, whose id then stands for the login's.

    `expires_at`: a bearer token's or a key's end; a cookie lives as its login. Permissions are the account's at the
    moment of the proof, never the token's; a key's are no more than it was given.
    """

    user_id: str
    permissions: frozenset[str]
    session_id: str
    how: Literal["bearer", "cookie", "key"]
    expires_at: datetime | None


class Authenticator:
    """Turns a token or a cookie into a principal; nothing else in the package does.

    Each proof reads the login and the account from the store: a login that has ended, or a user who was disabled, is
    refused at once, whatever the token says.
    """

    def __init__(self, accounts: Accounts, keys: ApiKeys, tokens: AccessTokens, origins: Origins) -> None:
        self._accounts = accounts
        self._keys = keys
        self._tokens = tokens
        self._origins = origins

    async def by_token(self, token: str) -> Principal:
        """The user of an access token, or of an API key.

        Raises:
            Unauthenticated: it is forged, ill-formed, expired or revoked, its login has ended, or its user is disabled.
        """
        if token.startswith(KEY_PREFIX):
            return await self._by_key(token)
        claims = self._tokens.read(token, datetime.now(UTC))
        session = await self._accounts.session(claims.session_id)
        user = await self._user(session)
        if user.user_id != claims.user_id:
            raise Unauthenticated("the access token is not valid")
        return Principal(
            user_id=user.user_id,
            permissions=user.permissions,
            session_id=claims.session_id,
            how="bearer",
            expires_at=claims.expires_at,
        )

    async def by_cookie(self, cookie_header: str | None) -> Principal | None:
        """The user of the session cookie in a `Cookie` header; None where there is no such cookie.

        Raises:
            Unauthenticated: its login has ended, or its user is disabled.
        """
        cookie = cookie_of(cookie_header, SESSION_COOKIE)
        if cookie is None:
            return None
        session = await self._accounts.session_by_cookie(hash_token(cookie))
        user = await self._user(session)
        assert session is not None
        return Principal(
            user_id=user.user_id,
            permissions=user.permissions,
            session_id=session.session_id,
            how="cookie",
            expires_at=None,
        )

    def origin_allowed(self, origin: str, host: str | None, scheme: str) -> bool:
        """Whether a page of this origin may use the server that was reached as `scheme`://`host`."""
        return self._origins.allow(origin, host, scheme)

    async def still_valid(self, principal: Principal) -> bool:
        """Whether the proof would succeed now: the login lasts, the user is not disabled, the token has not expired."""
        if principal.expires_at is not None and principal.expires_at <= datetime.now(UTC):
            return False
        try:
            if principal.how == "key":
                user = await self._user(await self._keys.key_by_id(principal.session_id))
            else:
                user = await self._user(await self._accounts.session(principal.session_id))
        except Unauthenticated:
            return False
        return user.user_id == principal.user_id

    async def _by_key(self, token: str) -> Principal:
        key = await self._keys.key(hash_token(token)) if len(token) <= MAX_TOKEN else None
        if key is None:
            raise Unauthenticated("the API key is not valid: it was revoked, has expired, or never was")
        user, now = await self._user(key), datetime.now(UTC)
        if key.last_used_at is None or now - key.last_used_at >= USED_AGAIN:
            await self._keys.key_used(key.key_id, now)
        return Principal(
            user_id=user.user_id,
            permissions=key.allowed(user.permissions),
            session_id=key.key_id,
            how="key",
            expires_at=key.expires_at,
        )

    async def _user(self, session: Session | ApiKey | None) -> User:
        user = None if session is None else await self._accounts.user(session.user_id)
        if user is None or user.disabled:
            raise Unauthenticated("the login has ended: log in again")
        return user


def cookie_of(cookie_header: str | None, name: str) -> str | None:
    """The value of one cookie in a `Cookie` header; None where it is missing or empty."""
    return (cookie_parser(cookie_header).get(name) or None) if cookie_header else None


def bearer_of(authorization: str | None) -> str | None:
    """The token of an `Authorization: Bearer` header; None for none and for another scheme (a proxy's own Basic)."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
