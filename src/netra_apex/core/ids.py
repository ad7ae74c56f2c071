"""Identifiers: sortable by the time they were made, and unguessable."""

import hashlib
import secrets
import time

ENTROPY_BYTES = 10  # 80 bits, as a ULID has: too many to guess or to collide


def new_id(kind: str) -> str:
    """A new identifier `kind_` + 12 hex digits of milliseconds since 1970 + 20 random hex digits.

    Ids of one kind sort by creation (within a millisecond: at random). Nothing is ever parsed out of an id.
    """
    return f"{kind}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(ENTROPY_BYTES)}"


def derived_id(kind: str, *of: str) -> str:
    """An identifier that is the same each time it is made of the same: what is made anew after a crash keeps its name.

    As hard to guess as the hardest of its parts, which a run's id is.
    """
    return f"{kind}_{hashlib.blake2b(chr(0).join(of).encode(), digest_size=16).hexdigest()}"
