"""Users, sessions and the set-up token (port: `core.ports.Accounts`)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from netra_apex.core.accounts import Session, User
from netra_apex.core.permissions import ADMIN
from netra_apex.errors import Invalid
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import from_ms, may_be_id, now_ms, to_ms
from netra_apex.stores.statements import statements

SQL = statements("accounts")


class AccountStore:
    """See `core.ports.Accounts`, which this is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user(self, user_id: str) -> User | None:
        """The account, disabled or not."""
        row = await self._one("user", {"user_id": user_id})
        return None if row is None else user_of(row)

    async def password_hash(self, user_id: str) -> str | None:
        """None where there is no such user, or a disabled one."""
        row = await self._one("password_hash", {"user_id": user_id})
        return None if row is None else str(row[0])

    async def users(self) -> tuple[User, ...]:
        """Everybody, by name."""
        rows = await self._database.read(lambda tx: tx.all(SQL["users"], {}), user=None)
        return tuple(user_of(row) for row in rows)

    async def add_user(self, user_id: str, password_hash: str, permissions: frozenset[str]) -> None:
        """Raises: Invalid: the name is taken."""
        await self.add_users([(user_id, password_hash, permissions)])

    async def add_users(self, users: Sequence[tuple[str, str, frozenset[str]]]) -> None:
        """Adds all of these (name, password hash, permissions), or none.

        Raises:
            Invalid: names are taken.
        """

        async def job(tx: Transaction) -> None:
            for name in sorted(name for name, *_ in users):  # in one order, so that nobody waits for each other
                await tx.lock(name)
            taken = [name for name, *_ in users if await tx.one(SQL["user"], {"user_id": name})]
            if taken:
                there = "there is a user" if len(taken) == 1 else "there are users"
                raise Invalid(f"{there} {', '.join(taken)} already")
            await tx.run_each(SQL["add_user"], [_new_user(*user) for user in users])

        await self._database.write(job, user=None)

    async def set_password(self, user_id: str, password_hash: str) -> bool:
        """Also ends the user's sessions: who had the old password is logged out."""
        return await self._changed_and_ended("set_password", {"user_id": user_id, "password_hash": password_hash})

    async def set_disabled(self, user_id: str, *, disabled: bool) -> bool:
        """Disabling also ends the user's sessions."""
        values = {"user_id": user_id, "disabled": int(disabled)}
        if not disabled:
            return await self._changed("set_disabled", values)
        return await self._changed_and_ended("set_disabled", values)

    async def add_session(self, session: Session) -> None:
        """Stores a login, and forgets those that have expired."""
        values = {
            "session_id": session.session_id,
            "user_id": session.user_id,
            "cookie_hash": session.cookie_hash,
            "refresh_hash": session.refresh_hash,
            "previous_refresh_hash": session.previous_refresh_hash,
            "rotated_at": to_ms(session.rotated_at),
            "created_at": to_ms(session.created_at),
            "expires_at": to_ms(session.expires_at),
        }

        async def job(tx: Transaction) -> None:
            await tx.run(SQL["forget_expired_sessions"], {"now": now_ms()})
            await tx.run(SQL["add_session"], values)

        await self._database.write(job, user=None)

    async def session(self, session_id: str) -> Session | None:
        """The login, while it lasts."""
        return _session(await self._one("session", {"session_id": session_id, "now": now_ms()}))

    async def session_by_cookie(self, cookie_hash: str) -> Session | None:
        """The login that this cookie belongs to."""
        return _session(await self._one("session_by_cookie", {"cookie_hash": cookie_hash, "now": now_ms()}))

    async def session_by_refresh(self, refresh_hash: str) -> Session | None:
        """The login whose refresh token this is, or was."""
        return _session(await self._one("session_by_refresh", {"refresh_hash": refresh_hash, "now": now_ms()}))

    async def live_sessions(self) -> frozenset[str]:
        """The ids of all logins and keys that last, so that sockets of ended ones can be closed."""
        rows = await self._database.read(lambda tx: tx.all(SQL["live_sessions"], {"now": now_ms()}), user=None)
        return frozenset(str(row[0]) for row in rows)

    async def rotate(self, session_id: str, old_hash: str, new_hash: str, at: datetime) -> bool:
        """Puts `new_hash` in the place of `old_hash`; False where another rotation was first."""
        values = {"session_id": session_id, "old_hash": old_hash, "new_hash": new_hash, "now": to_ms(at)}

        async def job(tx: Transaction) -> bool:
            if not await tx.run(SQL["rotate"], values):
                return False  # another was first, which is known once it has let go of the row
            await tx.run(SQL["spend"], values)
            return True

        return await self._database.write(job, user=None)

    async def end_session(self, session_id: str) -> None:
        """Ends a login; ending it twice is as ending it once."""
        await self._changed("end_session", {"session_id": session_id})

    async def sessions_of(self, user_id: str) -> tuple[Session, ...]:
        """The user's logins that last, the latest first."""
        values = {"user_id": user_id, "now": now_ms()}
        rows = await self._database.read(lambda tx: tx.all(SQL["sessions_of"], values), user=None)
        return tuple(session for row in rows if (session := _session(row)) is not None)

    async def end_session_of(self, user_id: str, session_id: str) -> bool:
        """Ends a login of this user; False where there is no such."""
        values = {"user_id": user_id, "session_id": session_id}
        return may_be_id(session_id) and await self._changed("end_session_of", values)

    async def put_setup_token(self, token_hash: str, expires_at: datetime) -> None:
        """The one valid set-up token; an earlier one is void."""
        await self._changed("put_setup_token", {"token_hash": token_hash, "expires_at": to_ms(expires_at)})

    async def setup_token_valid(self, token_hash: str, at: datetime) -> bool:
        """Whether `redeem_setup_token` would take it now."""
        return await self._database.read(lambda tx: _token_valid(tx, token_hash, at), user=None)

    async def redeem_setup_token(self, token_hash: str, at: datetime, user_id: str, password_hash: str) -> bool:
        """Makes the first admin and voids the token, in one transaction.

        Raises:
            Invalid: the name is taken; the token stays valid.
        """
        values = _new_user(user_id, password_hash, frozenset({ADMIN}))

        async def job(tx: Transaction) -> bool:
            # The token before the name: who has none learns nothing of which accounts exist.
            if not await _token_valid(tx, token_hash, at):
                return False
            if await tx.one(SQL["user"], {"user_id": user_id}) is not None:
                raise Invalid(f"there is a user {user_id} already")
            if not await tx.run(SQL["void_setup_token"], {}):
                return False  # another process was first
            await tx.run(SQL["add_user"], values)
            return True

        return await self._database.write(job, user=None)

    async def has_admin(self) -> bool:
        """Whether an admin who is not disabled exists."""
        row = await self._one("has_admin", {})
        return bool(row and row[0])

    async def _one(self, name: str, values: Mapping[str, Any]) -> Row | None:
        return await self._database.read(lambda tx: tx.one(SQL[name], values), user=None)

    async def _changed(self, name: str, values: Mapping[str, Any]) -> bool:
        return await self._database.write(lambda tx: tx.run(SQL[name], values), user=None) > 0

    async def _changed_and_ended(self, name: str, values: Mapping[str, Any]) -> bool:
        async def job(tx: Transaction) -> bool:
            changed = await tx.run(SQL[name], values) > 0
            await tx.run(SQL["end_sessions_of"], {"user_id": values["user_id"]})
            return changed

        return await self._database.write(job, user=None)


async def _token_valid(tx: Transaction, token_hash: str, at: datetime) -> bool:
    admin = await tx.one(SQL["has_admin"], {})
    if admin is None or admin[0]:
        return False
    return await tx.one(SQL["setup_token"], {"token_hash": token_hash, "now": to_ms(at)}) is not None


def _new_user(user_id: str, password_hash: str, permissions: frozenset[str]) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "password_hash": password_hash,
        "permissions": msgspec.json.encode(sorted(permissions)).decode(),
        "now": now_ms(),
    }


def user_of(row: Row) -> User:
    """An account from its columns, in the order that `accounts.sql` selects them."""
    user_id, permissions, disabled, created_at = row
    return User(
        user_id=user_id,
        permissions=msgspec.json.decode(permissions, type=frozenset[str]),
        disabled=bool(disabled),
        created_at=from_ms(created_at),
    )


def _session(row: Row | None) -> Session | None:
    if row is None:
        return None
    session_id, user_id, cookie_hash, refresh_hash, previous, rotated_at, created_at, expires_at = row
    return Session(
        session_id=session_id,
        user_id=user_id,
        cookie_hash=cookie_hash,
        refresh_hash=refresh_hash,
        previous_refresh_hash=previous,
        rotated_at=from_ms(rotated_at),
        created_at=from_ms(created_at),
        expires_at=from_ms(expires_at),
    )
