"""Routes of a user's API keys: `/api/me/keys`. Only a login makes, lists or revokes them, never a key."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from netra_apex.core.accounts import ApiKey
from netra_apex.core.ids import new_id
from netra_apex.core.permissions import check_permissions
from netra_apex.errors import Forbidden, NotFound
from netra_apex.server.auth import Principal
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import Instant, Listing, Name, RequestBody
from netra_apex.server.tokens import hash_token, new_key

router = APIRouter(prefix="/api/me/keys", tags=["keys"], dependencies=SECURITY)
MAX_DAYS = 3660
MAX_PERMISSIONS = 100


class NewKey(RequestBody):
    """What a key is to be. Without `permissions` it has all that its user has but `admin`; without `days` no end."""

    name: Name
    permissions: Annotated[list[str] | None, Field(max_length=MAX_PERMISSIONS)] = None
    days: Annotated[int | None, Field(ge=1, le=MAX_DAYS)] = None


class KeyShape(BaseModel):
    """An API key, without itself. `permissions` null: all of its user's, but for `admin`."""

    key_id: str
    name: str
    permissions: list[str] | None
    created_at: Instant
    expires_at: Instant | None
    last_used_at: Instant | None

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """From a stored key."""
        return cls(
            key_id=key.key_id,
            name=key.name,
            permissions=None if key.permissions is None else sorted(key.permissions),
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
        )


class MadeKey(KeyShape):
    """A key that was just made; `key` is shown this once, and stored as a hash."""

    key: str


def with_login(principal: Principal) -> Principal:
    """Who calls, if by a login.

    Raises:
        Forbidden: by an API key, which whoever finds it must not be able to outlive.
    """
    if principal.how == "key":
        raise Forbidden("an API key cannot do this: log in")
    return principal


def make_key(user_id: str, name: str, permissions: list[str] | None, days: int | None) -> tuple[ApiKey, str]:
    """A new key, and the text that opens with it.

    Raises:
        Invalid: a permission is none.
    """
    now = datetime.now(UTC)
    key = ApiKey(
        key_id=new_id("key"),
        user_id=user_id,
        name=name,
        permissions=None if permissions is None else check_permissions(permissions),
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    return key, new_key()


@router.get("", operation_id="list_keys", responses=responses(401, 403))
async def list_keys(principal: Caller, services: Running) -> Listing[KeyShape]:
    """The user's keys that last, the oldest first."""
    keys = await services.runtime.stores.keys.keys(with_login(principal).user_id)
    return Listing[KeyShape](items=[KeyShape.of(key) for key in keys], next_cursor=None)


@router.post("", operation_id="add_key", status_code=201, responses=responses(401, 403, 413, 422))
async def add_key(body: NewKey, principal: Caller, services: Running) -> MadeKey:
    """Makes a key, which is shown this once. It never may more than its user may."""
    key, text = make_key(with_login(principal).user_id, body.name, body.permissions, body.days)
    lacking = (key.permissions or frozenset()) - principal.permissions
    if lacking:
        raise Forbidden(f"you lack the permission {', '.join(sorted(lacking))} yourself")
    await services.runtime.stores.keys.add_key(key, hash_token(text))
    return MadeKey(**dict(KeyShape.of(key)), key=text)


@router.delete("/{key_id}", operation_id="revoke_key", status_code=204, responses=responses(401, 403, 404, 422))
async def revoke_key(key_id: str, principal: Caller, services: Running) -> None:
    """Revokes a key: it is void at once, and its sockets close."""
    if not await services.runtime.stores.keys.remove_key(with_login(principal).user_id, key_id):
        raise NotFound("key", key_id)
    services.runtime.manager.close_session(key_id)
