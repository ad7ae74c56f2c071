"""Identifiers: sortable by the time they were made, and unguessable."""

import secrets
import time

ENTROPY_BYTES = 10  # 80 bits, as a ULID has: too many to guess or to collide


def new_id(kind: str) -> str:
    """A new identifier `kind_` + 12 hex digits of milliseconds since 1970 + 20 random hex digits.

    Ids of one kind sort by creation (within a millisecond: at random). Nothing is ever parsed out of an id.
    """
    return f"{kind}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(ENTROPY_BYTES)}"
