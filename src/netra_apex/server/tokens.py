"""The three tokens of a login: a signed access token, an opaque session cookie, an opaque refresh token."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from netra_apex.errors import Unauthenticated

# Pinned: what a token says about its own algorithm ("none" included) is never followed (RFC 8725, 3.1).
ALGORITHM = "HS256"
TOKEN_BYTES = 32  # 256 bits: nobody guesses it, so a fast hash is enough to store it by
MAX_TOKEN = 2048  # ours have about 300 characters; a longer one is not looked at


def new_token() -> str:
    """An opaque token of 256 random bits, for a cookie or a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


KEY_PREFIX = "netra_"  # so that a key is told from an access token, and found by scanners where it should not be
# Whoever pasted the key of another service is told what ours look like.
_NOT_OURS = f"it is no access token of this server, and no API key, which begins with {KEY_PREFIX}"


def new_key() -> str:
    """An API key: the prefix and 256 random bits."""
    return KEY_PREFIX + new_token()


def hash_token(token: str) -> str:
    """What is stored in place of a token: its SHA-256, so that a copy of the database logs nobody in."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Claims:
    """What an access token says: who, in which login, until when. Never permissions, which change while it lasts."""

    user_id: str
    session_id: str
    expires_at: datetime


class _Payload(msgspec.Struct, frozen=True):
    sub: str
    sid: str
    exp: float
    iat: float


class AccessTokens:
    """Issues and reads access tokens (JWT, RFC 7519) signed with the process's secret."""

    def __init__(self, secret: str) -> None:
        self._key = OctKey.import_key(secret)

    def issue(self, claims: Claims, now: datetime) -> str:
        """The signed token."""
        payload = {
            "sub": claims.user_id,
            "sid": claims.session_id,
            "iat": now.timestamp(),
            "exp": claims.expires_at.timestamp(),
        }
        return jwt.encode({"alg": ALGORITHM}, payload, self._key, algorithms=[ALGORITHM])

    def read(self, token: str, now: datetime) -> Claims:
        """What a token of ours says.

        Raises:
            Unauthenticated: it is not signed by us, is ill-formed, or has expired. The token itself is never repeated.
        """
        if len(token) > MAX_TOKEN or not token.isascii():
            raise Unauthenticated(_NOT_OURS)
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
            payload = msgspec.convert(decoded.claims, _Payload)
            expires_at = datetime.fromtimestamp(payload.exp, UTC)
        except (JoseError, msgspec.ValidationError, ValueError, OverflowError) as error:
            raise Unauthenticated(_NOT_OURS) from error
        if expires_at <= now:
            raise Unauthenticated("the access token has expired")
        return Claims(payload.sub, payload.sid, expires_at)
