import asyncio
from contextlib import asynccontextmanager

import pytest

from netra_apex.errors import ModelUnavailable, StoreError
from netra_apex.server import readiness
from netra_apex.server.readiness import Readiness

SILENT = "model: openai:gpt-5 does not answer; the log and `netra doctor` say why"
DATABASE = "database: it does not answer; the log and `netra doctor` say why"


class Accounts:
    """A database that answers, refuses, or hangs."""

    def __init__(self):
        self.error = None
        self.hangs = False

    async def write(self):
        await self.has_admin()

    async def has_admin(self):
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return True


class Model:
    name = "openai:gpt-5"

    def __init__(self):
        self.asked = 0
        self.reason = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def check(self):
        self.asked += 1
        await self.answers.wait()
        return self.reason


@asynccontextmanager
async def ready():
    accounts, model = Accounts(), Model()
    async with asyncio.timeout(10), Readiness(accounts, accounts.write, model) as each:
        yield each, accounts, model


def test_a_process_with_database_and_model_is_ready():
    async def main():
        async with ready() as (each, _, _):
            assert await each.reasons() == ()

    asyncio.run(main())


def test_draining_and_a_database_that_refuses_are_reasons():
    async def main():
        async with ready() as (each, accounts, _):
            each.draining = True
            accounts.error = StoreError("the disk is full")
            assert await each.reasons() == (
                "draining: the server is about to stop",
                DATABASE,
            )

    asyncio.run(main())


def test_a_database_that_does_not_answer_is_a_reason_and_holds_up_no_longer_than_its_time(monkeypatch):
    monkeypatch.setattr(readiness, "DATABASE_SECONDS", 0.05)

    async def main():
        async with ready() as (each, accounts, _):
            accounts.hangs = True
            assert await each.reasons() == ("database: no answer within 0.05 s",)

    asyncio.run(main())


def test_a_model_that_cannot_be_reached_is_a_reason_and_is_not_asked_each_time():
    async def main():
        async with ready() as (each, _, model):
            model.reason = "connection refused"
            for _ in range(5):
                assert await each.reasons() == (
                    "model: openai:gpt-5 does not answer; the log and `netra doctor` say why",
                )
            assert model.asked == 1

    asyncio.run(main())


def test_a_model_is_asked_anew_after_a_while_and_the_last_answer_serves_meanwhile(monkeypatch):
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)

    async def main():
        async with ready() as (each, _, model):
            model.reason = "connection refused"
            assert await each.reasons() == (SILENT,)
            model.reason = None
            model.answers.clear()
            assert await each.reasons() == (SILENT,)
            model.answers.set()
            while await each.reasons():  # noqa: ASYNC110 - the probe is what a balancer does: ask again
                await asyncio.sleep(0)

    asyncio.run(main())


def test_a_model_that_has_not_answered_yet_is_a_reason_and_the_probe_is_answered(monkeypatch):
    monkeypatch.setattr(readiness, "FIRST_WAIT_SECONDS", 0.05)

    async def main():
        async with ready() as (each, _, model):
            model.answers.clear()
            assert await each.reasons() == ("model: openai:gpt-5 has not answered yet",)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_check_that_raises_or_hangs_is_a_reason_too(monkeypatch, how):
    monkeypatch.setattr(readiness, "MODEL_SECONDS", 0.05)

    async def main():
        async with ready() as (each, _, model):
            if how == "hangs":
                model.answers.clear()
            else:

                async def check():
                    raise ModelUnavailable("there is no key", model=model.name)

                model.check = check
            (reason,) = await each.reasons()
            assert reason.startswith("model: ")

    asyncio.run(main())
