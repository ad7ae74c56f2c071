"""Who may log in: users, their sessions, and the checks of a name and a password."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from netra_apex.core.context import check_identity
from netra_apex.core.permissions import ADMIN
from netra_apex.errors import Invalid, InvalidContext

MIN_PASSWORD = 12
MAX_PASSWORD = 1024
_NAME = re.compile(r"[\w][\w.@+\-]{0,63}")


def check_username(name: str) -> str:
    """The user id that this name stands for: the name itself, normalised (NFKC, lower case).

    The name is the id. It never changes, so that what a user owns cannot pass to another by renaming.

    Raises:
        Invalid: it is empty, a placeholder, too long, or has other characters than letters, digits and `. _ @ + -`.
    """
    normal = unicodedata.normalize("NFKC", name).lower()
    if not _NAME.fullmatch(normal):
        raise Invalid("a user name is 1 to 64 letters, digits or . _ @ + - and begins with a letter or digit")
    try:
        return check_identity("username", normal)
    except InvalidContext as error:
        raise Invalid(str(error)) from error


def check_password(password: str) -> str:
    """The password, if it is 12 to 1,024 characters.

    Raises:
        Invalid: it is shorter or longer.
    """
    if len(password) < MIN_PASSWORD:
        raise Invalid(f"a password has at least {MIN_PASSWORD} characters")
    if len(password) > MAX_PASSWORD:
        raise Invalid(f"a password has at most {MAX_PASSWORD} characters")
    return password


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """An account. Its password hash is not part of it: only a login reads that."""

    user_id: str
    permissions: frozenset[str]
    disabled: bool
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A login that has not ended: what its cookie, its refresh token and its access tokens stand on.

    Only hashes of the tokens are stored. `previous_refresh_hash` is the one that `refresh_hash` replaced at
    `rotated_at`: seen again soon, it is two tabs racing; seen later, a stolen token, and the session ends.
    """

    session_id: str
    user_id: str
    cookie_hash: str
    refresh_hash: str
    previous_refresh_hash: str | None
    rotated_at: datetime
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key with which a user's programs call the API; itself it is shown once, and stored as a hash.

    `permissions` are the most that it has, None: all of its user's, but for `admin`, which must be named. It never has
    what its user has not. `expires_at` None: never. `last_used_at` is exact to the hour.
    """

    key_id: str
    user_id: str
    name: str
    permissions: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    def allowed(self, users: frozenset[str]) -> frozenset[str]:
        """What it may do, where its user has these permissions."""
        return users - {ADMIN} if self.permissions is None else users & self.permissions


class ApiKeys(Protocol):
    """Users' API keys. Those that have expired are not there."""

    async def key(self, key_hash: str) -> ApiKey | None: ...

    async def key_by_id(self, key_id: str) -> ApiKey | None: ...

    async def keys(self, user_id: str) -> tuple[ApiKey, ...]: ...

    async def add_key(self, key: ApiKey, key_hash: str) -> None:
        """Raises: NotFound: there is no such user; Invalid: the user has as many as one may have."""
        ...

    async def remove_key(self, user_id: str, key_id: str) -> bool:
        """False where the user has no such key."""
        ...

    async def key_used(self, key_id: str, at: datetime) -> None: ...
