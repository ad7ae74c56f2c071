"""One attempt at a function: in time, and without harm, whatever the function does."""

import asyncio
import contextlib
import contextvars

import pytest
from tests.unit.tools.support import run, until

from netra_apex.tools.attempts import Attempts, OutOfTime, Raised, Returned

whose: contextvars.ContextVar[str] = contextvars.ContextVar("whose", default="nobody")


def test_a_value_is_returned() -> None:
    async def work() -> int:
        whose.set("ada")
        return 5

    async def main() -> None:
        attempts = Attempts()
        assert await attempts.run(work, 1) == Returned(5)
        assert whose.get() == "nobody"
        assert attempts.running == 0

    run(main())


@pytest.mark.parametrize(
    "error", [ValueError("a"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), TimeoutError()]
)
def test_whatever_is_raised_is_an_outcome(error: BaseException) -> None:
    async def work() -> None:
        raise error

    outcome = run(Attempts().run(work, 1))
    assert isinstance(outcome, Raised)
    assert outcome.error is error


def test_a_cancellation_of_the_functions_own_making_is_an_outcome_too() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    outcome = run(Attempts().run(work, 1))
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, asyncio.CancelledError)


def test_a_function_that_swallows_its_time_out_is_out_of_time_all_the_same() -> None:
    async def work() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "too late"

    assert run(Attempts().run(work, 0.02)) == OutOfTime(0.02)


def test_a_function_that_ignores_every_cancellation_is_left_behind() -> None:
    async def main() -> None:
        stop = asyncio.Event()

        async def stubborn() -> str:
            while not stop.is_set():
                try:
                    await stop.wait()
                except asyncio.CancelledError:
                    continue
            raise ValueError("nobody hears this")

        attempts = Attempts(grace_seconds=0.02)
        assert await attempts.run(stubborn, 0.02) == OutOfTime(0.02)
        calling = asyncio.ensure_future(attempts.run(stubborn, 60))
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert attempts.running == 2
        await attempts.aclose()
        assert attempts.running == 2
        stop.set()
        await until(lambda: not attempts.running)

    run(main())


def test_closing_cancels_what_was_left_behind() -> None:
    async def main() -> None:
        cancelled = 0

        async def once_more() -> None:
            nonlocal cancelled
            while cancelled < 2:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled += 1

        attempts = Attempts(grace_seconds=0.02)
        assert await attempts.run(once_more, 0.02) == OutOfTime(0.02)
        assert attempts.running == 1
        await attempts.aclose()
        assert (attempts.running, cancelled) == (0, 2)

    run(main())
