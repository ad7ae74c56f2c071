"""Users' API keys (port: `core.accounts.ApiKeys`)."""

from datetime import datetime
from typing import Any

import msgspec

from netra_apex.core.accounts import ApiKey
from netra_apex.errors import Invalid, NotFound
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import from_ms, may_be_id, now_ms, to_ms
from netra_apex.stores.statements import statements

SQL = statements("keys")
KEYS_PER_USER = 50


class KeyStore:
    """See `core.accounts.ApiKeys`, which this is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def key(self, key_hash: str) -> ApiKey | None:
        """The key of this hash, while it lasts."""
        return await self._one("key", {"key_hash": key_hash})

    async def key_by_id(self, key_id: str) -> ApiKey | None:
        """The key, while it lasts."""
        return await self._one("key_by_id", {"key_id": key_id})

    async def keys(self, user_id: str) -> tuple[ApiKey, ...]:
        """The user's keys that last, the oldest first."""
        values = {"user_id": user_id, "now": now_ms()}
        rows = await self._database.read(lambda tx: tx.all(SQL["keys"], values), user=None)
        return tuple(_key(row) for row in rows)

    async def add_key(self, key: ApiKey, key_hash: str) -> None:
        """Stores a key by its hash.

        Raises:
            NotFound: there is no such user.
            Invalid: the user has as many keys as one may have.
        """
        scope = None if key.permissions is None else msgspec.json.encode(sorted(key.permissions)).decode()
        values: dict[str, Any] = {
            "key_id": key.key_id,
            "user_id": key.user_id,
            "name": key.name,
            "key_hash": key_hash,
            "permissions": scope,
            "now": to_ms(key.created_at),
            "expires_at": None if key.expires_at is None else to_ms(key.expires_at),
        }

        async def job(tx: Transaction) -> None:
            await tx.lock(key.user_id)
            if await tx.one(SQL["user"], values) is None:
                raise NotFound("user", key.user_id)
            await tx.run(SQL["forget_expired"], values)
            count = await tx.one(SQL["count"], values)
            if count is not None and count[0] >= KEYS_PER_USER:
                raise Invalid(f"a user has at most {KEYS_PER_USER} keys: revoke some first")
            await tx.run(SQL["add"], values)

        await self._database.write(job, user=None)

    async def remove_key(self, user_id: str, key_id: str) -> bool:
        """Revokes a key; False where the user has no such."""
        values = {"user_id": user_id, "key_id": key_id}
        if not may_be_id(key_id):
            return False
        return await self._database.write(lambda tx: tx.run(SQL["remove"], values), user=None) > 0

    async def key_used(self, key_id: str, at: datetime) -> None:
        """Keeps when a key was used."""
        values = {"key_id": key_id, "now": to_ms(at)}
        await self._database.write(lambda tx: tx.run(SQL["used"], values), user=None)

    async def _one(self, name: str, values: dict[str, Any]) -> ApiKey | None:
        asked = values | {"now": now_ms()}
        row = await self._database.read(lambda tx: tx.one(SQL[name], asked), user=None)
        return None if row is None else _key(row)


def _key(row: Row) -> ApiKey:
    key_id, user_id, name, permissions, created_at, expires_at, last_used_at = row
    return ApiKey(
        key_id=key_id,
        user_id=user_id,
        name=name,
        permissions=None if permissions is None else msgspec.json.decode(permissions, type=frozenset[str]),
        created_at=from_ms(created_at),
        expires_at=None if expires_at is None else from_ms(expires_at),
        last_used_at=None if last_used_at is None else from_ms(last_used_at),
    )
