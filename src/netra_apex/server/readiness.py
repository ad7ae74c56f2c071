"""Whether this process can serve: it is not draining, its database answers, its model can be reached."""

import asyncio
import time
from contextlib import suppress
from typing import Self

from netra_apex.core.ports import Accounts, Model
from netra_apex.errors import ModelFailed, StoreError

DATABASE_SECONDS = 2.0
MODEL_SECONDS = 5.0  # how long a check of the model may take
FIRST_WAIT_SECONDS = 2.0  # how long the first question waits for its answer; later ones get the last answer at once
FRESH_SECONDS = 10.0


class Readiness:
    """Answers `/readyz`. An async context manager: the model's check is a task that it owns.

    Why the model counts: one that is set and cannot be reached fails every run, so a balancer should send people
    elsewhere. It is asked at most every ten seconds, and only when somebody asks us.
    """

    def __init__(self, accounts: Accounts, model: Model) -> None:
        self._accounts = accounts
        self._model = model
        self._checking: asyncio.Task[None] | None = None
        self._model_reason: str | None = None
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
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self._accounts.has_admin()
        except TimeoutError:
            return f"database: no answer within {DATABASE_SECONDS:g} s"
        except StoreError as error:
            return f"database: {error}"
        return None

    async def _model_state(self) -> str | None:
        fresh = self._checked_at is not None and time.monotonic() - self._checked_at < FRESH_SECONDS
        if not fresh and (self._checking is None or self._checking.done()):
            self._checking = asyncio.create_task(self._check_model())
        if self._checked_at is None and self._checking is not None:
            await asyncio.wait({self._checking}, timeout=FIRST_WAIT_SECONDS)
            if self._checked_at is None:
                return f"model: {self._model.name} has not answered yet"
        return self._model_reason

    async def _check_model(self) -> None:
        try:
            async with asyncio.timeout(MODEL_SECONDS):
                reason = await self._model.check()
        except TimeoutError:
            reason = f"{self._model.name} did not answer within {MODEL_SECONDS:g} s"
        except ModelFailed as error:
            reason = str(error)
        self._model_reason = None if reason is None else f"model: {reason}"
        self._checked_at = time.monotonic()
