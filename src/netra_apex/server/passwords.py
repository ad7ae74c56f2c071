"""Passwords, hashed with argon2id; and checking one so that nobody learns which names exist."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP Password Storage Cheat Sheet, argon2id, its configuration with the least memory pressure that it recommends
# first: 19 MiB, two iterations, one lane. About 20 ms of one core.
MEMORY_KIB = 19_456
ITERATIONS = 2
LANES = 1
CHECKS_AT_ONCE = 2  # a flood of logins takes 38 MiB and two threads, never all of the machine

_hasher = PasswordHasher(time_cost=ITERATIONS, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID)


def hash_password(password: str) -> str:
    """The password as it is stored. Takes about 20 ms; on a loop, use `Passwords.hash`."""
    return _hasher.hash(password)


def verify(password_hash: str, password: str) -> bool:
    """Whether this is the password. Takes about 20 ms; on a loop, use `Passwords.verify`."""
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class Passwords:
    """Hashing off the loop, two at once, the others in turn."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(CHECKS_AT_ONCE)
        self._nobodys = hash_password(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """The password as it is stored."""
        async with self._turns:
            return await asyncio.to_thread(hash_password, password)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator["Turn"]:
        """One's turn to check a password; what is decided just before (a limit, say) holds while it is checked."""
        async with self._turns:
            yield Turn(self._nobodys)


class Turn:
    """The right to check one password now."""

    def __init__(self, nobodys: str) -> None:
        self._nobodys = nobodys

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password. `None`, for a name that is not known, takes as long and is never right."""
        right = await asyncio.to_thread(verify, password_hash or self._nobodys, password)
        return right and password_hash is not None
