"""Users' credentials for servers, sealed (port: `core.ports.Credentials`)."""

from typing import Any

from netra_apex.errors import StoreError
from netra_apex.stores.database import Database
from netra_apex.stores.rows import now_ms
from netra_apex.stores.sealing import Seal
from netra_apex.stores.statements import statements

SQL = statements("credentials")
_USE = "credential"


class CredentialStore:
    """See `core.ports.Credentials`, which this is. Without a seal it refuses to: only who has the secret can."""

    def __init__(self, database: Database, seal: Seal | None) -> None:
        self._database = database
        self._seal = seal

    async def get(self, user_id: str, server: str, place: str) -> str | None:
        """The user's credential for this server at this place.

        None where there is none, also where it was kept for another place, or under another NETRA_SECRET_KEY.
        """
        values = {"user_id": user_id, "server": server}
        row = await self._database.read(lambda tx: tx.one(SQL["credential"], values), user=user_id)
        if row is None:
            return None
        try:
            return self._sealing().open(bytes(row[0]), _USE, user_id, server, place).decode()
        except StoreError:
            return None

    async def put(self, user_id: str, server: str, place: str, credential: str) -> None:
        """Keeps it in the place of what was there."""
        sealed = self._sealing().close(credential.encode(), _USE, user_id, server, place)
        values: dict[str, Any] = {"user_id": user_id, "server": server, "content": sealed, "now": now_ms()}
        await self._database.write(lambda tx: tx.run(SQL["keep"], values), user=user_id, repeatable=True)

    async def delete(self, user_id: str, server: str) -> bool:
        """Forgets it; False where there was none."""
        values = {"user_id": user_id, "server": server}
        return bool(await self._database.write(lambda tx: tx.run(SQL["drop"], values), user=user_id))

    def _sealing(self) -> Seal:
        if self._seal is None:
            raise StoreError("credentials are read and written by who has the server's secret")
        return self._seal
