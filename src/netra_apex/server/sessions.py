"""Logins: how one begins, is renewed, and ends with everything that stands on it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from netra_apex.core.accounts import Session, User, check_username
from netra_apex.core.ids import new_id
from netra_apex.core.ports import Accounts
from netra_apex.errors import Forbidden, Invalid, Unauthenticated
from netra_apex.server.passwords import Passwords
from netra_apex.server.throttle import LoginThrottle
from netra_apex.server.tokens import AccessTokens, Claims, hash_token, new_token

# Two tabs that renew at once both hold the token that one of them has just replaced: for so long, that is no theft.
RACE_SECONDS = 10.0

log = structlog.get_logger("netra_apex.server")


class Sockets(Protocol):
    """Who closes a login's sockets."""

    def close_session(self, session_id: str, code: int = 4401) -> None:
        """Closes those that are open now."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetimes:
    """How long an access token and a login live."""

    access: timedelta
    session: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """What a login or its renewal hands out. `cookie` and `refresh` are None where the client keeps what it has."""

    user: User
    session: Session
    access_token: str
    expires_in: int
    now: datetime
    cookie: str | None = None
    refresh: str | None = None


class Sessions:
    """Begins, renews and ends logins."""

    def __init__(
        self, accounts: Accounts, tokens: AccessTokens, passwords: Passwords, sockets: Sockets, lifetimes: Lifetimes
    ) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._passwords = passwords
        self._sockets = sockets
        self._lifetimes = lifetimes
        self.throttle = LoginThrottle()

    async def login(self, username: str, password: str, address: str) -> Grant:
        """Begins a login.

        Raises:
            Unauthenticated: name or password is wrong, or the user is disabled; the answer never says which.
            Flood: this address has failed too often of late.
        """
        user_id = _normal(username)
        # A name that cannot exist shares one bucket: what was typed as a name may have been a password.
        key = user_id or "?"
        self.throttle.check(address, key)
        async with self._passwords.turn() as turn:
            # Once more: the failures of those who went before us in the queue count.
            self.throttle.check(address, key)
            stored = None if user_id is None else await self._accounts.password_hash(user_id)
            if not await turn.verify(stored, password):
                self.throttle.failed(address, key)
                # Without the name: what was typed as one may have been a password.
                log.warning("login failed", address=address, known=stored is not None)
                raise Unauthenticated("the name or the password is wrong")
        self.throttle.succeeded(address, key)
        user = None if user_id is None else await self._accounts.user(user_id)
        if user is None or user.disabled or stored is None:
            raise Unauthenticated("the name or the password is wrong")
        return await self._begin(user)

    async def change_password(self, user_id: str, current: str, new: str, address: str) -> Grant:
        """Sets a user's password, for whoever knows the one that it was; all logins end, and a new one begins.

        Raises:
            Forbidden: the current password is wrong.
            Flood: it was wrong too often of late.
        """
        self.throttle.check(address, user_id)
        async with self._passwords.turn() as turn:
            self.throttle.check(address, user_id)
            if not await turn.verify(await self._accounts.password_hash(user_id), current):
                self.throttle.failed(address, user_id)
                log.warning("a password was not changed: the current one was wrong", user_id=user_id)
                raise Forbidden("the current password is wrong")
        ended = await self._accounts.sessions_of(user_id)
        user = await self._accounts.user(user_id)
        if user is None or not await self._accounts.set_password(user_id, await self._passwords.hash(new)):
            raise Unauthenticated("the login has ended: log in again")
        for session in ended:
            self._sockets.close_session(session.session_id, 4401)
        return await self._begin(user)

    async def renew(self, refresh: str | None) -> Grant:
        """A new access token for a refresh token, which is replaced.

        The token that was replaced last is good for an access token for ten seconds more, and after that a proof of
        theft: of two who hold it one stole it, so the login ends.

        Raises:
            Unauthenticated: the token is none of a login that lasts, or has been used before.
        """
        if not refresh:
            raise Unauthenticated("there is no refresh token: log in")
        hashed = hash_token(refresh)
        session = await self._accounts.session_by_refresh(hashed)
        if session is None:
            raise Unauthenticated("the login has ended: log in again")
        now = datetime.now(UTC)
        replacement = new_token()
        if session.refresh_hash == hashed:
            if await self._accounts.rotate(session.session_id, hashed, hash_token(replacement), now):
                return await self._grant(session, refresh=replacement)
            session = await self._accounts.session(session.session_id)
            if session is None:
                raise Unauthenticated("the login has ended: log in again")
        if session.previous_refresh_hash != hashed or now - session.rotated_at > timedelta(seconds=RACE_SECONDS):
            await self.end(session.session_id)
            log.warning("a spent refresh token was used: login ended", user_id=session.user_id)
            raise Unauthenticated("the refresh token was used before, so the login has ended: log in again")
        return await self._grant(session)

    async def end(self, session_id: str) -> None:
        """Ends a login: its tokens and cookies are void, its sockets close with 4401."""
        await self._accounts.end_session(session_id)
        self._sockets.close_session(session_id, 4401)

    async def _begin(self, user: User) -> Grant:
        cookie, refresh = new_token(), new_token()
        now = datetime.now(UTC)
        session = Session(
            session_id=new_id("ses"),
            user_id=user.user_id,
            cookie_hash=hash_token(cookie),
            refresh_hash=hash_token(refresh),
            previous_refresh_hash=None,
            rotated_at=now,
            created_at=now,
            expires_at=now + self._lifetimes.session,
        )
        await self._accounts.add_session(session)
        return await self._grant(session, cookie=cookie, refresh=refresh)

    async def _grant(self, session: Session, *, cookie: str | None = None, refresh: str | None = None) -> Grant:
        user = await self._accounts.user(session.user_id)
        if user is None or user.disabled:
            raise Unauthenticated("the login has ended: log in again")
        now = datetime.now(UTC)
        expires_at = min(now + self._lifetimes.access, session.expires_at)
        return Grant(
            user=user,
            session=session,
            access_token=self._tokens.issue(Claims(user.user_id, session.session_id, expires_at), now),
            expires_in=max(1, int((expires_at - now).total_seconds())),
            now=now,
            cookie=cookie,
            refresh=refresh,
        )


def _normal(username: str) -> str | None:
    try:
        return check_username(username)
    except Invalid:
        return None
