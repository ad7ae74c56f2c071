"""Whether this process can serve: it is not draining, its database answers, its model can be reached."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

import structlog

from netra_apex.core.ports import Accounts
from netra_apex.core.voices import Model
from netra_apex.errors import ModelFailed, StoreError, sentence

log = structlog.get_logger("netra_apex.server")

DATABASE_SECONDS = 2.0
MODEL_SECONDS = 5.0  # how long a check of the model may take
FIRST_WAIT_SECONDS = 2.0  # how long the first question waits for its answer; later ones get the last answer at once
FRESH_SECONDS = 10.0
WATCHED_SECONDS = 2.0  # while an administrator looks on
HANGS_SECONDS = 1.5  # after so long without an answer an administrator is told that there is none


class Readiness:
    """Answers `/readyz`. An async context manager: the model's check is a task that it owns.

    Why the model counts: one that is set and cannot be reached fails every run, so a balancer should send people
    elsewhere. It is asked at most every ten seconds, and only when somebody asks us; so often the
    database is written to, and otherwise read.
    """

    def __init__(self, accounts: Accounts, write: Callable[[], Awaitable[None]], model: Model) -> None:
        self._accounts = accounts
        self._write = write
        self._written_at: float | None = None
        self._model = model
        self._checking: asyncio.Task[None] | None = None
        self._model_reason: str | None = None
        self._model_cause: str | None = None
        self._asked_at = 0.0
        self._checked_at: float | None = None
        self.draining = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._checking is not None:
            self._checking.cancel()
            with suppress(asyncio.CancelledError):
                await self._checking

    async def reasons(self) -> tuple[str, ...]:
        """Why this process is not ready; none when it is."""
        found = ("draining: the server is about to stop",) if self.draining else ()
        return (*found, *filter(None, (await self._database(), await self._model_state())))

    async def _database(self) -> str | None:
        fresh = self._written_at is not None and time.monotonic() - self._written_at < FRESH_SECONDS
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                if fresh:
                    await self._accounts.has_admin()
                else:
                    # A full disk can still be read; it takes no message and no login.
                    await self._write()
                    self._written_at = time.monotonic()
        except TimeoutError:
            return f"database: no answer within {DATABASE_SECONDS:g} s"
        except StoreError as error:
            log.warning("the database does not answer", error=str(error))
            return "database: it does not answer; the log and `netra doctor` say why"
        return None

    async def _model_state(self) -> str | None:
        self._ask_model(FRESH_SECONDS)
        if self._checked_at is None and self._checking is not None:
            await asyncio.wait({self._checking}, timeout=FIRST_WAIT_SECONDS)
            if self._checked_at is None:
                return f"model: {self._model.name} has not answered yet"
        return self._model_reason

    def model_trouble(self) -> str | None:
        """Why the model does not answer, in full: for administrators, who look on. Never waits; the next look knows."""
        self._ask_model(WATCHED_SECONDS)
        silent = time.monotonic() - self._asked_at
        if self._checking is not None and not self._checking.done() and silent > HANGS_SECONDS:
            return self._model_cause or f"{self._model.name} has not answered for {silent:.0f} s"
        return self._model_cause

    def _ask_model(self, fresh_seconds: float) -> None:
        fresh = self._checked_at is not None and time.monotonic() - self._checked_at < fresh_seconds
        if not fresh and (self._checking is None or self._checking.done()):
            self._asked_at = time.monotonic()
            self._checking = asyncio.create_task(self._check_model())

    async def _check_model(self) -> None:
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                reason = await self._model.check()
        except TimeoutError:
            reason = f"no answer within {MODEL_SECONDS:g} s"
        except ModelFailed as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a model's own code: whatever it raises, it does not answer
            reason = sentence(error)
        self._model_cause = reason
        if reason is not None:
            # Only there and in the log: the answer goes to anybody, and the reason may name inner addresses or quote
            # the provider.
            log.warning("the model does not answer", model=self._model.name, reason=reason)
            reason = f"model: {self._model.name} does not answer; the log and `netra doctor` say why"
        self._model_reason = reason
        self._checked_at = time.monotonic()
