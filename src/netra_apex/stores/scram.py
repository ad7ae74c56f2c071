"""What a Postgres server keeps of a password: a SCRAM-SHA-256 verifier (RFC 5802), made here.

Why here: a `create role` with the password itself in it is written to the server's log where it fails, or where such
statements are logged.
"""

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64encode

ROUNDS = 4096  # as the server itself makes them
SALT_BYTES = 16
_PROHIBITED = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def verifier(password: str) -> str:
    """The verifier, as `create role … password` takes it in the password's place."""
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password).encode(), salt, ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ROUNDS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _prepared(password: str) -> str:
    """The password as whoever logs in sends it (RFC 4013, SASLprep): as it is, where that refuses it."""
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(each) else each for each in password if not stringprep.in_table_b1(each)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    if not normal or any(table(each) for each in normal for table in _PROHIBITED) or not _one_direction(normal):
        return password
    return normal


def _one_direction(text: str) -> bool:
    leftwards = [stringprep.in_table_d1(each) for each in text]
    if not any(leftwards):
        return True
    return leftwards[0] and leftwards[-1] and not any(map(stringprep.in_table_d2, text))


def _text(value: bytes) -> str:
    return b64encode(value).decode()
