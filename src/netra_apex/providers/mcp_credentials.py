"""What a user has given for an MCP server, as it is kept: a token, or what an authorisation server has granted."""

import hashlib
from typing import Any

import msgspec

_TOKEN, _GRANT = "token:", "grant:"


class Grant(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What OAuth has given: tokens until `expires_at` (seconds since 1970), and by whom, for when they are renewed."""

    id: str
    redirect: str
    client: dict[str, Any] | None = None
    tokens: dict[str, Any] | None = None
    expires_at: float | None = None
    issuer: str | None = None
    metadata: dict[str, Any] | None = None


Credential = str | Grant


def kept(credential: Credential) -> str:
    """The credential as it is stored."""
    if isinstance(credential, str):
        return f"{_TOKEN}{credential}"
    return f"{_GRANT}{msgspec.json.encode(credential).decode()}"


def read(text: str) -> Credential:
    """The credential that was stored."""
    if text.startswith(_GRANT):
        return msgspec.json.decode(text.removeprefix(_GRANT), type=Grant)
    return text.removeprefix(_TOKEN)


def identity(credential: Credential | None) -> str:
    """What tells one credential from another, and nothing else of it. A grant stays the same when it is renewed."""
    if credential is None:
        return ""
    known = f"{_TOKEN}{credential}" if isinstance(credential, str) else f"{_GRANT}{credential.id}"
    return hashlib.sha256(known.encode()).hexdigest()


def secrets_of(credential: Credential | None) -> tuple[str, ...]:
    """The values that must not be told."""
    if credential is None:
        return ()
    if isinstance(credential, str):
        return (credential,)
    held = (credential.tokens or {}) | {"client_secret": (credential.client or {}).get("client_secret")}
    found = (held.get(name) for name in ("access_token", "refresh_token", "id_token", "client_secret"))
    return tuple(value for value in found if isinstance(value, str) and value)
