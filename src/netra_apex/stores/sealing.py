"""Sealing what the journal keeps: steps must be given back whole, secrets included, and the file must hold none."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from netra_apex.errors import StoreError

_NONCE_BYTES = 12  # as NIST SP 800-38D has it for AES-GCM


class Seal:
    """AES-256-GCM under a key that is derived from NETRA_SECRET_KEY.

    What was sealed for one place (user, run, step) cannot be opened as another's. A new secret makes what was sealed
    under the old one unreadable: runs that were under way then cannot be taken up.
    """

    def __init__(self, secret: str) -> None:
        key = HKDF(SHA256(), length=32, salt=None, info=b"netra journal 1").derive(secret.encode())
        self._cipher = AESGCM(key)

    @staticmethod
    def mark(secret: str) -> str:
        """What tells two secrets apart, and nothing else of them."""
        return HKDF(SHA256(), length=16, salt=None, info=b"netra mark 1").derive(secret.encode()).hex()

    def close(self, plain: bytes, *place: str) -> bytes:
        """The sealed bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _place(place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """What was sealed for this place.

        Raises:
            StoreError: it was sealed with another secret or for another place, or was changed.
        """
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _place(place))
        except InvalidTag as error:
            raise StoreError("a step of the journal cannot be read: NETRA_SECRET_KEY has changed") from error


def _place(parts: tuple[str, ...]) -> bytes:
    return "\0".join(parts).encode()
